"""What the command lines share: an error a person caused is one clear line and exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .checkpoint import CheckpointError
from .config import ConfigError
from .data import DataError


class UsageError(Exception):
    """A command that cannot be carried out as it was given; the message says what to do."""


@contextmanager
def one_line_errors(
    verbose: bool, *more: type[Exception], failures: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn the errors that a person can act on, these and ``more``, into one line on stderr and exit code 2,
    or 1 for ``failures`` of what was run; with ``verbose`` let them fly.
    """
    usage = (UsageError, CheckpointError, ConfigError, DataError, OSError, *more)
    try:
        yield
    except (*usage, *failures) as error:
        if verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, usage) else 1)
