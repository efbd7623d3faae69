"""An accelerator on a serial port."""

import time
from functools import partial

import serial

from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices.byte_line import Line, Unplugged
from haarlequin.sw.devices.device import DeviceError
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.port_errors import reason, why

_ERRORS: tuple[type[Exception], ...] = (OSError,)  # SerialException is an OSError
try:
    import termios
except ImportError:  # Windows does not have it
    pass
else:
    _ERRORS = (OSError, termios.error)  # pyserial lets this one through
# pyserial raises the last two for a rate that is not possible.
_OPEN_ERRORS: tuple[type[Exception], ...] = (*_ERRORS, ValueError, OverflowError)

BITS = 10
"""Bits per byte on the line, with start and stop bit."""

STUCK_SECONDS = 10.0
"""How much longer than their time on the line bytes may take to be sent; after that, sending has failed."""

BAUD = 3_000_000
"""The rate where none is given: the highest that the boards' own USB bridges can do."""


class SerialLine(Line):
    """A serial port: 8 bits, no parity, one stop bit, no flow control."""

    latency, exact = 0.05, False

    def __init__(self, port: str, baud: int):
        self.name = f"serial:{port}@{baud}"
        self.silence_hint = (
            f"; is it the right port and baud rate (serial:{port}@RATE, docs/boards.md has the board's), are "
            "RX and TX the right way round, is the FPGA configured?"
        )
        self.noise_hint = (
            f"; probably the board has another baud rate: give it, serial:{port}@RATE, docs/boards.md has it"
        )
        try:
            self._serial = serial.Serial(port, baud, exclusive=True)
        except _OPEN_ERRORS as error:
            raise DeviceError(f"{self.name}: {reason(port, baud, error)}") from None

    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator; they have left when this returns."""
        start, needed = time.monotonic(), len(data) * BITS / self._serial.baudrate
        try:
            self._serial.write_timeout = needed + STUCK_SECONDS
            self._serial.write(data)
            self._serial.flush()
        except _ERRORS as error:
            raise self._gone(error) from None
        # The USB bridge may still hold bytes that have left the operating system.
        time.sleep(max(0.0, start + needed - time.monotonic()))

    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator."""
        try:
            self._serial.timeout = seconds
            first = self._serial.read(1)
            return first + self._serial.read(self._serial.in_waiting) if first else first
        except _ERRORS as error:
            raise self._gone(error) from None

    def close(self) -> None:
        """Close the port."""
        self._serial.close()

    def _gone(self, error: Exception) -> Unplugged:
        return Unplugged(f"{self.name}: {why(error)}; was the board unplugged?")


def serial_device(where: str) -> LinkDevice:
    """Open the accelerator on ``PORT[@BAUD]``.

    Raises `UsageError` for a rate that is not a positive number, and `DeviceError` where nothing answers.
    """
    port, _, rate = where.partition("@")
    if rate and not (rate.isascii() and rate.isdigit() and int(rate)):
        raise UsageError(f"the baud rate in serial:{where} must be a positive number, not {rate!r}")
    return LinkDevice(partial(SerialLine, port, int(rate) if rate else BAUD))
