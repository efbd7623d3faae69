"""The model and the accelerator that a person names.

Starting is fast: what was compiled once is kept below the build folder, by a hash of the model's file, of the
accelerator's configuration and of the program itself, so that a second start reads tables and nothing else.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from haarlequin import hw, models, sw
from haarlequin.hw.config import CONFIGS, AnyConfig, accelerator
from haarlequin.models.common import stamps
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import PRESETS, ConfigError, ModelConfig
from haarlequin.sw import table_folder
from haarlequin.sw.devices.device import CompiledModel
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
"""The accelerator that a preset is run on where none is asked for."""


def trained(name: str) -> Path | None:
    """The ONNX file of the trained model of that name, if there is one."""
    path = ZOO / name / "model.onnx"
    return path if path.exists() else None


def machine_for(model: "GoldenModel", name: str | None) -> AnyConfig:
    """The accelerator of that name, or the one that a model is usually run on, or the first it fits."""
    if name:
        return accelerator(name)
    if model.config.name in USUAL:
        return accelerator(USUAL[model.config.name])
    from haarlequin.sw.targets import fits

    for config in CONFIGS.values():
        if fits(model, config):
            return config
    raise UsageError(f"{model.config.name} fits none of {', '.join(CONFIGS)}: see sw/compile.py --plan")


def golden_model(name: str) -> "GoldenModel":
    """The integer model of that name in the zoo, or in an ONNX file or a checkpoint of that path.

    Raises `UsageError` where nothing is called so.
    """
    path = _file(name)
    if path.suffix == ".safetensors":
        return _of_checkpoint(path)
    from haarlequin.sw.compiler.read import read

    return read(path, rerun=path.parent.parent != ZOO)  # the zoo's are run in onnxruntime by the tests


class ModelSource:
    """A model by its name in the zoo, by its ONNX file or checkpoint, or as the folder of its tables.

    ``config`` is its configuration. Raises `UsageError` for anything else.
    """

    def __init__(self, name: str):
        self._tables = table_folder.load(Path(name)) if Path(name, MANIFEST).exists() else None
        if self._tables:
            self.config: ModelConfig = self._tables.model
            return
        path = _file(name)
        self._load: Callable[[], GoldenModel] = cache(lambda: golden_model(name))
        self._hash = stamps.digest(path, _program()) if path.suffix == ".onnx" and path.is_file() else None
        self._known = self._cache("models", ".json") if self._hash else None
        self.config = self._config()

    @property
    def golden(self) -> "GoldenModel | None":
        """Its golden model, None where there are only tables."""
        return None if self._tables else self._load()

    def machine(self, name: str | None) -> AnyConfig:
        """The accelerator to simulate: the one of that name, or else the model's own."""
        if self._tables:
            return accelerator(name or self._tables.accelerator)
        if name or self.config.name in USUAL:
            return accelerator(name or USUAL[self.config.name])
        return machine_for(self._load(), None)

    def compiled(self, digest: int) -> CompiledModel:
        """For the accelerator with that digest of its configuration; tables are what they are."""
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
        """Of the file; from what an earlier start has noted, where it has."""
        try:
            return ModelConfig.from_json(self._known.read_text(encoding="utf-8"))
        except (AttributeError, OSError, ValueError, ConfigError):
            config = self._load().config
        if self._known:
            _note(lambda: write_text(self._known, config.to_json()))
        return config

    def _compiled(self, machine: AnyConfig) -> Compiled:
        folder = self._cache("tables", f"-{machine.name}-{machine.digest:08x}") if self._hash else None
        if folder and (folder / MANIFEST).exists():
            try:
                return table_folder.load(folder, machine)
            except TablesError:
                pass  # damaged: it is written again
        from haarlequin.sw.targets import compile_model

        tables = compile_model(self._load(), machine, check=False).compiled()
        if folder:
            _note(lambda: table_folder.save(tables, folder))
        return tables

    def _cache(self, kind: str, suffix: str) -> Path:
        return build_folder("cache", kind, f"{self._hash[:24]}{suffix}")


def _file(name: str) -> Path:
    """Where the model of that name is; raises `UsageError` where nothing is called so."""
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
    return read_model(export(freeze(model)))  # ONNX is the compiler's only door


@cache
def _program() -> str:
    """A hash of everything that decides what is compiled."""
    return stamps.fingerprint(hw, models, sw)


def _note(write: Callable[[], None]) -> None:
    """Keep something for the next start; one that cannot be kept is made again then."""
    try:
        write()
    except (OSError, UsageError):
        return
