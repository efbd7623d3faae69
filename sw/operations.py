"""The operations that a model needs and no accelerator has yet."""

from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import ATTENTION, CONVOLUTION


def missing_operation(model: ModelConfig) -> str | None:
    """The first operation of a model that no accelerator has, with its place; None where there is none."""
    if not model.stem.patch:
        return "ConvolutionEmbedding, the stem"
    for place in model.places:
        stage, config = place.config.stage, place.config
        found = {
            "MergeTokens": place.merged,
            "shifted windows": place.shift,
            "ToWindows": stage.window,
            "BinaryConvolution": stage.feed_forward == CONVOLUTION,
            "LocalContext": stage.kind == ATTENTION and config.diba and config.own == "none",
            "ScaledDIBA": stage.kind == ATTENTION and config.diba and config.own == "learned",
        }
        for name, has in found.items():
            if has:
                return f"{name}, in {place.name}"
    return "TokenLogits, the head" if model.segmentation else None
