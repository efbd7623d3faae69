"""What the command lines share: an error a person caused is one clear line and exit code 2.

`command` is around every ``main``, and `one_line_errors` around what it does once it has its arguments.
"""

import functools
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import tool_variables

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it."""

Main = Callable[[list[str] | None], None]


def command(main: Main | None = None, *, interrupted: str = "") -> Main:
    """Decorate a ``main`` so that it ends well, whatever surrounds it.

    Every stream is UTF-8, whatever the locale; one that the shell has closed leads nowhere. Tools keep their
    caches in the build folder. Ctrl-C is a line, to which ``interrupted`` adds what is kept, and exit code
    `INTERRUPTED`; a reader that has had enough ends the command silently with exit code 1.
    """
    if main is None:
        return functools.partial(command, interrupted=interrupted)

    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> None:
        _ready_streams()
        os.environ.update(tool_variables())
        try:
            try:
                main(argv)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            after = "\n" * sys.stderr.isatty()  # the terminal's own ^C
            print(f"{after}interrupted{': ' * bool(interrupted)}{interrupted}", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            _lead_nowhere(sys.stdout)
            sys.exit(1)
        except OSError as error:  # the disk is full, for one
            _lead_nowhere(sys.stdout)
            print(f"error: {line_of(error)}", file=sys.stderr)
            sys.exit(2)

    return run


@contextmanager
def one_line_errors(verbose: bool, failures: Sequence[type[Exception]] = ()) -> Iterator[None]:
    """Turn every `UsageError`, and what files refuse, into one line on stderr and exit code 2, or 1 for
    ``failures`` of what was run; with ``verbose`` let them fly.
    """
    failures = tuple(failures)
    try:
        yield
    except BrokenPipeError:
        raise
    except (UsageError, OSError, *failures) as error:
        if verbose:
            raise
        print(f"error: {line_of(error)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, failures) else 2)


def line_of(error: Exception) -> str:
    """An exception as one line that no terminal takes for orders, whatever file its words are from."""
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return printable(f"{where}{error.strerror}")
    return printable(str(error))


def printable(text: str) -> str:
    """``text`` with every control character, and whatever else has no shape, as its escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _ready_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nowhere(number))
        elif isinstance(stream, io.TextIOWrapper) and number:
            # A path need not be text: what is none is shown as an escape sequence.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _nowhere(number: int) -> io.TextIOWrapper:
    """What stands in for a stream that the shell has closed."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    try:
        os.fstat(number)
    except OSError:
        # The next file to be opened would get its number, and whatever C code says there.
        os.dup2(descriptor, number)
    return open(descriptor, "w" if number else "r", encoding="utf-8")  # noqa: PTH123


def _lead_nowhere(stream: io.TextIOWrapper) -> None:
    """What is still to be written there cannot be: the interpreter would try again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
