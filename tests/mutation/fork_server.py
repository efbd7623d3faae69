"""Runs pytest in forks of a process that has loaded the libraries, which takes longer than most benches.

For each line of its input, JSON with the ``arguments`` of pytest and a file for the ``output``, it answers
two lines: the process group in which pytest runs, then the status that `os.wait` has for it.
"""

import importlib
import json
import os
import resource
import sys
import traceback

import pytest

LIBRARIES = ("amaranth.back.rtlil", "amaranth.sim", "hypothesis", "numpy", "torch")
"""Packages that most benches import. No mutant is in them."""

MEMORY = 8 << 30
"""Bytes that the tests of a mutant may write to. Of address space WebAssembly's tools reserve far more."""


def run(arguments: list[str], output: str) -> None:
    """Be the process of one run; does not return."""
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        null, file = os.open(os.devnull, os.O_RDONLY), os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for source, target in ((null, 0), (file, 1), (file, 2)):
            os.dup2(source, target)
        status = pytest.main(arguments)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            run(**json.loads(line))
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    main()
