"""`Port` on a component that gives back every byte plus one; loopback_bench.py has the simulator's side."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from haarlequin.sw.verilated.build import SimulationError, run
from haarlequin.sw.verilated.trace import read_trace
from tests.sw.verilated.loopback_bench import TRACE_WIDTH, trace_of

pytestmark = pytest.mark.slow

BYTES = 10_000


@pytest.fixture
def simulate(loopback, monkeypatch):
    """run() of one of the tests in loopback_bench.py."""
    monkeypatch.syspath_prepend(Path(__file__).parent)

    def simulate(test: str, trace: Path | None = None, **environment: object) -> None:
        variables = {f"BENCH_{name.upper()}": str(value) for name, value in environment.items()}
        run(loopback, "loopback_bench", variables, trace=trace, test=test)

    return simulate


@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (12, 0), (0, 12), (15, 15)])
def test_bytes_and_trace_come_back_in_order(simulate, tmp_path, capfd, gaps, stalls):
    seed = 1 + gaps + 16 * stalls
    trace = tmp_path / "trace"
    simulate("exchange", trace, gaps=gaps, stalls=stalls, seed=seed, bytes=BYTES)
    events = read_trace(trace, TRACE_WIDTH)
    assert events.shape == (BYTES, -(-TRACE_WIDTH // 8))
    sent = random.Random(seed).randbytes(BYTES)
    assert [int.from_bytes(event.tobytes(), "little") for event in events] == [
        trace_of(byte) for byte in sent
    ]
    last_cycle = int(capfd.readouterr().out.split()[0].removeprefix("last_cycle="))
    # A byte a cycle when nothing is in the way, and random pauses where they are asked for.
    share = 1 - max(gaps, stalls) / 16
    assert BYTES <= last_cycle < 1.2 * BYTES / share**2
    assert (last_cycle < BYTES + 10) == (gaps == stalls == 0)


def test_port(simulate):
    simulate("(cycles|timeouts|reset|seeds|arguments)")


def test_trace_is_there_while_the_simulation_runs(simulate, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_TRACE", str(tmp_path / "trace"))
    simulate("trace", tmp_path / "trace")


def test_a_trace_read_from_the_middle_and_cut_short(tmp_path):
    path = tmp_path / "trace"
    records = np.arange(5 * 8, dtype=np.uint8)
    records.tofile(path)
    assert np.array_equal(read_trace(path, 33, start=2), records.reshape(5, 8)[2:, :5])
    path.write_bytes(records.tobytes()[:-3])
    assert read_trace(path, 64).shape == (4, 8)


def test_only_the_bench_prints(simulate, capfd):
    simulate("exchange", gaps=0, stalls=0, seed=1, bytes=100)
    out, err = capfd.readouterr()
    assert out.startswith("last_cycle=")
    assert out.count("\n") == 1
    assert err == ""


def test_a_failure_is_told_in_the_words_of_the_test(simulate):
    with pytest.raises(SimulationError, match=r"^layer 2, token 5: expected 3, got 4$"):
        simulate("failure")


def test_a_crash_is_no_success(simulate):
    with pytest.raises(SimulationError, match="the simulator crashed in loopback_bench"):
        simulate("crash")


def test_a_module_without_tests_is_no_success(loopback):
    with pytest.raises(SimulationError, match="no test of string ran"):
        run(loopback, "string")


def test_a_module_that_is_not_there_is_no_success(loopback):
    with pytest.raises(SimulationError, match="no test of no_such_module ran"):
        run(loopback, "no_such_module")


def test_the_environment_is_left_as_it_was(simulate):
    before = dict(os.environ)
    simulate("arguments", anything=1)
    assert dict(os.environ) == before


@pytest.mark.parametrize("to", ["everyone", "the caller"])
def test_interrupting_ends_the_simulator_too(loopback, to):
    # A shell's background jobs ignore interrupts, and so would what they start.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from haarlequin.sw.verilated import build\n"
    program += f"build.run({str(loopback)!r}, 'loopback_bench', test='endless')"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": path},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout.readline() == b"simulating\n"
            (os.killpg if to == "everyone" else os.kill)(process.pid, signal.SIGINT)
            # The simulator holds the other end of the pipe until it ends.
            process.communicate(timeout=20)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode != 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
