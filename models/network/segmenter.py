"""Real-valued networks for segmentation, to compare binary ones with: wide residual, without a pool."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from haarlequin.models.config import placeholders
from haarlequin.models.network.teacher import Teacher, TeacherConfig


@dataclass(frozen=True)
class SegmenterConfig(TeacherConfig):
    """The shapes of a `Segmenter`. Values that no network can have raise `ConfigError`."""

    segmentation: bool = True
    """As in `ModelConfig`, and always true."""

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of tokens: those of the last of the three groups, each after the first halves."""
        rows, columns = self.image
        return ((rows, columns), (rows // 2, columns // 2), (rows // 4, columns // 4))


SEGMENTERS = {
    config.name: config
    for config in (
        # 78,000 weights, with tokens on the grid of camvid-16x12.
        SegmenterConfig(
            name="camvid-real",
            image=(48, 64),
            channels=3,
            mean=(104.9, 108.3, 110.2),
            classes=placeholders(11),
            blocks=1,
            width=1,
        ),
    )
}


class Segmenter(Teacher):
    """Pixels (B, H, W, channels), uint8, → logits (B, N, classes) of the tokens of the last grid."""

    config: SegmenterConfig

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / 64
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.flatten(2).transpose(1, 2))
