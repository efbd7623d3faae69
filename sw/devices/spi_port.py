"""An accelerator on an SPI bus: a Raspberry Pi's own one, or that of an FT232H on USB."""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from haarlequin.hw.link.stuffing import Unstuffing
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices.byte_line import Line, Unplugged
from haarlequin.sw.devices.device import DeviceError
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.port_errors import rights, why

HERTZ = 10_000_000
"""The clock where none is given: wires of 20 cm without a ground of their own still carry it."""

MOST = 4096
"""Bytes of an exchange, the most that Linux' driver takes at once unless it is told otherwise."""

POLL = 64
"""Bytes of an exchange in which nothing is sent, because an answer is waited for: about a RESULT."""


LATENCY = 0.05
"""Seconds within which an answer begins: programs that share the bus, and USB, take their time."""


class Bus(Protocol):
    """The master of an SPI bus with one slave, in mode 0."""

    def exchange(self, data: bytes) -> bytes:
        """Send ``data``, and take the bytes that come meanwhile: as many."""

    def close(self) -> None:
        """Give the bus back."""


class SpiLine(Line):
    """An SPI bus with an accelerator's `hw.link.spi.SpiSlave` on it.

    Zeros are sent while an answer is waited for, since no frame begins with them.

    Arguments:
        name: the name that messages give it.
        bus: the bus; closing the line closes it.
        clock: the time in seconds.
        latency: as in `Line`.
    """

    exact = False
    silence_hint = (
        "; are SCK, CS, COPI, CIPO and ground on the pins of docs/boards.md, is the FPGA configured, is its "
        "bitstream one with an SPI slave?"
    )
    noise_hint = "; probably the clock is too fast for the wires: give a lower one, spi:BUS@HZ"

    def __init__(self, name: str, bus: Bus, clock: Callable[[], float], latency: float):
        self.name, self._bus, self._clock, self.latency = name, bus, clock, latency
        self._unstuffing, self._came = Unstuffing(), b""

    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator, and keep what comes meanwhile."""
        for first in range(0, len(data), MOST):
            self._exchange(data[first : first + MOST])

    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator."""
        end = self._clock() + seconds
        while not self._came and self._clock() < end:
            self._exchange(bytes(POLL))
        came, self._came = self._came, b""
        return came

    def close(self) -> None:
        """Give the bus back."""
        self._bus.close()

    def _exchange(self, data: bytes) -> None:
        try:
            self._came += self._unstuffing.feed(self._bus.exchange(data))
        except OSError as error:
            raise Unplugged(f"{self.name}: {why(error)}; was the board unplugged?") from None


class _Spidev:
    """A bus of Linux, `/dev/spidev0.0`."""

    def __init__(self, path: str, hertz: int):
        import spidev

        self._device = spidev.SpiDev()
        self._device.open_path(path)
        self._device.mode, self._device.max_speed_hz = 0, hertz

    def exchange(self, data: bytes) -> bytes:
        return bytes(self._device.xfer3(data))

    def close(self) -> None:
        self._device.close()


class _Ftdi:
    """The SPI master of an FT232H, FT2232H or FT4232H, `ftdi://ftdi:232h/1`."""

    def __init__(self, url: str, hertz: int):
        from pyftdi.spi import SpiController
        from pyftdi.usbtools import UsbToolsError

        self._controller = SpiController(cs_count=1)
        try:
            self._controller.configure(url, frequency=hertz)
        except UsbToolsError as error:
            raise OSError(str(error)) from None
        self._port = self._controller.get_port(cs=0, freq=hertz, mode=0)

    def exchange(self, data: bytes) -> bytes:
        return bytes(self._port.exchange(data, duplex=True))

    def close(self) -> None:
        self._controller.close()


def spi_device(where: str) -> LinkDevice:
    """Open the accelerator on ``BUS[@HZ]``: `/dev/spidev0.0` or a URL of pyftdi.

    Raises `UsageError` for a clock that is not a positive number, or where the package for the bus is
    missing, and `DeviceError` where the bus cannot be opened or nothing answers.
    """
    bus, _, clock = where.partition("@")
    if clock and not (clock.isascii() and clock.isdigit() and int(clock)):
        raise UsageError(f"the clock in spi:{where} must be a positive number of hertz, not {clock!r}")
    hertz = int(clock) if clock else HERTZ
    return LinkDevice(lambda: _line(bus, hertz))


def _line(bus: str, hertz: int) -> SpiLine:
    """Open the line; raises as `spi_device`."""
    name, by_usb = f"spi:{bus}@{hertz}", bus.startswith("ftdi://")
    try:
        opened = (_Ftdi if by_usb else _Spidev)(bus, hertz)
    except ImportError as error:
        package = "pyftdi" if by_usb else "spidev"
        raise UsageError(f"spi:{bus} needs the package {package} ({error}): pip install {package}") from None
    except (OSError, ValueError, OverflowError) as error:
        raise DeviceError(f"{name}: {_reason(bus, error)}") from None
    return SpiLine(name, opened, time.monotonic, LATENCY)


def _reason(bus: str, error: Exception) -> str:
    """Why a bus cannot be opened, and what to do about it."""
    number = getattr(error, "errno", None)
    if bus.startswith("ftdi://"):
        return f"{why(error)}; is it plugged in (ftdi_urls.py of pyftdi lists what is), and may you use it?"
    if number == errno.EACCES:
        return f"{why(error)}; {rights(bus, Path(bus).stat())}"
    there = ", ".join(sorted(map(str, Path("/dev").glob("spidev*"))))
    found = (
        f"the buses are {there}"
        if there
        else "there is no SPI bus: raspi-config switches a Raspberry Pi's on"
    )
    return f"{why(error)}; {found}"
