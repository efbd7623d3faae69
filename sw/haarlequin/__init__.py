"""Haarlequin: a binary vision transformer on open FPGA boards.

>>> import haarlequin
>>> with haarlequin.Accelerator("golden", "digits") as accelerator:
...     accelerator.classify(["docs/seven.png"]).names
['7']

The four parts are `haarlequin.models`, `haarlequin.hw`, `haarlequin.sw` and `haarlequin.sim`; each uses only
the ones before it. Importing this module needs nothing but Python itself, and works with Python 3.8, too:
`haarlequin.sw.start` then says in one line what is missing.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from haarlequin.models.golden import GoldenModel
    from haarlequin.sw.accelerator import Accelerator, Predictions
    from haarlequin.sw.table_folder import Compiled

__all__ = ["Accelerator", "Predictions", "__version__", "compile", "load"]

# An installed package has its four parts inside. In a checkout they are the folders at its top: always those
# of this checkout, even where this Python has another one installed.
_CHECKOUT = Path(__file__).resolve().parents[2]
if (_CHECKOUT / "sw" / "haarlequin" / "__init__.py").exists():
    __path__.append(str(_CHECKOUT))


def load(model: "str | Path") -> "GoldenModel":
    """The integer model called ``model``: a name in the zoo, an ONNX file or a checkpoint.

    Raises `haarlequin.models.common.errors.UsageError` if there is none.
    """
    from haarlequin.sw.resolve import golden_model

    return golden_model(str(model))


def compile(model: "str | Path", config: str) -> "Compiled":
    """Compile a model for the accelerator configuration called ``config``, such as ``"16x64"``.

    ``model`` is what `load` takes. The result is what `sw/compile.py` writes into a folder. What
    the compiler made is run and compared with the integer model before it is returned.

    Raises `haarlequin.models.common.errors.UsageError` if there is no such model or configuration, or if the
    model does not fit the accelerator.
    """
    from haarlequin.hw.presets import accelerator
    from haarlequin.sw.targets import compile_model

    return compile_model(load(model), accelerator(config)).compiled()


def __getattr__(name: str) -> object:
    # Imported late, because `import haarlequin` must be fast, and its parts import each other through it.
    if name in ("Accelerator", "Predictions"):
        from haarlequin.sw import accelerator

        return getattr(accelerator, name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("haarlequin")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
