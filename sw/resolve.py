"""Find the model and the accelerator that a person names.

Compiled tables are kept in the build folder, under a hash of the model's file, of the accelerator's
configuration and of the compiler's own source. A second start therefore reads tables and nothing else.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from haarlequin import hw, models, sw
from haarlequin.hw.config import CONFIGS, AnyConfig, accelerator
from haarlequin.models.common import stamps
from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import PRESETS
from haarlequin.sw import table_folder
from haarlequin.sw.devices.device import CompiledModel
from haarlequin.sw.operations import missing_operation
from haarlequin.sw.table_folder import MANIFEST, Compiled, TablesError

if TYPE_CHECKING:
    from haarlequin.models.golden import GoldenModel

ZOO = Path(models.__file__).resolve().with_name("zoo")

USUAL = {
    "digits": "16x64",
    "cifar10-nano": "16x64",
    "cifar10-tiny": "32x128",
    "deit-tiny-224": "64x128-large",
}
"""The accelerator on which a preset is run, unless a person names another one."""


def trained(name: str) -> Path | None:
    """The ONNX file of the trained model of that name, if there is one."""
    path = ZOO / name / "model.onnx"
    return path if path.exists() else None


def machine_for(model: "GoldenModel", name: str | None) -> AnyConfig:
    """The accelerator of that name; without a name the model's usual one, or the first that it fits."""
    if name:
        return accelerator(name)
    if model.config.name in USUAL:
        return accelerator(USUAL[model.config.name])
    from haarlequin.sw.compiler.resources import check_operations
    from haarlequin.sw.targets import fits

    check_operations(model.config)
    for config in CONFIGS.values():
        if fits(model, config):
            return config
    raise UsageError(f"{model.config.name} fits none of {', '.join(CONFIGS)}: see sw/compile.py --plan")


def golden_model(name: str) -> "GoldenModel":
    """The integer model of that name in the zoo, or in the ONNX file or checkpoint at that path.

    Raises `UsageError` where there is none.
    """
    path = _file(name)
    if path.suffix == ".safetensors":
        return _of_checkpoint(path)
    from haarlequin.sw.compiler.read import read

    return read(path, rerun=path.parent.parent != ZOO)  # the tests run the zoo's models in onnxruntime


class ModelSource:
    """A model as a person names it: a name in the zoo, an ONNX file, a checkpoint, or a folder of tables.

    ``config`` is its `ModelConfig`. Raises `UsageError` for any other name.
    """

    def __init__(self, name: str):
        self._tables = table_folder.load(Path(name)) if Path(name, MANIFEST).exists() else None
        if self._tables:
            self.config: ModelConfig = self._tables.model
            return
        path = _file(name)
        self._load: Callable[[], GoldenModel] = cache(lambda: golden_model(name))
        self._hash = stamps.digest(path, _program()) if path.suffix == ".onnx" and path.is_file() else None
        self._known = self._cache("models", ".json")
        self.config = self._config()

    @property
    def golden(self) -> "GoldenModel | None":
        """Its golden model, or None where there are only tables."""
        return None if self._tables else self._load()

    @property
    def placeable(self) -> bool:
        """Whether some accelerator has all of the model's operations."""
        return missing_operation(self.config) is None

    def without_tables(self) -> CompiledModel:
        """The model for the golden device alone."""
        return CompiledModel(None, load=self._load)

    def machine(self, name: str | None) -> AnyConfig:
        """The accelerator to simulate: the one of that name, or without a name the model's usual one."""
        if self._tables:
            return accelerator(name or self._tables.accelerator)
        if name or self.config.name in USUAL:
            return accelerator(name or USUAL[self.config.name])
        return machine_for(self._load(), None)

    def compiled(self, digest: int) -> CompiledModel:
        """Compile the model for the accelerator with that `digest`. Tables are returned as they are.

        Raises `UsageError` where no known configuration has that digest.
        """
        if self._tables:
            return CompiledModel(self._tables)
        machine = next((config for config in CONFIGS.values() if config.digest == digest), None)
        if machine is None:
            raise UsageError(
                f"the device is an accelerator that this version does not know (digest {digest:#010x}): "
                "build its bitstream with this version, or give the tables that were compiled for it"
            )
        return CompiledModel(self._compiled(machine), load=self._load)

    def _config(self) -> ModelConfig:
        """The file's configuration, as an earlier start has noted it, or else read from the file."""
        known = self._known
        if known:
            with suppress(OSError, ValueError, ConfigError):
                return ModelConfig.from_json(known.read_text(encoding="utf-8"))
        config = self._load().config
        if known:
            _note(lambda: write_text(known, config.to_json()))
        return config

    def _compiled(self, machine: AnyConfig) -> Compiled:
        folder = self._cache("tables", f"-{machine.name}-{machine.digest:08x}")
        if folder and (folder / MANIFEST).exists():
            with suppress(TablesError):  # a damaged folder is written again
                return table_folder.load(folder, machine)
        from haarlequin.sw.targets import compile_model

        tables = compile_model(self._load(), machine, check=False).compiled()
        if folder:
            _note(lambda: table_folder.save(tables, folder))
        return tables

    def _cache(self, kind: str, suffix: str) -> Path | None:
        """Where to keep something of this model; None for one without a hash."""
        return build_folder("cache", kind, f"{self._hash[:24]}{suffix}") if self._hash else None


def _file(name: str) -> Path:
    """The file of the model of that name; raises `UsageError` where there is none."""
    path = Path(name)
    if path.suffix in (".onnx", ".safetensors"):
        return path
    if found := trained(name):
        return found
    known = ", ".join(sorted(folder.name for folder in ZOO.iterdir() if trained(folder.name)))
    if name in PRESETS:
        raise UsageError(f"{name} has not been trained yet: there are {known}")
    raise UsageError(
        f"unknown model {name!r}: give {known}, an ONNX file, a checkpoint or a folder of tables"
    )


def _of_checkpoint(path: Path) -> "GoldenModel":
    from haarlequin.models.network import checkpoint
    from haarlequin.models.network.freeze import freeze
    from haarlequin.models.onnx.graph import export
    from haarlequin.sw.compiler.read import read_model

    model = checkpoint.load(path)
    if not model.deployed:
        raise UsageError(f"{path} is in its float phase: give a finished model")
    return read_model(export(freeze(model)))  # the compiler takes every model as ONNX


@cache
def _program() -> str:
    """A hash of all source files that decide what is compiled."""
    return stamps.fingerprint(hw, models, sw)


def _note(write: Callable[[], None]) -> None:
    """Keep something for the next start; what cannot be kept is made again then."""
    with suppress(OSError, UsageError):
        write()
