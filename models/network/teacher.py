"""Teachers to distil from: full-precision wide residual networks (arXiv 1605.07146).

`haarlequin train` trains them, too.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import check_classes, check_name, placeholders
from haarlequin.models.presets import CIFAR10
from haarlequin.models.stages import LARGEST, is_integer, is_real

_WIDTHS = (16, 32, 64)
"""Channels of the three groups at width 1."""


@dataclass(frozen=True)
class TeacherConfig:
    """The shapes of a wide residual network. Values that no network can have raise `ConfigError`."""

    name: str
    image: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    classes: tuple[str, ...]
    blocks: int = 4
    """Residual blocks in each of the three groups: 4 makes it 28 layers deep, 1 makes it 10."""
    width: int = 4
    """Factor on the channels of every group."""

    def __post_init__(self):
        check_name(self.name)
        for name, most in (("blocks", 64), ("width", 64), ("channels", 16)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ConfigError(f"{name} must be an integer from 1 to {most}, not {value!r}")
        image = self.image if type(self.image) is tuple else ()
        if len(image) != 2 or not all(is_integer(size, 4, LARGEST) for size in image):
            raise ConfigError(
                f"image must be a height and a width of at least 4, and at most {LARGEST}, "
                f"not {self.image!r:.120}"
            )
        mean = self.mean if type(self.mean) is tuple else ()
        if len(mean) != self.channels or not all(is_real(value, 0, 255) for value in mean):
            raise ConfigError(f"mean must be {self.channels} values of 0 to 255, not {self.mean!r}")
        check_classes(self.classes)

    @property
    def placeholder_classes(self) -> bool:
        """Whether the classes have placeholder names, as in `ModelConfig`."""
        return self.classes == placeholders(len(self.classes))

    def to_json(self) -> str:
        """The configuration as JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "TeacherConfig":
        """The configuration that `to_json` wrote; raises `ConfigError` for any other text."""
        try:
            values = json.loads(text)
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**fields)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"no configuration of a teacher: {error}") from None


_CIFAR10 = {key: CIFAR10[key] for key in ("image", "channels", "mean", "classes")}

TEACHERS = {
    config.name: config
    for config in (
        # 5.9 million weights: for a GPU.
        TeacherConfig(name="teacher-cifar10", **_CIFAR10),
        # 0.3 million weights: trains on two cores.
        TeacherConfig(name="teacher-cifar10-small", blocks=1, width=2, **_CIFAR10),
    )
}


class Block(nn.Module):
    """x + two 3×3 convolutions, each after BatchNorm and ReLU.

    Where the shape changes, a 1×1 convolution takes the place of x.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return shortcut + self.conv2(F.relu(self.norm2(self.conv1(y))))


class Teacher(nn.Module):
    """Pixels (B, H, W, channels), uint8, → logits (B, classes). It has no deploy mode."""

    deployed = False

    def __init__(self, config: TeacherConfig):
        super().__init__()
        self.config = config
        mean = torch.tensor(config.mean, dtype=torch.float32)[:, None, None]
        self.register_buffer("mean", mean, persistent=False)
        channels = _WIDTHS[0]
        self.stem = nn.Conv2d(config.channels, channels, 3, 1, 1, bias=False)
        blocks = []
        for group, base in enumerate(_WIDTHS):
            for i in range(config.blocks):
                blocks.append(Block(channels, base * config.width, 2 if group and not i else 1))
                channels = base * config.width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, len(config.classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def binary_weights(self) -> dict[str, nn.Parameter]:
        """An empty dictionary: no weight of a teacher is binary."""
        return {}

    def decayed(self) -> list[nn.Parameter]:
        """The parameters with weight decay: all but those of the norms, and the bias."""
        return [parameter for parameter in self.parameters() if parameter.dim() > 1]

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / 64
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        return self.head(x.mean((2, 3)))
