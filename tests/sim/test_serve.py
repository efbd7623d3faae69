"""A simulation on a pseudo-terminal."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import serial

from haarlequin.sim import serve
from haarlequin.sim.serve import Board
from haarlequin.sw.devices import DeviceError, open_device
from haarlequin.sw.devices.serial_port import SerialLine
from haarlequin.sw.verilated.simulation import Simulation
from tests.said import said

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20
"""After which something hangs."""


def within_time(action):
    """Run it, and see it end."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it hangs"


@pytest.fixture
def board(loopback):
    with Simulation(loopback) as simulation, Board(simulation) as board:
        yield board


def port(board):
    return serial.Serial(board.device.removeprefix("serial:"), 3_000_000, timeout=SECONDS)


def test_every_byte_passes(board):
    """None means anything to the terminal."""
    every = bytes(range(256))
    with port(board) as host:
        for _ in range(3):
            host.write(every)
            assert host.read(256) == bytes([*range(1, 256), 0])
        host.timeout = 0.05
        assert host.read(1) == b""


def test_one_host_after_the_other(board):
    for byte in b"abc":
        with port(board) as host:
            host.write(bytes([byte]))
            assert host.read(1) == bytes([byte + 1])


def test_time_passes_while_nothing_comes(board):
    with port(board) as host:
        host.write(b"x")
        assert host.read(1) == b"y"
        time.sleep(0.1)
        before = board.simulation.cycle
        time.sleep(0.2)
        assert board.simulation.cycle > before + serve.SLICE


def test_it_is_no_accelerator(board, monkeypatch):
    """A device that answers, but nothing that one can use."""
    monkeypatch.setattr(SerialLine, "latency", 0.01)
    with pytest.raises(
        DeviceError, match=r"asked what it is 6 times, and \d+ bytes came and none of them a frame"
    ):
        open_device(board.device, None)


def test_a_host_that_reads_nothing(loopback):
    """More comes than the terminal holds; the block ends all the same."""

    def run():
        with Simulation(loopback) as simulation, Board(simulation) as board:
            host = os.open(board.device.removeprefix("serial:"), os.O_RDWR | os.O_NOCTTY)
            os.set_blocking(host, False)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                try:
                    os.write(host, bytes(1000))
                except BlockingIOError:
                    time.sleep(0.01)
            os.close(host)

    within_time(run)


def test_the_terminal_is_gone_afterwards(loopback):
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 (of file descriptors)
    with Simulation(loopback) as simulation:
        with Board(simulation) as board:
            device = board.device
        with pytest.raises(DeviceError, match="is the board plugged in"):
            open_device(device, None)
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--config", "3x3"], "unknown accelerator '3x3': there are 2x64, 4x64")]
)
def test_bad_input_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        serve.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_the_command_line():
    """It says what to give to a host, answers there, and an interrupt ends it without a traceback."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # it may be ignored here
        "from haarlequin.sim.serve import main; main([])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        line = child.stdout.readline()
        while "building" in line:
            line = child.stdout.readline()
        name, device = line.removesuffix("; Ctrl-C ends it\n").split(" on ")
        assert name == "16x64"
        with open_device(device, None) as board:
            assert board.identity.clock_hz == 50_000_000
        child.send_signal(signal.SIGINT)
        out, error = child.communicate(timeout=SECONDS)
    finally:
        child.kill()
        child.communicate()
    assert (child.returncode, out.strip(), said(error)) == (0, "", "")
