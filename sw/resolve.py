"""Find the model and the accelerator that a person names.

Compiled tables are kept in the build folder, under a hash of the model's file, of the accelerator's
configuration and of the compiler's own source. A second start therefore reads tables and nothing else.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from haarlequin import hw, models, sw
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.presets import CONFIGS, accelerator
from haarlequin.models.common import stamps
from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import PRESETS
from haarlequin.sw import answers, table_folder
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
    "cifar10-hybrid": "16x64",
    "cifar10-hybrid-large": "32x128",
    "camvid-16x12": "32x128-masks",
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
    return _first(model) or _refuse(model.config)


def _first(model: "GoldenModel") -> AnyConfig | None:
    """The first accelerator that a model fits, or None."""
    from haarlequin.sw.targets import fits

    if missing_operation(model.config):
        return None
    return next((config for config in CONFIGS.values() if fits(model, config)), None)


def _refuse(config: ModelConfig) -> NoReturn:
    """Say why no accelerator runs a model."""
    from haarlequin.sw.compiler.resources import check_operations

    check_operations(config)
    raise UsageError(
        f"{config.name} fits none of {', '.join(CONFIGS)}: see sw/compile.py --plan; --device golden runs it"
    )


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

    @cached_property
    def usual(self) -> AnyConfig | None:
        """The accelerator that the model is meant for, or else the first one that it fits, or None."""
        name = self._tables.accelerator if self._tables else USUAL.get(self.config.name)
        return accelerator(name) if name else _first(self._load())

    def without_tables(self) -> CompiledModel:
        """The model for the golden device alone."""
        return CompiledModel(None, load=self._load)

    def machine(self, name: str | None) -> AnyConfig:
        """The accelerator to simulate: the one of that name, or without a name the model's usual one.

        Raises `UsageError` where there is none.
        """
        return accelerator(name) if name else self.usual or _refuse(self.config)

    def compiled(self, digest: int, logits: bool = False) -> CompiledModel:
        """Compile the model for the accelerator with that `digest`. Tables are returned as they are.

        With ``logits`` a segmentation model will answer with all logits, not only with labels.

        Raises `UsageError` where no known configuration has that digest, or where the logits are too many.
        """
        machine = _machine(self._tables.digest if self._tables else digest)
        if self._tables:
            return CompiledModel(answers.with_logits(self._tables, machine) if logits else self._tables)
        if machine is None:
            raise UsageError(
                f"the device is an accelerator that this version does not know (digest {digest:#010x}): "
                "build its bitstream with this version, or give the tables that were compiled for it"
            )
        tables = self._compiled(machine)
        return CompiledModel(
            answers.with_logits(tables, machine) if logits else tables,
            load=self._load,
            compile=lambda other: self.compiled(other, logits),
        )

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


def _machine(digest: int) -> AnyConfig | None:
    """The known configuration with that digest, if there is one."""
    return next((config for config in CONFIGS.values() if config.digest == digest), None)


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
