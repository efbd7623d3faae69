"""Buses that cannot be opened, fail, or are silent; tests/sw/devices/test_devices.py has one that works."""

import errno
import itertools
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from haarlequin.hw.link.stuffing import FLAG, stuffed
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices import DeviceError, open_device, spi_port
from haarlequin.sw.devices.spi_port import MOST, POLL, SpiLine


class Loop:
    """A bus that gives back what `answers` has for each exchange, and silence after that."""

    def __init__(self, *answers):
        self.sent, self.closed, self._answers = [], False, iter(answers)

    def exchange(self, data):
        self.sent.append(data)
        answer = next(self._answers, b"")
        if isinstance(answer, Exception):
            raise answer
        return answer.ljust(len(data), bytes([FLAG]))

    def close(self):
        self.closed = True


def line(*answers):
    """A line on such a bus, where an exchange takes a second; and the bus."""
    bus, seconds = Loop(*answers), itertools.count()
    return SpiLine("spi:loop", bus, lambda: next(seconds), 1.0), bus


def test_long_frames_go_in_several_exchanges():
    one, bus = line()
    frame = bytes(range(256)) * 33
    one.send(frame)
    assert b"".join(bus.sent) == frame
    assert [len(part) for part in bus.sent] == [MOST, MOST, 256]


def test_what_comes_while_something_is_sent_is_kept():
    one, bus = line(stuffed(b"\x7e\x7d!"))
    one.send(bytes(10))
    assert one.receive(5.0) == b"\x7e\x7d!"
    assert len(bus.sent) == 1


def test_an_answer_is_polled_for_and_silence_is_as_long_as_was_said():
    one, bus = line(b"", b"", b"yes")
    assert one.receive(9.0) == b"yes"
    assert bus.sent == [bytes(POLL)] * 3
    assert one.receive(4.0) == b""
    assert len(bus.sent) == 3 + 3
    one.close()
    assert bus.closed


def test_a_byte_that_ends_with_an_exchange_is_put_together():
    coded = stuffed(b"\x7e")
    one, _ = line(coded[:1], coded[1:])
    assert one.receive(9.0) == b"\x7e"


def test_a_bus_that_goes_away():
    one, _ = line(OSError(errno.ENODEV, "No such device"))
    with pytest.raises(DeviceError, match=r"^spi:loop: No such device; was the board unplugged\?$"):
        one.receive(5.0)


@pytest.mark.parametrize("clock", ["0", "-1", "fast", "1e6", "10.5", "²"])
def test_clocks_that_are_none(clock):
    with pytest.raises(UsageError) as caught:
        open_device(f"spi:/dev/spidev0.0@{clock}", None)
    assert str(caught.value) == (
        f"the clock in spi:/dev/spidev0.0@{clock} must be a positive number of hertz, not {clock!r}"
    )


@pytest.mark.parametrize(("bus", "package"), [("/dev/spidev0.0", "spidev"), ("ftdi://ftdi:232h/1", "pyftdi")])
def test_a_package_that_is_missing(monkeypatch, bus, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.spi", None)
    with pytest.raises(UsageError, match=rf"^spi:{bus} needs the package {package} .*pip install {package}$"):
        open_device(f"spi:{bus}", None)


def spidev(error=None, answer=b""):
    """A module spidev whose bus fails to open, or has nothing but ``answer`` to say."""

    class SpiDev:
        def open_path(self, path):
            if error:
                raise error

        def xfer3(self, values):
            return tuple(answer.ljust(len(values), bytes([FLAG]))[: len(values)])

        def close(self):
            pass

    return SimpleNamespace(SpiDev=SpiDev)


def failure(name):
    with pytest.raises(DeviceError) as caught:
        open_device(name, None)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_bus_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "spidev", spidev(OSError(errno.ENOENT, "No such file or directory")))
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    message = failure("spi:/dev/spidev7.0@1000000")
    assert message == (
        "spi:/dev/spidev7.0@1000000: No such file or directory; there is no SPI bus: raspi-config switches a "
        "Raspberry Pi's on"
    )
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: iter([Path("/dev/spidev0.1"), Path("/dev/spidev0.0")])
    )
    assert failure("spi:/dev/spidev7.0").endswith("; the buses are /dev/spidev0.0, /dev/spidev0.1")


def test_a_bus_that_is_for_others(monkeypatch, tmp_path):
    bus = tmp_path / "spidev"
    bus.touch(0o600)
    monkeypatch.setitem(sys.modules, "spidev", spidev(OSError(errno.EACCES, "Permission denied")))
    assert "Permission denied; no group may use it: sudo chmod a+rw" in failure(f"spi:{bus}")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (b"", "nothing came; are SCK, CS"),
        (bytes(POLL), "bytes came and none of them a frame; probably the clock"),
    ],
)
def test_a_bus_without_an_accelerator(monkeypatch, answer, hint):
    monkeypatch.setattr(spi_port, "LATENCY", 0.0005)
    monkeypatch.setitem(sys.modules, "spidev", spidev(answer=answer))
    assert hint in failure("spi:/dev/spidev0.0")


def pyftdi(error=None):
    """The modules of pyftdi, with a bus that fails to open or is silent; and what was asked of it."""
    asked = []

    class UsbToolsError(Exception):
        pass

    class SpiController:
        def __init__(self, cs_count):
            asked.append(cs_count)

        def configure(self, url, frequency):
            asked.append((url, frequency))
            if error:
                raise UsbToolsError(error) if isinstance(error, str) else error

        def get_port(self, cs, freq, mode):
            asked.append((cs, freq, mode))
            return self

        def exchange(self, data, duplex):
            assert duplex
            return bytearray([FLAG] * len(data))

        def close(self):
            asked.append("closed")

    modules = {name: ModuleType(name) for name in ("pyftdi", "pyftdi.spi", "pyftdi.usbtools")}
    modules["pyftdi.spi"].SpiController = SpiController
    modules["pyftdi.usbtools"].UsbToolsError = UsbToolsError
    return modules, asked


def test_an_ft232h_is_asked_for_what_is_needed(monkeypatch):
    modules, asked = pyftdi()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(spi_port, "LATENCY", 0.0005)
    assert "nothing came; are SCK" in failure("spi:ftdi://ftdi:232h/1@30000000")
    assert asked == [1, ("ftdi://ftdi:232h/1", 30_000_000), (0, 30_000_000, 0), "closed"]


@pytest.mark.parametrize("error", ["No USB device matches URL ftdi:", OSError("gone"), ValueError("bad URL")])
def test_an_ft232h_that_cannot_be_opened(monkeypatch, error):
    """The message has the clock, 10 MHz where none is given."""
    modules, _ = pyftdi(error)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    message = failure("spi:ftdi://ftdi:232h/1")
    assert message.startswith(f"spi:ftdi://ftdi:232h/1@10000000: {error}; is it plugged in (")
