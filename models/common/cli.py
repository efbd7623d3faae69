"""Used by every command line: an error that a person caused is one clear line and exit code 2.

`command` decorates every ``main``; `one_line_errors` is around all that it does with its parsed arguments.
"""

import functools
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, overload

from haarlequin.models.common.errors import UsageError, printable
from haarlequin.models.common.places import tool_variables

INTERRUPTED = 130
"""Exit code after Ctrl-C, the same as a shell's."""

Main = Callable[[list[str] | None], None]


@overload
def command(main: Main) -> Main: ...
@overload
def command(*, interrupted: str = "") -> Callable[[Main], Main]: ...
def command(main: Main | None = None, *, interrupted: str = "") -> Main | Callable[[Main], Main]:
    """Decorate a ``main`` so that it ends well, whatever its streams and its environment are.

    Every stream is UTF-8, whatever the locale; one that the shell has closed is replaced by the null device.
    Tools keep their caches in the build folder. After Ctrl-C or SIGTERM there is one line, to which
    ``interrupted`` adds what is kept, and the exit code is `INTERRUPTED`. When a reader closes its end of a
    pipe, the command ends silently with exit code 1. Any other OSError is one line and exit code 2.
    """
    if main is None:
        return functools.partial(_decorated, interrupted=interrupted)
    return _decorated(main, interrupted)


def _decorated(main: Main, interrupted: str) -> Main:
    @functools.wraps(main)
    def run(argv: list[str] | None = None) -> None:
        _ready_streams()
        os.environ.update(tool_variables())
        try:
            try:
                with _interrupted_by_sigterm():
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
        except OSError as error:  # for example, because the disk is full
            _lead_nowhere(sys.stdout)
            print(f"error: {line_of(error)}", file=sys.stderr)
            sys.exit(2)

    return run


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does. Otherwise it would end this process alone, and a tool that it has
    started, for example a router, would go on for an hour.
    """
    if threading.current_thread() is not threading.main_thread():  # others have no signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextmanager
def one_line_errors(verbose: bool, failures: Sequence[type[Exception]] = ()) -> Iterator[None]:
    """Turn every `UsageError` and OSError into one line on stderr and exit code 2, and every exception of
    ``failures`` into one with exit code 1. With ``verbose``, let them through with their traceback.
    """
    wrong = tuple(failures)
    caught: tuple[type[Exception], ...] = (UsageError, OSError, *wrong)
    try:
        yield
    except BrokenPipeError:
        raise
    except caught as error:
        if verbose:
            raise
        print(f"error: {line_of(error)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, wrong) else 2)


def line_of(error: Exception) -> str:
    """An exception as one line without control characters: its text may come from anybody's file."""
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return printable(f"{where}{error.strerror}")
    return printable(str(error))


def _ready_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nowhere(number))
        elif isinstance(stream, io.TextIOWrapper) and number:
            # A path need not be valid UTF-8: other bytes are shown as escape sequences.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _nowhere(number: int) -> io.TextIOWrapper:
    """A stream of the null device, in place of one that the shell has closed."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    try:
        os.fstat(number)
    except OSError:
        # Else the next file that is opened would get this number, and with it all that C code prints.
        os.dup2(descriptor, number)
    return open(descriptor, "w" if number else "r", encoding="utf-8")  # noqa: PTH123


def _lead_nowhere(stream: TextIO) -> None:
    """Discard what ``stream`` still holds: the interpreter would try to write it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
