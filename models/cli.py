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
def one_line_errors(verbose: bool) -> Iterator[None]:
    """Turn the errors that a person can act on into one line on stderr and exit code 2; with ``verbose`` let
    them fly.
    """
    try:
        yield
    except (UsageError, CheckpointError, ConfigError, DataError, OSError) as error:
        if verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
