"""The model and the accelerator that a person names.

What imports PyTorch is imported where it is needed: tables alone, on a serial port, do without it.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from haarlequin import models
from haarlequin.hw.config import CONFIGS, AnyConfig, accelerator
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import PRESETS, ModelConfig
from haarlequin.sw.devices.device import Model
from haarlequin.sw.table_folder import MANIFEST, load

if TYPE_CHECKING:
    from haarlequin.models.golden import GoldenModel

ZOO = Path(models.__file__).resolve().with_name("zoo")

USUAL = {
    "digits": "16x64",
    "cifar10-nano": "16x64",
    "cifar10-tiny": "32x128",
    "deit-tiny-224": "64x128-large",
}
"""The accelerator that a preset is run on where none is asked for."""


def trained(name: str) -> Path | None:
    """The checkpoint of the trained model of that name, if there is one."""
    path = ZOO / name / "model.safetensors"
    return path if path.exists() else None


def machine_for(model: "GoldenModel", name: str | None) -> AnyConfig:
    """The accelerator of that name, or the one that a model is usually run on, or the first it fits."""
    from haarlequin.sw.targets import fits

    if name:
        return accelerator(name)
    if model.config.name in USUAL:
        return accelerator(USUAL[model.config.name])
    for config in CONFIGS.values():
        if fits(model, config):
            return config
    raise UsageError(f"{model.config.name} fits none of {', '.join(CONFIGS)}: see sw/compile.py --plan")


class Source:
    """A model by its name in the zoo, by its ONNX file or checkpoint, or as the folder of its tables.

    ``config`` is its configuration, ``golden`` its golden model, None where there are only tables. Raises
    `UsageError` for anything else.
    """

    def __init__(self, name: str):
        self.golden: GoldenModel | None = None
        self._tables = load(Path(name)) if Path(name, MANIFEST).exists() else None
        if self._tables is None:
            self.golden = golden_model(name)
        self.config: ModelConfig = self._tables.model if self._tables else self.golden.config

    def machine(self, name: str | None) -> AnyConfig:
        """The accelerator to simulate: the one of that name, or else the model's own."""
        if self._tables:
            return accelerator(name or self._tables.accelerator)
        return machine_for(self.golden, name)

    def compiled(self, digest: int) -> Model:
        """For the accelerator with that its configuration's digest; tables are what they are."""
        if self._tables:
            return Model(self._tables)
        from haarlequin.sw.targets import compile_model

        machine = next((config for config in CONFIGS.values() if config.digest == digest), None)
        if machine is None:
            raise UsageError(
                f"the device is an accelerator that this version does not know (digest {digest:#010x}): "
                "build its bitstream with this version, or give the tables that were compiled for it"
            )
        return Model(compile_model(self.golden, machine, check=False).compiled(), self.golden)


def golden_model(name: str) -> "GoldenModel":
    """The golden model that the compiler reads; `UsageError` where nothing is called so."""
    path = Path(name)
    if path.suffix not in (".onnx", ".safetensors"):
        found = trained(name)
        if found is None:
            known = ", ".join(sorted(folder.name for folder in ZOO.iterdir() if trained(folder.name)))
            if name in PRESETS:
                raise UsageError(f"{name} has not been trained yet: there are {known}")
            raise UsageError(
                f"unknown model {name!r}: give {known}, an ONNX file, a checkpoint or a folder of tables"
            )
        path = found
    from haarlequin.models.network import checkpoint
    from haarlequin.models.network.freeze import freeze
    from haarlequin.models.onnx.export import export, save
    from haarlequin.sw.compiler.read import read

    if path.suffix == ".onnx":
        return read(path)
    model = checkpoint.load(path)
    if not model.deployed:
        raise UsageError(f"{name} is in its float phase: give a finished model")
    with tempfile.TemporaryDirectory() as folder:  # ONNX is the compiler's only door
        save(export(freeze(model)), Path(folder, "model.onnx"))
        return read(Path(folder, "model.onnx"), rerun=False)
