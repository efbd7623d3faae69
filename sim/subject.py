"""What is simulated: a model, as the compiler reads it, and images."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hw.config import CONFIGS, AcceleratorConfig, accelerator
from models import checkpoint, data
from models.cli import UsageError
from models.config import ModelConfig, override, preset
from models.export import export, save
from models.freeze import freeze
from models.golden import GoldenModel
from models.random import random_model
from sw.compiler.read import read
from sw.compiler.resources import DoesNotFit, check_shapes

ZOO = Path(checkpoint.__file__).parent / "zoo"

USUAL = {
    "digits": "16x64",
    "cifar10-nano": "16x64",
    "cifar10-tiny": "32x128",
    "deit-tiny-224": "64x128-large",
}
"""The accelerator that a preset is simulated on where none is asked for."""


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
    trained = ZOO / name / "model.safetensors"
    path = folder / "model.onnx"
    if settings or not trained.exists():
        save(export(freeze(random_model(config, seed=0))), path)
        return Subject(name, read(path, rerun=False), _random_images(config, count or 1), None)
    save(export(freeze(checkpoint.load(trained))), path)
    test = data.load(name).test
    count = min(16 if count is None else count, len(test))
    return Subject(name, read(path), test.pixels[:count], test.labels[:count])


def machine_for(model: GoldenModel, name: str | None) -> AcceleratorConfig:
    """The accelerator of that name, or the one that a model is usually simulated on, or the first it fits."""
    if name:
        return accelerator(name)
    if model.config.name in USUAL:
        return accelerator(USUAL[model.config.name])
    for config in CONFIGS.values():
        try:
            check_shapes(model, config)
        except DoesNotFit:
            continue
        return config
    raise UsageError(f"{model.config.name} fits none of {', '.join(CONFIGS)}: see sw/compile.py --plan")


def _random_images(config: ModelConfig, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = count, *config.image, config.channels
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
