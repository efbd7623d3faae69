"""Chips that cannot be opened, fail, or are silent; tests/sw/devices/test_devices.py has one that works."""

import errno
import itertools
import sys
from types import SimpleNamespace

import pytest

from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices import DeviceError, fifo_port, open_device
from haarlequin.sw.devices.fifo_port import FIFO_TYPE, FIRST, FT232H, MOST, STATUS, FifoLine, FtdiFifo


class Fifo:
    """A FIFO that has these answers to reads, and nothing after them."""

    def __init__(self, *answers):
        self.sent, self.closed, self._answers = [], False, iter(answers)

    def write(self, data):
        self.sent.append(data)

    def read(self):
        answer = next(self._answers, b"")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        self.closed = True


def line(*answers):
    """A line at such a FIFO, where each look at the clock takes a second; and the FIFO."""
    fifo, seconds = Fifo(*answers), itertools.count()
    return FifoLine("ftdi:it", fifo, lambda: next(seconds), 1.0), fifo


def test_long_frames_go_in_several_transfers():
    one, fifo = line()
    frame = bytes(range(256)) * 130
    one.send(frame)
    assert b"".join(fifo.sent) == frame
    assert [len(part) for part in fifo.sent] == [MOST, MOST, 512]


def test_silence_is_as_long_as_was_said():
    one, fifo = line(b"", b"", b"yes", b"no")
    assert one.receive(9.0) == b"yes"
    assert one.receive(0.0) == b"no"
    assert one.receive(4.0) == b""
    one.close()
    assert fifo.closed


@pytest.mark.parametrize("error", [OSError(errno.ENODEV, "No such device"), OSError("No such device")])
def test_a_chip_that_goes_away(error):
    one, fifo = line(error)
    with pytest.raises(DeviceError, match=r"^ftdi:it: No such device; was the board unplugged\?$"):
        one.receive(5.0)
    fifo.write = lambda data: (_ for _ in ()).throw(error)
    with pytest.raises(DeviceError, match=r"^ftdi:it: No such device; was the board unplugged\?$"):
        one.send(b"abc")


IN = 0x81
"""The endpoint by which a real chip sends."""

STUCK_MILLISECONDS = 10_000
"""What a transfer has to take to have failed, as libusb counts it."""


class Chip:
    """In place of pyftdi's `Ftdi`: a chip that is silent, or does not open; and what was asked of it."""

    BitMode = SimpleNamespace(RESET="reset", SYNCFF="synchronous")
    device_version, kind, packet, transfer = FT232H, FIFO_TYPE, 512, bytes(STATUS)
    ic_name, error = "ft2232h", None

    def __init__(self):
        self.asked = []
        endpoints = [SimpleNamespace(bEndpointAddress=0x02, wMaxPacketSize=0)]
        endpoints += [SimpleNamespace(bEndpointAddress=IN, wMaxPacketSize=self.packet)]
        self.usb_dev = type("Device", (dict,), {"read": lambda _, *asked: self._read(*asked)})()
        self.usb_dev[0] = {(0, 0): endpoints}

    def open_from_url(self, url):
        self.asked.append(url)
        if self.error:
            raise self.error

    def read_eeprom(self, addr, length):
        return bytes([0x10 | self.kind, 0])[addr : addr + length]

    def __getattr__(self, name):
        return lambda *values: self.asked.append((name, *values))

    def _read(self, endpoint, size, timeout):
        assert (endpoint, size, timeout) == (IN, MOST, STUCK_MILLISECONDS)
        return self.transfer


@pytest.fixture
def chip(monkeypatch):
    """The only one of a computer."""
    there = Chip()
    monkeypatch.setattr(fifo_port, "LATENCY", 0.0005)
    wrong = type("UsbToolsError", (Exception,), {})
    for name, module in {
        "pyftdi": SimpleNamespace(),
        "pyftdi.ftdi": SimpleNamespace(Ftdi=lambda: there),
        "pyftdi.usbtools": SimpleNamespace(UsbToolsError=wrong),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    there.wrong = wrong
    return there


def failure(name):
    with pytest.raises(DeviceError) as caught:
        open_device(name, None)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_chip_is_asked_for_what_is_needed(chip):
    message = failure("ftdi:")
    assert message.startswith(f"ftdi:{FIRST}: asked what it is 6 times, and nothing came; are all 15 wires")
    order = [each if isinstance(each, str) else each[:3] for each in chip.asked]
    assert order[:3] == [FIRST, ("set_bitmode", 0, "reset"), ("set_bitmode", 0xFF, "synchronous")]
    assert ("set_latency_timer", 1) in order
    assert ("purge_buffers",) in order
    assert chip.timeouts == (STUCK_MILLISECONDS, STUCK_MILLISECONDS)
    assert order[-1] == ("close",)


def test_another_url(chip):
    failure("ftdi:ftdi://ftdi:232h:FT1/1")
    assert chip.asked[0] == "ftdi://ftdi:232h:FT1/1"


@pytest.mark.parametrize("packet", [64, 512])
def test_the_status_of_each_packet_is_left_out(chip, packet):
    chip.packet = packet
    chip.__init__()
    data = bytes(range(256)) * 4
    parts = [data[at : at + packet - STATUS] for at in range(0, len(data), packet - STATUS)]
    chip.transfer = b"".join(b"\x32\x60" + part for part in parts)
    assert FtdiFifo(chip, FIRST).read() == data


def test_another_chip(chip):
    chip.device_version = 0x0700
    assert failure("ftdi:") == f"ftdi:{FIRST}: this is not an FT232H but an FT2232H; take that one"
    assert chip.asked[-1] == ("close",)


@pytest.mark.parametrize("kind", [0, 2, 0xF])
def test_an_eeprom_that_is_not_set_to_the_fifo(chip, kind):
    chip.kind = kind
    assert failure("ftdi:") == (
        f"ftdi:{FIRST}: the chip's EEPROM is not set to 245 FIFO: ftconf.py {FIRST} -c channel_a_type:FIFO"
        " -u, then plug it in again (docs/boards.md)"
    )
    assert chip.asked[-1] == ("close",)


def test_a_chip_that_is_not_there(chip):
    for error in (chip.wrong("No USB device matches URL"), OSError("gone"), ValueError("bad URL")):
        chip.error = error
        assert failure("ftdi:").startswith(f"ftdi:{FIRST}: {error}; is it plugged in (ftdi_urls.py")
    chip.error = OSError(errno.EACCES, "Access denied")
    assert failure("ftdi:").endswith(
        "Access denied; docs/boards.md has the udev rule that gives you the right"
    )


def test_noise_on_the_wires(chip):
    chip.transfer = bytes([0x32, 0x60, *[0x5A] * 100])
    assert "bytes came and none of them a frame; is a wire of D0 to D7 loose" in failure("ftdi:")


def test_a_package_that_is_missing(monkeypatch):
    for name in ("pyftdi", "pyftdi.ftdi"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"^ftdi: needs the package pyftdi .*pip install pyftdi$"):
        open_device("ftdi:", None)
