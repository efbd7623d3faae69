"""The host's side: what turns a model into tables for an accelerator, and talks to it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .accelerator import Accelerator

__all__ = ["Accelerator"]


def __getattr__(name: str) -> object:
    # Late, because the hardware takes its protocol from this package and needs nothing else of it.
    if name in __all__:
        from .accelerator import Accelerator

        return Accelerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
