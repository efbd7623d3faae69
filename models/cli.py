"""What the command lines share: an error a person caused is one clear line and exit code 2."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import UsageError


@contextmanager
def one_line_errors(verbose: bool, failures: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn every `UsageError`, and what files refuse, into one line on stderr and exit code 2, or 1 for
    ``failures`` of what was run; with ``verbose`` let them fly.
    """
    try:
        yield
    except (UsageError, OSError, *failures) as error:
        if verbose:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, failures) else 2)
