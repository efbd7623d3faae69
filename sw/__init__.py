"""The host's side: what turns a model into tables for an accelerator, and talks to it."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .accelerator import Accelerator

__all__ = ["Accelerator"]


def _refuse_shadows() -> None:
    """A `models.py` beside a user's script would be taken for ours, and nothing of it be found."""
    here = Path(__file__).resolve().parents[1]
    for name in ("hw", "models", "sim"):
        found = find_spec(name)
        file = Path(found.origin).resolve() if found and found.origin else None
        if file and file != here / name / "__init__.py":
            raise ImportError(
                f"{file} is in the way of Haarlequin's package {name!r}: rename it, or run your script from "
                "another folder",
                name=name,
                path=str(file),
            )


_refuse_shadows()


def __getattr__(name: str) -> object:
    # Late, because the hardware takes its protocol from this package and needs nothing else of it.
    if name in __all__:
        from .accelerator import Accelerator

        return Accelerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
