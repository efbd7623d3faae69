"""What is simulated: a model, as the compiler reads it, and images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models import checkpoint, data
from models.config import ModelConfig, override, preset
from models.errors import UsageError
from models.export import export, save
from models.freeze import freeze
from models.golden import GoldenModel
from models.random import random_model
from sw.choose import trained
from sw.compiler.read import read


@dataclass(frozen=True)
class Subject:
    """A model and images for it; ``labels`` where they are real ones."""

    name: str
    model: GoldenModel
    pixels: Tensor
    labels: Tensor | None

    @property
    def trained(self) -> bool:
        """Whether predictions mean anything."""
        return self.labels is not None


def subject(name: str, settings: list[str], count: int | None, folder: Path) -> Subject:
    """The model of that name, through an ONNX file in ``folder``, and the first ``count`` images.

    ``name`` is a preset's, which stands for its trained model if there is one and otherwise for random
    weights, or an ONNX file. ``settings`` override a preset's configuration, which then is a random model's.
    """
    if name.endswith(".onnx"):
        if settings:
            raise UsageError("an ONNX file has its configuration: --set is for presets")
        model = read(Path(name))
        return Subject(Path(name).stem, model, _random_images(model.config, count or 1), None)
    config = override(preset(name), settings)
    checkpoint_file, path = trained(name), folder / "model.onnx"
    if settings or not checkpoint_file:
        save(export(freeze(random_model(config, seed=0))), path)
        return Subject(name, read(path, rerun=False), _random_images(config, count or 1), None)
    save(export(freeze(checkpoint.load(checkpoint_file))), path)
    test = data.load(name).test
    count = min(16 if count is None else count, len(test))
    return Subject(name, read(path), test.pixels[:count], test.labels[:count])


def _random_images(config: ModelConfig, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = count, *config.image, config.channels
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
