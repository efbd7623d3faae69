"""The programs that make a bitstream: find them, ask for their versions, run them and show progress.

A program on PATH is used if it tells its version, and if that is not older than the version that this flow
was tested with. Otherwise the program of a Python package is used, which `make` installs.
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
from typing import Any

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import say
from haarlequin.models.common.places import tool_variables

HEARTBEAT_SECONDS = 30.0
"""If nothing was shown for so long, the next line of the program is shown, whatever it is."""

ANSWER_SECONDS = 20.0
"""The time that a program has to tell its version."""


@dataclass(frozen=True)
class Tested:
    """The oldest version of a program that this flow was tested with, and how to read a program's version."""

    version: str
    before: str
    """A regular expression for the text before the version."""
    option: str = "--version"
    """The option that makes the program tell its version."""


_NEXTPNR = Tested("0.11", r"Version (?:nextpnr-)?")

TESTED = {
    "yosys": Tested("0.70", "^Yosys "),
    "nextpnr-ecp5": _NEXTPNR,
    "nextpnr-ice40": _NEXTPNR,
    "nextpnr-himbaechel-gowin": _NEXTPNR,
    "ecppack": Tested("1.4", "ecppack Version "),
    "openFPGALoader": Tested("1.1", "openFPGALoader v", option="--Version"),
}
"""The tested versions, by program. icepack and gowin_pack are not among them, as they tell none."""


class ToolError(UsageError):
    """A program of the flow is missing or failed. The message says what to do, or where to look."""


@dataclass(frozen=True)
class Tool:
    """A program: the command that starts it, without arguments, and a text with its name and version."""

    command: tuple[str, ...]
    version: str


def tool(name: str) -> list[str]:
    """The command that starts a program, without arguments. Raises `ToolError` if there is none.

    If a program on PATH is not suitable, a line on stderr says why, and which one is used, but only once.
    """
    return list(_find(name, os.environ.get("PATH")).command)


def version(name: str) -> str:
    """The version of the program that `tool` uses: the line that it prints, or its package and version."""
    return _find(name, os.environ.get("PATH")).version


@cache
def _find(name: str, path: str | None) -> Tool:
    packaged, native = _packaged(name), shutil.which(name, path=path)
    if native and Path(native) == Path(sys.executable).with_name(_script(name)):
        native = None  # PATH leads back to the script of the Python package, as in an active environment
    if native is None:
        if packaged is None:
            raise ToolError(f"neither {name} nor {_script(name)} is there: `make test` installs the latter")
        return packaged
    said, found = _ask(name, native)
    if found is None:
        why = f"{name} at {native} does not say which version it is"
    elif _numbers(found) < _numbers(TESTED[name].version):
        why = f"{name} {found} at {native} is older than {TESTED[name].version}, which this was tested with"
    else:
        return Tool((native,), said)
    if packaged:
        say(f"{why}: taking the packaged one, {packaged.version}")
        return packaged
    say(f"{why}: taking it, as there is no packaged one here")
    return Tool((native,), said or f"{name} of unknown version")


def _ask(name: str, program: str) -> tuple[str, str | None]:
    """The line in which a program on PATH tells its version, and the version alone; ("", None) without."""
    tested = TESTED.get(name)
    if tested is None:
        return "", None
    # A file and not a pipe: a child process of a program that hangs would keep a pipe open.
    with tempfile.TemporaryFile() as answer:
        try:
            subprocess.run(
                [program, tested.option],
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.STDOUT,
                timeout=ANSWER_SECONDS,
                check=True,
            )
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
    """The name of the program in its Python package."""
    return {"openFPGALoader": "openfpgaloader-cli", "gowin_pack": name}.get(name, f"yowasp-{name}")


def _packaged(name: str) -> Tool | None:
    """The program of a Python package, if this Python has that package."""
    if name == "openFPGALoader":
        # The package's script would run an openFPGALoader from PATH, even a very old one.
        try:
            package = distribution("openfpgaloader")
        except PackageNotFoundError:
            return None
        program = Path(str(package.locate_file("openfpgaloader/bin/openFPGALoader")))
        return Tool((str(program),), f"openfpgaloader {package.version}") if program.exists() else None
    for entry in entry_points(group="console_scripts", name=_script(name)):
        # The script itself is not used: its first line names an environment that may have been moved since.
        start = f"import sys; from {entry.module} import {entry.attr} as main; sys.argv[0] = {entry.name!r}"
        command = (sys.executable, "-P", "-c", f"{start}; sys.exit(main())")
        assert entry.dist is not None  # entry points of an installed package have one
        return Tool(command, f"{entry.dist.name} {entry.dist.version}")
    return None


def run(name: str, arguments: Sequence[str], log: Path, milestones: str) -> None:
    """Run a program in the folder of its log. All of its output goes to the log.

    Lines that match ``milestones`` are shown; between them, now and then, another as a sign of life. Raises
    `ToolError` with the first error of the program.
    """
    errors, start = [], time.monotonic()
    shown, pattern = start, re.compile(milestones)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen([*tool(name), *arguments], cwd=log.parent, **_surroundings()) as process,
    ):
        try:
            assert process.stdout is not None  # it is a pipe
            for line in process.stdout:
                file.write(line)
                now = time.monotonic()
                if line.startswith("ERROR"):
                    errors.append(line)
                elif line.strip() and (pattern.search(line) or now - shown > HEARTBEAT_SECONDS):
                    shown = now
                    print(f"  {now - start:5.0f} s  {line.strip()[:100]}", flush=True)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ToolError(f"{name}: {_first_error(errors, process.returncode)}; see {log}")


def call(name: str, arguments: Sequence[str], folder: Path) -> None:
    """Run a program in a folder without showing anything. Raises `ToolError` with its first error."""
    done = subprocess.run([*tool(name), *arguments], cwd=folder, **_surroundings(), check=False)
    if done.returncode:
        raise ToolError(f"{name}: {_first_error(done.stdout.splitlines(), done.returncode)}")


def _surroundings() -> dict[str, Any]:
    """The options of `subprocess` with which every program of the flow is started."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    text = {"encoding": "utf-8", "errors": "replace"}
    return {**streams, **text, "env": {**os.environ, **tool_variables()}}


def _first_error(lines: Iterable[str], code: int) -> str:
    errors = (line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR"))
    return next(errors, f"exit code {code}")[:300]
