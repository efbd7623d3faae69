"""Keeps what a compiler makes of Verilator's own sources, which is the same for all simulators.

Verilator's makefiles put it before every compiler, as they would ccache: ``python object_cache.py FOLDER g++
… -c -o verilated.o …/verilator/include/verilated.cpp``. These sources take most of the time in which a small
simulator is built. ``FOLDER`` is for one Verilator and one compiler. This file imports nothing of ours: it
starts many times.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path("verilator", "include")


def main(folder: str, command: list[str]) -> int:
    """Run a compiler, or take what it made of the same arguments before; returns its exit status."""
    source = Path(command[-1])
    if Path(*source.parts[-3:-1]) != SOURCES or "-o" not in command:
        return subprocess.run(command, check=False).returncode
    output = Path(command[command.index("-o") + 1])
    kept = Path(folder, f"{hashlib.sha256(repr(command).encode()).hexdigest()}.o")
    if kept.exists():
        shutil.copyfile(kept, output)
        return 0
    if status := subprocess.run(command, check=False).returncode:
        return status
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as copy:
        copy.write(output.read_bytes())
    Path(copy.name).replace(kept)  # another build may do the same at this moment
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
