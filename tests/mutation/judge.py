"""Runs tests on one mutant, in a copy of the tree, and says which of them noticed."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.folders import ROOT

COPIED = ("hw", "models", "sim", "sw", "tests")
LEAST, TIMES = 60.0, 5.0
"""A run of tests may take `TIMES` as long as without the mutant, and `LEAST` seconds more."""
OPTIONS = ("-x", "-q", "-rfE", "-p", "no:cacheprovider", "--hypothesis-profile=mutate")
MEMORY = 8 << 30
"""Bytes of address space that the tests of a mutant may have."""


class BrokenBench(Exception):
    """Tests fail on the sources as they are; the message has the end of what pytest said."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one run of tests."""

    failed: str
    """The first test that failed, "import" if a module could not be loaded, or "" if none did."""
    seconds: float
    timed_out: bool = False


class Tree:
    """A copy of the sources in which files are broken, with a build folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.baseline: dict[tuple[str, ...], float] = {}
        self.process: subprocess.Popen | None = None
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)

    def judge(self, path: str, source: str, bench: tuple[str, ...]) -> Verdict:
        """Run a bench while the file has this source."""
        if bench not in self.baseline:
            verdict = self._run(bench, 3600.0)
            if verdict.failed or verdict.timed_out:
                raise BrokenBench(f"{' '.join(bench)} fails without a mutant: {verdict.failed}")
            self.baseline[bench] = verdict.seconds
        file = self.folder / path
        original = file.read_text(encoding="utf-8")
        file.write_text(source, encoding="utf-8")
        try:
            return self._run(bench, LEAST + TIMES * self.baseline[bench])
        finally:
            file.write_text(original, encoding="utf-8")

    def stop(self) -> None:
        """End the tests that run, and everything that they started."""
        process, self.process = self.process, None
        if process:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _run(self, bench: tuple[str, ...], limit: float) -> Verdict:
        """The first failure of a bench, or that it took longer than ``limit`` seconds."""
        variables = {
            "PYTHONPATH": os.pathsep.join([str(self.folder / "sw"), str(self.folder)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "HAARLEQUIN_BUILD": str(self.folder / "build"),
        }
        command = [sys.executable, "-m", "pytest", *OPTIONS, *bench]
        start = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        ) as process:
            self.process = process
            try:
                output, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                return Verdict("", time.monotonic() - start, timed_out=True)
            finally:
                self.stop()
        seconds = time.monotonic() - start
        if process.returncode == 0:
            return Verdict("", seconds)
        found = re.search(r"^(FAILED|ERROR) ([^\s]+)", output, re.MULTILINE)
        if process.returncode == 1 and found:
            return Verdict(found[2], seconds)
        if process.returncode in (1, 2, 3, 4) and re.search(r"Error|error", output):
            return Verdict("import", seconds)  # pytest itself stops at modules that it cannot load
        if process.returncode < 0:
            return Verdict("crash", seconds)
        raise BrokenBench(f"pytest {' '.join(bench)}: exit status {process.returncode}\n{output[-2000:]}")
