"""One interface: whatever the device, the same results. The serial port is a pseudo-terminal here."""

import contextlib
import errno
import grp
import itertools
import os
import pwd
import re
import subprocess
import sys
import threading
import time
import tty
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import serial
from serial.tools import list_ports

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import build_folder
from haarlequin.models.config import vit
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sim.ethernet.board import ethernet_simulator
from haarlequin.sim.ethernet.host import LATENCY as UDP_LATENCY
from haarlequin.sim.ethernet.host import Cable, SimulatedSocket
from haarlequin.sim.fifo_board import SimulatedFtdi, fifo_simulator
from haarlequin.sim.serve import Board
from haarlequin.sim.simulate import simulator
from haarlequin.sim.spi_board import SimulatedBus, spi_simulator
from haarlequin.sim.usb.backend import SimulatedBackend
from haarlequin.sim.usb.board import HERTZ, SERIAL, usb_simulator
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sim.usb.ulpi_board import HERTZ as ULPI_HERTZ
from haarlequin.sim.usb.ulpi_board import ulpi_simulator
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.devices import (
    CompiledModel,
    DeviceError,
    fifo_port,
    open_device,
    serial_port,
    spi_port,
    udp_port,
    usb_port,
)
from haarlequin.sw.devices.link import IN_FLIGHT
from haarlequin.sw.devices.serial_port import SerialLine
from haarlequin.sw.verilated.simulation import Simulation
from tests.small_machines import MACHINES
from tests.sw.conftest import answers

pytestmark = pytest.mark.slow

MACHINE = MACHINES["4x16"]
PATIENCE = 2.0
"""Seconds for an answer from a board that is simulated, on a computer that has other work."""


def small_model(layers: int, classes: tuple[str, ...]) -> CompiledModel:
    """Random, and small: lines with wires of their own are slow to simulate."""
    sizes = {"image": (4, 4), "channels": 1, "patch": 2, "dim": 16, "heads": 2}
    config = vit(name="small", mean=(128.0,), layers=layers, classes=classes, **sizes)
    golden = freeze(random_model(config, seed=2))
    return CompiledModel(compile_model(golden, MACHINE, check=False).compiled(), golden)


@pytest.fixture(scope="module")
def model():
    return small_model(2, ("a", "b", "c", "d"))


@pytest.fixture(scope="module")
def other_model():
    """Fewer layers and classes."""
    return small_model(1, ("a", "b", "c"))


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)


@pytest.fixture(scope="module")
def expected(model, pictures):
    return answers(model, pictures)


@pytest.fixture(scope="module", params=["sim", "golden", "serial", "spi", "usb", "usb-hs", "fifo", "udp"])
def device(request, model):
    """A device that has the model."""
    with contextlib.ExitStack() as stack:
        name = request.param
        if name == "spi":
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(spi_port, "LATENCY", PATIENCE)
            patch.setitem(sys.modules, "spidev", simulated_spidev(MACHINE))
            name = "spi:/dev/spidev0.0@50000000"
        if name == "serial":
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(SerialLine, "latency", PATIENCE)
            simulation = stack.enter_context(Simulation(simulator(MACHINE, build_folder("sim"))))
            name = stack.enter_context(Board(simulation)).device
        if name in ("usb", "usb-hs"):
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            make, hertz = (usb_simulator, HERTZ) if name == "usb" else (ulpi_simulator, ULPI_HERTZ)
            simulation = stack.enter_context(Simulation(make(MACHINE, build_folder("sim"))))
            backend = SimulatedBackend(UsbHost(simulation, hertz))
            patch.setattr(usb_port, "_libusb", lambda: backend)
            patch.setattr(usb_port, "LATENCY", 0.002)
            name = f"usb:{SERIAL}"
        if name == "fifo":
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(fifo_port, "LATENCY", PATIENCE)
            for module, members in simulated_pyftdi(MACHINE).items():
                patch.setitem(sys.modules, module, members)
            name = "ftdi:"
        if name == "udp":
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            cable = Cable(Simulation(ethernet_simulator(MACHINE, build_folder("sim"))))
            patch.setattr(udp_port, "_connected", lambda host, port: SimulatedSocket(cable))
            patch.setattr(udp_port, "time", SimpleNamespace(monotonic=cable.seconds))
            patch.setattr(udp_port, "LATENCY", UDP_LATENCY)
            patch.setattr(udp_port.UdpLine, "exact", cable.exact)
            patch.setattr(udp_port, "PATIENCE", UDP_LATENCY)
            name = "udp:board"
        device = stack.enter_context(open_device(name, MACHINE))
        device.load(model)
        yield device


def simulated_spidev(machine):
    """The module spidev, whose only bus leads to the pins of a simulated board with that machine."""

    class SpiDev:
        mode, max_speed_hz = 3, 500_000

        def open_path(self, path):
            assert path == "/dev/spidev0.0"
            self.bus = SimulatedBus(spi_simulator(machine, build_folder("sim")))

        def xfer3(self, values):
            assert (self.mode, self.max_speed_hz) == (0, 50_000_000)
            return tuple(self.bus.exchange(bytes(values)))

        def close(self):
            self.bus.close()

    return SimpleNamespace(SpiDev=SpiDev)


def simulated_pyftdi(machine):
    """The modules of pyftdi, whose only chip is at the pins of a simulated board with that machine."""

    def chip():
        return SimulatedFtdi(fifo_simulator(machine, build_folder("sim")))

    return {
        "pyftdi": SimpleNamespace(),
        "pyftdi.ftdi": SimpleNamespace(Ftdi=chip),
        "pyftdi.usbtools": SimpleNamespace(UsbToolsError=type("UsbToolsError", (Exception,), {})),
    }


def assert_expected(results, expected):
    assert [(one.logits.tolist(), one.cycles, one.saturations) for one in results] == expected
    for one in results:
        assert (one.logits.dtype, one.logits.shape) == (np.int32, (4,))
        assert (type(one.cycles), type(one.saturations)) == (int, int)


def test_what_it_is(device):
    predicts = device.name == "golden"
    assert device.predicts == predicts
    assert device.digest == MACHINE.digest
    assert device.name.split(":")[0] in ("sim", "golden", "serial", "spi", "usb", "ftdi", "udp")


def test_results_are_the_golden_models_and_in_order(device, pictures, expected):
    assert len({tuple(logits) for logits, *_ in expected}) == len(expected)
    assert_expected(list(device.run(pictures)), expected)


def test_one_run_after_the_other(device, pictures, expected):
    assert_expected(list(device.run(pictures[:2])), expected[:2])
    assert list(device.run([])) == []
    assert_expected(list(device.run(iter(pictures[2:3]))), expected[2:3])
    assert_expected(list(device.run(pictures[:1])), expected[:1])


def test_images_are_taken_as_they_are_needed(device, pictures, expected):
    taken = []
    results = device.run(taken.append(i) or picture for i, picture in enumerate(pictures))
    assert taken == []
    came = []
    for i, one in enumerate(results):
        came.append(one)
        assert i + 1 <= len(taken) <= i + max(IN_FLIGHT.values())
    assert_expected(came, expected)


@pytest.mark.parametrize("taken", [1, 2])
def test_a_run_that_is_dropped_leaves_nothing(device, pictures, expected, taken):
    results = device.run(pictures)
    assert_expected(list(itertools.islice(results, taken)), expected[:taken])
    results.close()
    assert_expected(list(device.run(pictures[3:5])), expected[3:5])


def test_an_image_that_cannot_be_made_leaves_nothing(device, pictures, expected):
    def images():
        yield from pictures[:2]
        raise KeyError("no more")

    with pytest.raises(KeyError, match="no more"):
        list(device.run(images()))
    assert_expected(list(device.run(pictures[:1])), expected[:1])


def test_counters_are_of_every_image(device, model, pictures):
    before = device.counters()
    list(device.run(pictures[:3]))
    spent = {name: count - before.get(name, 0) for name, count in device.counters().items()}
    assert spent == {name: 3 * cycles for name, cycles in model.tables.operations.items()}
    assert sum(spent.values()) == 3 * model.tables.cycles


def test_an_image_is_computed_many_times(device, model, pictures, expected):
    if device.predicts:
        with pytest.raises(DeviceError, match="golden: its cycles are predicted"):
            device.benchmark(pictures[1], 5)
        return
    few, many = (device.benchmark(pictures[1], count) for count in (2, 5))
    assert_expected([few.result, many.result], expected[1:2] * 2)
    assert many.cycles - few.cycles == 3 * model.tables.cycles
    assert_expected(list(device.run(pictures[:2])), expected[:2])


def test_a_reset_leaves_the_model(device, pictures, expected):
    device.reset()
    device.reset()
    assert_expected(list(device.run(pictures[:1])), expected[:1])


def test_tables_for_another_accelerator_are_refused(device, other_digits, pictures, expected):
    with pytest.raises(DeviceError) as caught:
        device.load(other_digits)
    message = str(caught.value)
    assert message.startswith(f"{device.name}: the tables are for 2x64 (")
    assert "\n" not in message
    assert_expected(list(device.run(pictures[:1])), expected[:1])


def test_another_model_and_back(device, model, other_model, pictures, expected):
    """It has other classes, and takes other cycles."""
    progress = []
    device.load(other_model, lambda done, total: progress.append((done, total)))
    (one,) = device.run(pictures[:1])
    assert one.logits.shape == (3,)
    assert one.cycles == other_model.tables.cycles != model.tables.cycles
    assert one.logits.tolist() == other_model.golden(pictures[0][None])[0].tolist()
    if not device.predicts:
        assert progress[-1][0] == progress[-1][1] > 0
        assert progress == sorted(progress)
    device.load(model)
    assert_expected(list(device.run(pictures[1:3])), expected[1:3])


@pytest.mark.parametrize("name", ["golden", "sim"])
def test_nothing_is_there_before_a_model_is_loaded(name, pictures):
    with (
        open_device(name, MACHINE) as device,
        pytest.raises(DeviceError, match=f"^{name}: load a model first$"),
    ):
        list(device.run(pictures[:1]))


def test_tables_are_not_enough_for_the_golden_model(model):
    with (
        open_device("golden", MACHINE) as device,
        pytest.raises(
            DeviceError, match=r"^golden: tables are not enough, give the model's name or its ONNX"
        ),
    ):
        device.load(CompiledModel(model.tables))


def test_a_device_that_is_closed(model, pictures):
    """Neither hangs nor crashes, nor does what is left of a run."""
    device = open_device("sim", MACHINE)
    device.load(model)
    results = device.run(pictures)
    next(results)
    device.close()
    device.close()
    results.close()
    for action in (device.reset, device.counters, lambda: list(device.run(pictures))):
        with pytest.raises(DeviceError, match=r"^sim: the device is closed$"):
            action()


def test_two_simulations_and_their_results(model, other_model, pictures, expected):
    with open_device("sim", MACHINE) as one, open_device("sim", MACHINE) as two:
        one.load(model)
        two.load(other_model)
        pairs = list(zip(one.run(pictures[:2]), two.run(pictures[:2]), strict=True))
        assert_expected([a for a, _ in pairs], expected[:2])
        assert [b.logits.shape for _, b in pairs] == [(3,), (3,)]
        one.close()
        assert [b.logits.tolist() for b in two.run(pictures[:2])] == [b.logits.tolist() for _, b in pairs]


def test_a_slow_board_and_the_usual_patience(other_model, pictures):
    """It takes longer for an image than a real one, so that the host tries again, or not: no matter."""
    with Simulation(simulator(MACHINE, build_folder("sim"))) as simulation, Board(simulation) as board:
        with open_device(board.device, MACHINE) as device:
            assert device.name == f"{board.device}@3000000"
            device.load(other_model)
            results = list(device.run(pictures[:3]))
            for one, picture in zip(results, pictures, strict=False):
                assert one.logits.tolist() == other_model.golden(picture[None])[0].tolist()
            assert len(results) == 3
        with open_device(f"{board.device}@115200", MACHINE) as device:  # nobody has closed the board
            assert device.digest == MACHINE.digest


# Threads


def test_threads_take_turns(device, pictures, expected):
    """Each gets its own results, in its own order."""
    orders = [[i, (i + 1) % 5, (i + 3) % 5] for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        came = list(pool.map(lambda order: list(device.run([pictures[i] for i in order])), orders))
    for order, results in zip(orders, came, strict=True):
        assert_expected(results, [expected[i] for i in order])


def test_a_thread_does_not_wait_for_itself(device, model, pictures, expected):
    results = device.run(pictures)
    assert_expected([next(results)], expected[:1])
    for action in (
        device.reset,
        device.counters,
        lambda: device.load(model),
        lambda: next(device.run([])),
    ):
        with pytest.raises(
            RuntimeError, match=r"has not finished a run: exhaust its iterator, or close it, first"
        ):
            action()
    assert_expected([next(results)], expected[1:2])
    others = []
    other = threading.Thread(target=lambda: others.extend(device.run(pictures[3:4])))
    other.start()
    other.join(0.2)
    assert other.is_alive()
    assert not others
    del results  # dropped: the others' turn
    other.join(60)
    assert_expected(others, expected[3:4])


@pytest.mark.parametrize("name", ["sim", "golden"])
def test_a_device_that_another_thread_closes(model, pictures, name):
    device, came = open_device(name, MACHINE), []
    device.load(model)

    def run() -> None:
        try:
            came.extend(each.cycles for each in device.run(itertools.cycle(pictures)))
        except DeviceError as error:
            came.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    device.close()
    device.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert [each for each in came if isinstance(each, str)] == [f"{name}: the device is closed"] * 3
    with pytest.raises(DeviceError, match="the device is closed"):
        device.reset()


# By name


@pytest.mark.parametrize(
    "name",
    ["", "usb", "ftdi", "sim:", "sim:16x64", "golden:1", "serial", "serial:", "spi", "spi:", "Sim", "ulx3s"],
)
def test_unknown_devices(name):
    with pytest.raises(UsageError) as caught:
        open_device(name, MACHINE)
    assert str(caught.value) == (
        f"unknown device {name!r}: there are sim, golden, serial:PORT[@BAUD], spi:BUS[@HZ], "
        "usb:[VID:PID:][SERIAL], ftdi:[URL], udp:HOST[:PORT]"
    )


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "9600.0", "９６００", "1e6", " 9600", "1@2"])
def test_rates_that_are_none(rate):
    with pytest.raises(UsageError) as caught:
        open_device(f"serial:/dev/ttyUSB0@{rate}", MACHINE)
    assert str(caught.value) == (
        f"the baud rate in serial:/dev/ttyUSB0@{rate} must be a positive number, not {rate!r}"
    )


# The port


@pytest.fixture
def terminal():
    """(the board's end, the host's name) of a pseudo-terminal that nobody serves."""
    mine, theirs = os.openpty()
    tty.setraw(theirs)
    yield mine, os.ttyname(theirs)
    for end in (mine, theirs):
        with contextlib.suppress(OSError):
            os.close(end)


def port_failure(action):
    with pytest.raises(DeviceError) as caught:
        action()
    message = str(caught.value)
    assert message.startswith("serial:")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("port", ["/dev/no-such-port", "@9600", "no/such\0port", "x" * 300, "/dev/null/x"])
def test_ports_that_are_not_there(port, monkeypatch):
    monkeypatch.setattr(list_ports, "comports", list)
    message = port_failure(lambda: open_device(f"serial:{port}", MACHINE))
    wanted = "there is no such port; there is no serial port at all; is the board plugged in?"
    assert message.endswith(wanted)
    monkeypatch.setattr(
        list_ports, "comports", lambda: [SimpleNamespace(device=f"/dev/tty{i}") for i in "BA"]
    )
    assert "the ports are /dev/ttyA, /dev/ttyB;" in port_failure(
        lambda: open_device(f"serial:{port}", MACHINE)
    )


def test_what_is_no_port(tmp_path):
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for port, kind in (("/dev", "a folder"), ("/dev/null", "another device")):
        message = port_failure(lambda port=port: SerialLine(port, 9600))
        assert f"this is not a serial port but {kind}; " in message
        assert "plugged in" not in message
    for name, kind in (("file", "a file"), ("pipe", "a pipe")):
        message = port_failure(lambda name=name: SerialLine(str(tmp_path / name), 9600))
        assert f"this is not a serial port but {kind}; " in message


def test_a_rate_that_no_port_has(terminal):
    message = port_failure(lambda: open_device(f"serial:{terminal[1]}@99999999999", MACHINE))
    assert "it cannot do 99999999999 baud: build the bitstream for another rate, and give serial:" in message


HOLD = """
import serial, sys
port = serial.Serial(sys.argv[1], exclusive=True)
print(1, flush=True), sys.stdin.read()
"""


def test_a_port_that_is_taken(terminal):
    line = SerialLine(terminal[1], 9600)
    assert "it is in use by this program itself" in port_failure(lambda: SerialLine(terminal[1], 9600))
    line.close()
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, terminal[1]], stdin=pipe, stdout=pipe) as other:
        other.stdout.readline()
        message = port_failure(lambda: SerialLine(terminal[1], 9600))
        assert re.search(rf"it is in use by python\S* \(process {other.pid}\): end that first", message)
        other.communicate()
    SerialLine(terminal[1], 9600).close()


@pytest.mark.parametrize(
    ("number", "member", "message"),
    [
        (
            errno.EACCES,
            False,
            "Permission denied; it is for the group dialout: sudo usermod -aG dialout $USER, then",
        ),
        (
            errno.EACCES,
            True,
            "Permission denied; you are in its group dialout since you logged in: log in again",
        ),
        (errno.EPERM, False, "a container must be given the port: docker run --device"),
        (errno.ENXIO, False, "nothing is connected to it (No such device or address)"),
        (errno.EBUSY, False, "it is in use by "),
    ],
)
def test_ports_that_cannot_be_opened(terminal, monkeypatch, number, member, message):
    """By hand: root may open everything."""

    def refuses(*_, **__):
        raise serial.SerialException(number, f"could not open port: {os.strerror(number)}")

    user = pwd.getpwuid(os.getuid()).pw_name
    group = SimpleNamespace(gr_name="dialout", gr_mem=[user] if member else [])
    monkeypatch.setattr(grp, "getgrgid", lambda number: group)
    os.chown(terminal[1], -1, 20)
    os.chmod(terminal[1], 0o660)  # noqa: PTH101
    monkeypatch.setattr(serial, "Serial", refuses)
    assert message in port_failure(lambda: SerialLine(terminal[1], 9600))


def test_a_port_that_is_for_no_group(terminal, monkeypatch):
    def refuses(*_, **__):
        raise PermissionError(errno.EACCES, "could not open port")

    os.chmod(terminal[1], 0o600)  # noqa: PTH101
    monkeypatch.setattr(serial, "Serial", refuses)
    assert f"no group may use it: sudo chmod a+rw {terminal[1]} does" in port_failure(
        lambda: SerialLine(terminal[1], 1)
    )


def test_a_silent_port(terminal, monkeypatch):
    monkeypatch.setattr(SerialLine, "latency", 0.001)
    message = port_failure(lambda: open_device(f"serial:{terminal[1]}@9600", MACHINE))
    asked = f"serial:{terminal[1]}@9600: asked what it is 6 times, and nothing came; is it the right port"
    assert message.startswith(asked)
    assert message.endswith("are RX and TX the right way round, is the FPGA configured?")
    SerialLine(terminal[1], 9600).close()  # it was let go


def test_rubbish_is_told_from_silence(terminal, monkeypatch):
    """As of a board with another baud rate."""
    monkeypatch.setattr(SerialLine, "latency", 0.05)

    def answer() -> None:
        while b"end" not in os.read(terminal[0], 100):
            os.write(terminal[0], bytes(range(0, 200, 3)))

    board = threading.Thread(target=answer)
    board.start()
    message = port_failure(lambda: open_device(f"serial:{terminal[1]}@9600", MACHINE))
    line = SerialLine(terminal[1], 9600)
    line.send(b"end")
    board.join(10)
    line.close()
    assert re.search(
        r"asked what it is 6 times, and \d+ bytes came and none of them a frame; probably", message
    )
    assert message.endswith(f"another baud rate: give it, serial:{terminal[1]}@RATE, docs/boards.md has it")


def test_bytes_on_a_port(terminal):
    mine, port = terminal
    line, every = SerialLine(port, 3_000_000), bytes(range(256))
    line.send(every)
    assert os.read(mine, 1000) == every
    os.write(mine, every)
    came = b""
    while len(came) < len(every):
        came += line.receive(1)
    assert came == every
    assert line.receive(0.01) == b""
    line.close()
    line.close()


def test_bytes_that_wait_come_together(terminal):
    line, every = SerialLine(terminal[1], 9600), bytes(range(200))
    os.write(terminal[0], every)
    end = time.monotonic() + 20
    while line._serial.in_waiting < len(every) and time.monotonic() < end:
        time.sleep(0.001)
    assert line.receive(1) == every
    line.close()


def test_one_byte_is_enough(terminal):
    line = SerialLine(terminal[1], 9600)
    os.write(terminal[0], b"x")
    start = time.monotonic()
    assert line.receive(20) == b"x"
    assert time.monotonic() - start < 10
    line.close()


class Port:
    """In place of pyserial's: notes what it is told, in order."""

    def __init__(self, name, baudrate, exclusive):
        assert exclusive
        self.baudrate, self.done = baudrate, []

    def write(self, data):
        self.done.append((data, self.write_timeout))

    def flush(self):
        self.done.append("flush")


@pytest.mark.parametrize(("taken", "left"), [(0.0, 0.05), (0.02, 0.03), (0.07, 0.0)])
def test_how_long_sending_takes(monkeypatch, taken, left):
    """As long as ten bits per byte take on the line, of which the system may have waited for some already."""
    monkeypatch.setattr(serial, "Serial", Port)
    line = SerialLine("port", 9600)
    clock = SimpleNamespace(
        monotonic=lambda: 1000 + taken * len(line._serial.done) / 2,
        sleep=lambda seconds: line._serial.done.append(seconds),
    )
    monkeypatch.setattr(serial_port, "time", clock)
    line.send(bytes(48))
    wanted = [(bytes(48), pytest.approx(0.05 + serial_port.STUCK_SECONDS)), "flush"]
    assert line._serial.done == [*wanted, pytest.approx(left)]


def test_bytes_have_left_when_sending_returns(terminal):
    line, start = SerialLine(terminal[1], 9600), time.monotonic()
    line.send(bytes(48))
    assert time.monotonic() - start >= 0.05
    line.close()


def test_a_port_that_vanishes(terminal):
    line = SerialLine(terminal[1], 9600)
    os.close(terminal[0])
    assert port_failure(lambda: line.receive(1)).endswith("; was the board unplugged?")
    assert port_failure(lambda: [line.send(bytes(10)) for _ in range(3)]).endswith(
        "; was the board unplugged?"
    )
    line.close()
    port_failure(lambda: line.receive(0.01))
    port_failure(lambda: line.send(b"x"))


def test_a_port_that_takes_nothing(terminal, monkeypatch):
    """A USB device that hangs, without any flow control on the line."""
    monkeypatch.setattr(serial_port, "STUCK_SECONDS", 0.2)
    line, said = SerialLine(terminal[1], 3_000_000), []
    send = threading.Thread(
        target=lambda: said.append(port_failure(lambda: line.send(bytes(300_000)))), daemon=True
    )
    send.start()
    send.join(20)
    assert said, "it hangs"
    line.close()
