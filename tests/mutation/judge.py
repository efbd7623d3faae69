"""Runs tests on one mutant, in a copy of the tree, and says which of them noticed."""

import compileall
import json
import os
import py_compile
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haarlequin.models.common.places import build_folder, writable
from tests.mutation.folders import ROOT

COPIED = ("hw", "models", "sim", "sw", "tests")
LEAST, TIMES = 60.0, 5.0
"""A run of tests may take `TIMES` as long as without the mutant, and `LEAST` seconds more."""
OPTIONS = ("-x", "-q", "-rfE", "-p", "no:cacheprovider", "--hypothesis-profile=mutate")
LOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Pytest would have changed the assertions of hypothesis as well, had that not been loaded before."""
SERVER = Path(__file__).with_name("fork_server.py")


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
    """A copy of the sources in which files are broken, with a build folder of its own.

    ``baseline`` has the seconds that benches take without a mutant. One that is not there yet is measured.
    """

    def __init__(self, folder: Path, baseline: dict[tuple[str, ...], float]):
        self.folder, self.baseline = folder, baseline
        self._server: subprocess.Popen[bytes] | None = None
        self._group = 0
        ignored = shutil.ignore_patterns("__pycache__")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "docs").symlink_to(ROOT / "docs")  # some tests compare with pages; none writes there
        (folder / "build").mkdir()
        (folder / "build" / "cache").symlink_to(writable(build_folder("cache").absolute()))  # of tools
        # Otherwise every run would compile all that it imports. To go by the time of a source is not enough:
        # two mutants may have the same.
        checked = py_compile.PycInvalidationMode.CHECKED_HASH
        compileall.compile_dir(folder, quiet=2, invalidation_mode=checked)

    def judge(self, path: str, source: str, bench: tuple[str, ...]) -> Verdict:
        """Run a bench while the file has this source."""
        self.measure(bench)
        file = self.folder / path
        original = file.read_text(encoding="utf-8")
        file.write_text(source, encoding="utf-8")
        try:
            return self._run(bench, LEAST + TIMES * self.baseline[bench])
        finally:
            file.write_text(original, encoding="utf-8")

    def measure(self, bench: tuple[str, ...]) -> None:
        """Run a bench without a mutant, once. Raises `BrokenBench` if it fails."""
        if bench in self.baseline:
            return
        verdict = self._run(bench, 3600.0)
        if verdict.failed or verdict.timed_out:
            raise BrokenBench(f"{' '.join(bench)} fails without a mutant: {verdict.failed}")
        self.baseline[bench] = verdict.seconds

    def passes(self, bench: tuple[str, ...]) -> bool:
        """Whether a bench is there and passes without a mutant."""
        with suppress(BrokenBench):
            self.measure(bench)
        return bench in self.baseline

    def stop(self) -> None:
        """End the tests that run, everything that they started, and the process that they are forks of."""
        self._end()
        server, self._server = self._server, None
        if server:
            server.kill()
            with server:  # closes its pipes
                pass

    def _end(self) -> None:
        group, self._group = self._group, 0
        if group:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _run(self, bench: tuple[str, ...], limit: float) -> Verdict:
        """The first failure of a bench, or that it took longer than ``limit`` seconds."""
        file = self.folder / "output.txt"
        start = time.monotonic()
        status = self._status([*OPTIONS, *LOADED, *bench], file, limit)
        seconds = time.monotonic() - start
        if status is None:
            return Verdict("", seconds, timed_out=True)
        if status == 0:
            return Verdict("", seconds)
        output = file.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^(FAILED|ERROR) (.+?)(?= - |$)", output, re.MULTILINE)
        if status == 1 and found:
            return Verdict(found[2], seconds)
        if status in (1, 2, 3, 4) and re.search(r"Error|error", output):
            return Verdict("import", seconds)  # pytest itself stops at modules that it cannot load
        if status < 0:
            return Verdict("crash", seconds)
        raise BrokenBench(f"pytest {' '.join(bench)}: exit status {status}\n{output[-2000:]}")

    def _status(self, arguments: list[str], output: Path, limit: float) -> int | None:
        """The exit status of pytest, as `subprocess` counts it, or None if it took too long."""
        if not self._server:
            self._server = self._start()
        assert self._server.stdin
        assert self._server.stdout
        request = json.dumps({"arguments": arguments, "output": str(output)})
        self._server.stdin.write(f"{request}\n".encode())
        try:
            self._group = int(self._server.stdout.readline())
            in_time, _, _ = select.select([self._server.stdout], [], [], limit)
            self._end()  # also what a test has started and left
            status = os.waitstatus_to_exitcode(int(self._server.stdout.readline()))
        except ValueError:
            raise BrokenBench("stopped") from None
        return status if in_time else None

    def _start(self) -> subprocess.Popen[bytes]:
        # In CI pytest explains a failed assertion at any length, and compares large lists for minutes.
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
        variables = {
            "PYTHONPATH": os.pathsep.join([str(self.folder / "sw"), str(self.folder)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "HAARLEQUIN_BUILD": str(self.folder / "build"),
        }
        return subprocess.Popen(
            [sys.executable, "-P", SERVER],
            cwd=self.folder,
            env=kept | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # so that nothing is read before it is waited for
        )
