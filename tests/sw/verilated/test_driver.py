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
from tests.sw.verilated.loopback_bench import TRACE_WIDTH, traced

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
    events, cycles = read_trace(trace, TRACE_WIDTH)
    assert events.shape == (BYTES, -(-TRACE_WIDTH // 8))
    assert bytes(traced(trace)) == random.Random(seed).randbytes(BYTES)
    last_cycle = int(capfd.readouterr().out.split()[0].removeprefix("last_cycle="))
    # A byte a cycle when nothing is in the way, and random pauses where they are asked for.
    share = 1 - max(gaps, stalls) / 16
    assert BYTES <= last_cycle < 1.2 * BYTES / share**2
    assert (last_cycle < BYTES + 10) == (gaps == stalls == 0)
    assert np.diff(cycles).min() > 0
    assert cycles[-1] < last_cycle


def test_port(simulate):
    simulate("(cycles|timeouts|reset|seeds|arguments)")


def test_trace_is_there_while_the_simulation_runs(simulate, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_TRACE", str(tmp_path / "trace"))
    simulate("trace", tmp_path / "trace")


def test_a_trace_read_from_the_middle_and_cut_short(tmp_path):
    path = tmp_path / "trace"
    records = np.arange(5 * 12, dtype=np.uint8).reshape(5, 12)
    records[:, :4] = np.array([7, 8, 9, 1000, 2000], "<u4")[:, None].view(np.uint8)
    records.tofile(path)
    events, cycles = read_trace(path, 33, start=2)
    assert np.array_equal(events, records[2:, 4:9])
    assert cycles.tolist() == [9, 1000, 2000]
    path.write_bytes(records.tobytes()[:-3])
    events, cycles = read_trace(path, 64)
    assert events.shape == (4, 8)
    assert cycles.tolist() == [7, 8, 9, 1000]
    path.write_bytes(b"")
    assert [part.shape for part in read_trace(path, 64)] == [(0, 8), (0,)]


def test_cycles_go_on_where_their_word_begins_again(tmp_path):
    path = tmp_path / "trace"
    np.array([(1 << 32) - 2, 0, 5, 0, (1 << 32) - 1, 0], "<u4").tofile(path)
    assert read_trace(path, 32)[1].tolist() == [(1 << 32) - 2, (1 << 32) + 5, (1 << 33) - 1]


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
