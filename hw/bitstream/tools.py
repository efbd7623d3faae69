"""The programs of the flow: found, versioned, and run with their progress shown."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from models.errors import UsageError

HEARTBEAT_SECONDS = 30.0
"""Between two signs of life, where nobody's terminal takes more."""


class ToolError(UsageError):
    """A program of the flow is missing or gave up; the message says what to do, or where to look."""


@cache
def tool(name: str) -> str:
    """The native program where there is one, else its YoWASP package's; raises `ToolError`."""
    scripts = f"{Path(sys.executable).parent}:{os.defpath}"
    packaged = {"openFPGALoader": "openfpgaloader-cli"}.get(name, f"yowasp-{name}")
    for candidate, path in ((name, None), (packaged, scripts), (name, scripts)):
        if found := shutil.which(candidate, path=path):
            return found
    raise ToolError(f"neither {name} nor {packaged} is there: `make test` installs the latter")


@cache
def version(name: str) -> str:
    """What the program says it is."""
    answer = subprocess.run([tool(name), "--version"], capture_output=True, text=True, check=False)
    return (answer.stdout or answer.stderr).strip().splitlines()[0]


def run(stage: str, command: Sequence[str], folder: Path, milestones: str) -> None:
    """Run a program in ``folder``, with all it says in ``STAGE.log`` there.

    Shown is a line a ``milestones`` match, and now and then the latest line, so that one sees it go on.
    Raises `ToolError` with the program's first error.
    """
    log, errors, shown = folder / f"{stage}.log", [], time.monotonic()
    start = shown
    pattern = re.compile(milestones)
    with (
        log.open("w") as file,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        try:
            for line in process.stdout:
                file.write(line)
                now = time.monotonic()
                if line.startswith("ERROR"):
                    errors.append(line.removeprefix("ERROR:").strip())
                elif line.strip() and (pattern.search(line) or now - shown > HEARTBEAT_SECONDS):
                    shown = now
                    print(f"  {now - start:5.0f} s  {line.strip()[:100]}", flush=True)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        why = errors[0] if errors else f"exit code {process.returncode}"
        raise ToolError(f"{Path(command[0]).name}: {why[:300]}; see {log}")
