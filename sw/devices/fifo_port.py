"""An accelerator at the synchronous FIFO of an FT232H, which is eight bits wide and clocked at 60 MHz."""

import errno
import time
from collections.abc import Callable
from typing import Any, Protocol

from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices.byte_line import Line, Unplugged
from haarlequin.sw.devices.device import DeviceError
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.port_errors import why

FIRST = "ftdi://ftdi:232h/1"
"""The URL of the first FT232H found."""

MOST = 1 << 14
"""Bytes of a transfer at most, the most that Linux takes in one piece."""

LATENCY = 0.05
"""Seconds within which an answer begins: what else is on the bus has its turns before."""

LATENCY_TIMER = 1
"""Milliseconds after which the chip answers a read though it has nothing. Answers do not wait for it, since
the gateware has them sent at once (`hw.link.fifo`)."""

STUCK_SECONDS = 10.0
"""Seconds after which a transfer of `MOST` bytes that are not taken has failed."""

STATUS = 2
"""Bytes of modem status at the beginning of each packet that the chip sends."""

FT232H = 0x0900
"""The release number by which FTDI's chips tell their kind."""

FIFO_TYPE = 1
"""The lower half of the EEPROM's first byte where the chip is a 245 FIFO (AN_130, section 3.1)."""

READ = 0x81
"""The endpoint by which the chip's only port sends."""


class Fifo(Protocol):
    """The host's end of a FIFO."""

    def write(self, data: bytes) -> None:
        """Send ``data``; returns once the chip has it. Raises OSError where it does not take it."""

    def read(self) -> bytes:
        """The bytes of the next transfer; empty where none has come for `LATENCY_TIMER`."""

    def close(self) -> None:
        """Give the chip back."""


class FifoLine(Line):
    """The FIFO of an FT232H, with an accelerator's `hw.link.fifo.FifoMaster` at its pins.

    USB sends again what was damaged on its way, and both ends have flow control, so that bytes are lost
    only where wires are loose.

    Arguments:
        name: the name that messages give it.
        fifo: the FIFO; closing the line closes it.
        clock: the time in seconds.
        latency: as in `Line`.
    """

    exact, flow_control = False, True
    silence_hint = (
        "; are all 15 wires and ground on the pins of docs/boards.md, is the FPGA configured, is its "
        "bitstream one with a FIFO (ARGS=--fifo)?"
    )
    noise_hint = "; is a wire of D0 to D7 loose, or are two of them crossed? docs/boards.md has the pins"

    def __init__(self, name: str, fifo: Fifo, clock: Callable[[], float], latency: float):
        self.name, self._fifo, self._clock, self.latency = name, fifo, clock, latency

    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator; the chip has them when this returns."""
        try:
            for first in range(0, len(data), MOST):
                self._fifo.write(data[first : first + MOST])
        except OSError as error:
            raise self._gone(error) from None

    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator."""
        end = self._clock() + seconds
        try:
            while not (came := self._fifo.read()) and self._clock() < end:
                pass
        except OSError as error:
            raise self._gone(error) from None
        return came

    def close(self) -> None:
        """Give the chip back."""
        self._fifo.close()

    def _gone(self, error: OSError) -> Unplugged:
        return Unplugged(f"{self.name}: {why(error)}; was the board unplugged?")


class FtdiFifo:
    """An FT232H in its synchronous FIFO mode, by pyftdi.

    A read by pyftdi goes on until no byte has come for a millisecond, in which three images could have been
    computed. So transfers are read one by one.

    Arguments:
        ftdi: a `pyftdi.ftdi.Ftdi`, which is opened here.
        url: the chip's URL.

    Raises what pyftdi does, and `DeviceError` for another chip, or one that is not set to its FIFO.
    """

    def __init__(self, ftdi: Any, url: str):
        self._ftdi = ftdi
        try:
            ftdi.open_from_url(url)
            self._begin(url)
        except BaseException:
            self.close()
            raise

    def _begin(self, url: str) -> None:
        ftdi, modes = self._ftdi, self._ftdi.BitMode
        if ftdi.device_version != FT232H:
            raise DeviceError(
                f"ftdi:{url}: this is not an FT232H but an {ftdi.ic_name.upper()}; take that one"
            )
        if ftdi.read_eeprom(0, 2)[0] & 0xF != FIFO_TYPE:
            raise DeviceError(
                f"ftdi:{url}: the chip's EEPROM is not set to 245 FIFO: "
                f"ftconf.py {url} -c channel_a_type:FIFO -u, then plug it in again (docs/boards.md)"
            )
        ftdi.timeouts = round(1000 * STUCK_SECONDS), round(1000 * STUCK_SECONDS)
        ftdi.set_bitmode(0, modes.RESET)
        ftdi.set_bitmode(0xFF, modes.SYNCFF)
        ftdi.set_latency_timer(LATENCY_TIMER)
        ftdi.write_data_set_chunksize(MOST)
        ftdi.purge_buffers()
        endpoint = next(each for each in ftdi.usb_dev[0][(0, 0)] if each.bEndpointAddress == READ)
        self._packet = endpoint.wMaxPacketSize  # 512 bytes; 64 on a hub of full speed

    def write(self, data: bytes) -> None:
        """Send ``data``; returns once the chip has it. Raises OSError where it does not take it."""
        self._ftdi.write_data(data)

    def read(self) -> bytes:
        """The bytes of the next transfer, without the status of its packets; empty where none has come."""
        came = bytes(self._ftdi.usb_dev.read(READ, MOST, round(1000 * STUCK_SECONDS)))
        return b"".join(came[at + STATUS : at + self._packet] for at in range(0, len(came), self._packet))

    def close(self) -> None:
        """Give the chip back."""
        self._ftdi.close()


def fifo_device(where: str) -> LinkDevice:
    """Open the accelerator at the FT232H with that URL of pyftdi; the first one found, where nothing is said.

    Raises `UsageError` where pyftdi is missing, and `DeviceError` where there is no such chip, it is of
    another kind or not set to its FIFO, or nothing answers.
    """
    return LinkDevice(lambda: _line(where or FIRST))


def _line(url: str) -> FifoLine:
    """Open the line; raises as `fifo_device`."""
    name = f"ftdi:{url}"
    try:
        from pyftdi.ftdi import Ftdi
        from pyftdi.usbtools import UsbToolsError
    except ImportError as error:
        raise UsageError(f"ftdi: needs the package pyftdi ({error}): pip install pyftdi") from None
    try:
        opened = FtdiFifo(Ftdi(), url)
    except (OSError, ValueError, UsbToolsError) as error:
        raise DeviceError(f"{name}: {_reason(error)}") from None
    return FifoLine(name, opened, time.monotonic, LATENCY)


def _reason(error: Exception) -> str:
    """Why a chip cannot be opened, and what to do about it."""
    if getattr(error, "errno", None) == errno.EACCES:
        return f"{why(error)}; docs/boards.md has the udev rule that gives you the right"
    return f"{why(error)}; is it plugged in (ftdi_urls.py of pyftdi lists what is), and may you use it?"
