"""What the scripts of this folder do first, when nothing but Python itself may be there.

It imports the standard library alone, and an old Python can read it, to be told that it is too old.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def _remedy() -> str:
    """What to do about a package that is missing: never to take the Python that has just lacked it."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        return f"{VENV} is incomplete or was moved: `rm -rf .venv && make sim` in {ROOT} repairs it"
    return f"run it with {os.path.relpath(ROOT)}/.venv/bin/python, which `make sim` there makes"


HERE = _remedy()


@contextmanager
def imports() -> "Iterator[None]":  # quoted, for before 3.9 it cannot be subscripted
    """Around a script's imports: what stops them is one line and exit code 3; Ctrl-C is silent, and 130."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever types `python` may have any)
        this = sys.version.split()[0]
        print(f"error: Python 3.11 or newer is needed, this is {this}: {HERE}", file=sys.stderr)
        sys.exit(3)
    try:
        yield
    except ImportError as error:
        # One that names no module says in its first line what it could not load.
        what = error.name or str(error).strip().partition("\n")[0]
        print(f"error: this Python lacks {what}: {HERE}", file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:  # it takes seconds
        sys.exit(130)
