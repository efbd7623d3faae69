"""The programs of the flow: found, versioned, and run with their progress shown.

One on PATH is taken where it says which version it is, and that is not older than the one which this flow
was tested with; otherwise the one of a Python package, which `make` installs.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from pathlib import Path

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import say
from haarlequin.models.common.places import tool_variables

HEARTBEAT_SECONDS = 30.0
"""Between two signs of life, where nobody's terminal takes more."""

ANSWER_SECONDS = 20.0
"""After which a program that was asked for its version is given up."""


@dataclass(frozen=True)
class Tested:
    """How a program tells its version, and the oldest that this flow was tested with."""

    version: str
    before: str
    """A regular expression of what stands before its version."""
    option: str = "--version"


_NEXTPNR = Tested("0.11", r"Version (?:nextpnr-)?")

TESTED = {
    "yosys": Tested("0.70", "^Yosys "),
    "nextpnr-ecp5": _NEXTPNR,
    "nextpnr-ice40": _NEXTPNR,
    "nextpnr-himbaechel-gowin": _NEXTPNR,
    "ecppack": Tested("1.4", "ecppack Version "),
    "openFPGALoader": Tested("1.1", "openFPGALoader v", option="--Version"),
}
"""By program; icepack and gowin_pack tell nobody which version they are."""


class ToolError(UsageError):
    """A program of the flow is missing or gave up; the message says what to do, or where to look."""


@dataclass(frozen=True)
class Tool:
    """What a program is started with, before its arguments, and what it says it is."""

    command: tuple[str, ...]
    version: str


def tool(name: str) -> list[str]:
    """What starts the program, before its arguments; raises `ToolError` where there is none.

    The first time that one on PATH is left out, or taken for want of another, a line on stderr says why.
    """
    return list(_find(name, os.environ.get("PATH")).command)


def version(name: str) -> str:
    """What the program that `tool` takes says it is: a line of its own, or its package and that one's
    version.
    """
    return _find(name, os.environ.get("PATH")).version


@cache
def _find(name: str, path: str | None) -> Tool:
    packaged, native = _packaged(name), shutil.which(name, path=path)
    if native and Path(native) == Path(sys.executable).with_name(_script(name)):
        native = None  # the package's own script, where its environment is active
    if native is None:
        if packaged is None:
            raise ToolError(f"neither {name} nor {_script(name)} is there: `make test` installs the latter")
        return packaged
    said, found = _ask(name, native)
    tested = TESTED.get(name)
    if found is None:
        why = f"{name} at {native} does not say which version it is"
    elif _numbers(found) < _numbers(tested.version):
        why = f"{name} {found} at {native} is older than {tested.version}, which this was tested with"
    else:
        return Tool((native,), said)
    if packaged:
        say(f"{why}: taking the packaged one, {packaged.version}")
        return packaged
    say(f"{why}: taking it, as there is no packaged one here")
    return Tool((native,), said or f"{name} of unknown version")


def _ask(name: str, program: str) -> tuple[str, str | None]:
    """The first line that a native program answers when it is asked for its version, and the version."""
    tested = TESTED.get(name)
    if tested is None:
        return "", None
    # A file and not a pipe, which whatever a hanging program has started would keep open.
    with tempfile.TemporaryFile() as answer:
        streams = {"stdin": subprocess.DEVNULL, "stdout": answer, "stderr": subprocess.STDOUT}
        try:
            subprocess.run([program, tested.option], **streams, timeout=ANSWER_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return "", None
        answer.seek(0)
        lines = answer.read().decode(errors="replace").split("\n")
    for line in lines:
        if match := re.search(rf"{tested.before}(\d+(?:\.\d+)+)", line):
            return line.strip(), match[1]
    return "", None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _script(name: str) -> str:
    """What the package's program is called."""
    return {"openFPGALoader": "openfpgaloader-cli", "gowin_pack": name}.get(name, f"yowasp-{name}")


def _packaged(name: str) -> Tool | None:
    """The one of a Python package that lies where this Python finds packages."""
    if name == "openFPGALoader":
        # Its script would take an openFPGALoader from PATH, be it ever so old.
        try:
            package = distribution("openfpgaloader")
        except PackageNotFoundError:
            return None
        program = Path(package.locate_file("openfpgaloader/bin/openFPGALoader"))
        return Tool((str(program),), f"openfpgaloader {package.version}") if program.exists() else None
    for entry in entry_points(group="console_scripts", name=_script(name)):
        # Not its script, whose first line has the path of an environment that may have been moved since.
        start = f"import sys; from {entry.module} import {entry.attr} as main; sys.argv[0] = {entry.name!r}"
        command = (sys.executable, "-P", "-c", f"{start}; sys.exit(main())")
        return Tool(command, f"{entry.dist.name} {entry.dist.version}")
    return None


def run(name: str, arguments: Sequence[str], log: Path, milestones: str) -> None:
    """Run a program in the folder of its log, which gets all that it says.

    Shown is a line a ``milestones`` match, and now and then the latest line, so that one sees it go on.
    Raises `ToolError` with the program's first error.
    """
    lines, start = [], time.monotonic()
    shown, pattern = start, re.compile(milestones)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen([*tool(name), *arguments], cwd=log.parent, **_surroundings()) as process,
    ):
        try:
            for line in process.stdout:
                file.write(line)
                now = time.monotonic()
                if line.startswith("ERROR"):
                    lines.append(line)
                elif line.strip() and (pattern.search(line) or now - shown > HEARTBEAT_SECONDS):
                    shown = now
                    print(f"  {now - start:5.0f} s  {line.strip()[:100]}", flush=True)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ToolError(f"{name}: {_first_error(lines, process.returncode)}; see {log}")


def call(name: str, arguments: Sequence[str], folder: Path) -> None:
    """Run a program in a folder, silently; raises `ToolError` with its first error."""
    done = subprocess.run([*tool(name), *arguments], cwd=folder, **_surroundings(), check=False)
    if done.returncode:
        raise ToolError(f"{name}: {_first_error(done.stdout.splitlines(), done.returncode)}")


def _surroundings() -> dict:
    """What every program of the flow gets, whoever starts it, for `subprocess`."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    text = {"encoding": "utf-8", "errors": "replace"}
    return {**streams, **text, "env": {**os.environ, **tool_variables()}}


def _first_error(lines: Iterable[str], code: int) -> str:
    errors = (line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR"))
    return next(errors, f"exit code {code}")[:300]
