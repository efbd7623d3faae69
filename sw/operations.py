"""The operations that a model needs and no accelerator has yet."""

from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import ATTENTION


def missing_operation(model: ModelConfig) -> str | None:
    """The first operation of a model that no accelerator has, with its place; None where there is none."""
    for place in model.places:
        stage, config = place.config.stage, place.config
        found = {
            "shifted windows": place.shift,
            "LocalContext": stage.kind == ATTENTION and config.diba and config.own == "none",
            "ScaledDIBA": stage.kind == ATTENTION and config.diba and config.own == "learned",
        }
        for name, has in found.items():
            if has:
                return f"{name}, in {place.name}"
    return None
