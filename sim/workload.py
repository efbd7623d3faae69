"""What is simulated: a model, as the compiler reads it, and images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from haarlequin.models import data
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig, override, preset
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.export import export, save
from haarlequin.sw.compiler.read import read
from haarlequin.sw.resolve import trained


@dataclass(frozen=True)
class Subject:
    """A model and images for it; ``labels`` where they are real ones."""

    name: str
    model: GoldenModel
    pixels: Tensor
    labels: Tensor | None
    kind: str
    """Of what kind the weights and the images are, in words."""


def subject(
    name: str, settings: list[str], count: int | None, folder: Path, images: Path | None = None
) -> Subject:
    """The model of that name, through an ONNX file in ``folder``, and the first ``count`` images.

    ``name`` is a preset's, which stands for its trained model if there is one and otherwise for random
    weights, or an ONNX file. ``settings`` override a preset's configuration, which then is a random model's.
    ``images`` is where the data set of a trained model is; without it, those that need one get random images.
    """
    if name.endswith(".onnx"):
        if settings:
            raise UsageError("an ONNX file has its configuration: --set is for presets")
        model, weights, real = read(Path(name)), "weights of the file", False
    else:
        config, path = override(preset(name), settings), folder / "model.onnx"
        found = None if settings else trained(name)
        save(export(freeze(checkpoint.load(found) if found else random_model(config, seed=0))), path)
        model = read(path, rerun=bool(found))
        weights = "trained weights" if found else "random weights"
        real = bool(found) and (images is not None or name in data.BUNDLED)
    if images and not real:
        raise UsageError(f"--data is for trained models, and {name} has {weights}")
    if not real:
        pixels = _random_images(model.config, count or 1)
        return Subject(Path(name).stem, model, pixels, None, f"{weights}, {len(pixels)} random images")
    test = data.load(model.config, images).test
    count = min(16 if count is None else count, len(test))
    kind = f"{weights}, {count} test images"
    return Subject(name, model, test.pixels[:count], test.labels[:count], kind)


def _random_images(config: ModelConfig, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = count, *config.image, config.channels
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
