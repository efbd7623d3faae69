"""An accelerator on a network, by UDP: a board with Ethernet of its own."""

import errno
import re
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from haarlequin.hw.link.ethernet.address import DEFAULT, PORT
from haarlequin.hw.link.ethernet.datagrams import FROM_BOARD, MOST, NUMBERS, SLOTS, TO_BOARD, pieces
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices.byte_line import Line, Unplugged
from haarlequin.sw.devices.device import DeviceError
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.port_errors import why

LATENCY = 0.05
"""Seconds within which an answer begins, on a network that has other work, too."""

PATIENCE = 0.02
"""Seconds after which datagrams are sent again that the board has not passed on."""

STUCK_SECONDS = 10.0
"""Seconds without progress after which a board that answers, but takes nothing, has failed."""

AGAIN = 5
"""How often that is done, without any progress, before a new session is begun: the board does not know of
this one, since it has been switched off or another computer has begun one."""

LATE = 4
"""A datagram from the board is taken for doubled or late if its number is the last one or one of those before
it, so many in all. Any other number is a new one: one that was damaged must not make all others old."""

_NAME = re.compile(r"([^:\s]+)(?::(\d{1,5}))?")


class UdpSocket(Protocol):
    """A UDP socket that is connected to a board, as Python's own."""

    def settimeout(self, value: float, /) -> None:
        """The seconds for which `recv` waits."""

    def send(self, data: bytes, /) -> int:
        """Send a datagram."""

    def recv(self, bufsize: int, /) -> bytes:
        """The next datagram; raises TimeoutError where none comes."""

    def close(self) -> None:
        """Close the socket."""


class UdpLine(Line):
    """A session with a `hw.link.ethernet.line.EthernetLine`: numbered datagrams, which are sent again until
    the board has passed their bytes on, so that it gets each byte once and in order.

    What comes from the board is numbered, too, so that nothing comes twice or in another order. What is lost
    on this way is asked for again by the link.

    Arguments:
        name: the name that messages give it.
        udp: the socket; closing the line closes it.
        clock: the time in seconds.
        latency: as in `Line`.
        patience: seconds after which datagrams are sent again.
    """

    exact: bool = False
    flow_control = True
    silence_hint = (
        "; is the cable plugged in, are the board's lamps lit, is this its address, and is one of this "
        "computer's in the same network (docs/boards.md)?"
    )
    noise_hint = "; is this the address of another program?"

    def __init__(
        self, name: str, udp: UdpSocket, clock: Callable[[], float], latency: float, patience: float
    ):
        self.name, self.latency = name, latency
        self._socket, self._clock, self._patience = udp, clock, patience
        self._came = bytearray()
        self._begin()

    def _begin(self) -> None:
        """Begin a session. What is on its way belongs to none."""
        self._session, self._number = secrets.randbelow(NUMBERS), 0
        self._flying = deque[bytes]()
        self._tries, self._since, self._progress = 0, 0.0, 0.0
        self._heard, self._busy = -1, False

    def send(self, data: bytes) -> None:
        """Send bytes to the accelerator; the last few datagrams of them are on their way when this returns.

        They are given up where the board knows nothing of the session; the link sends them again.
        """
        session = self._session
        for piece in pieces(data):
            while len(self._flying) == SLOTS:
                self._hear(self._patience)
                if self._session != session:
                    return
                if self._clock() - self._progress > STUCK_SECONDS:
                    raise Unplugged(f"{self.name}: the board has taken nothing for {STUCK_SECONDS:g} s")
            head = TO_BOARD.pack(self._session, self._number)
            self._number = (self._number + 1) % NUMBERS
            self._flying.append(head + piece)
            if len(self._flying) == 1:
                self._since = self._progress = self._clock()
            self._put(self._flying[-1])

    def receive(self, seconds: float) -> bytes:
        """The next bytes from the accelerator."""
        end = self._clock() + seconds
        while True:
            left = end - self._clock()
            self._hear(max(0.0, min(left, self._patience)))
            if self._came or left <= 0:
                break
        came = bytes(self._came)
        self._came.clear()
        return came

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _hear(self, seconds: float) -> None:
        """Take a datagram, if one comes; send again what has been on its way for too long."""
        try:
            self._socket.settimeout(max(seconds, 1e-6))
            self._take(self._socket.recv(FROM_BOARD.size + MOST + 1))
        except TimeoutError:
            pass
        except OSError as error:
            raise self._gone(error) from None
        if self._flying and self._clock() - self._since >= self._patience:
            self._again()

    def _take(self, datagram: bytes) -> None:
        """Look at a datagram from the board."""
        if not FROM_BOARD.size <= len(datagram) <= FROM_BOARD.size + MOST:
            return
        session, following, number = FROM_BOARD.unpack_from(datagram)
        if session != self._session:
            return
        first = self._number - len(self._flying)
        passed = (following - first) % NUMBERS
        self._busy = passed == 0
        if 0 < passed <= len(self._flying):
            for _ in range(passed):
                self._flying.popleft()
            self._tries, self._since = 0, self._clock()
            self._progress = self._since
        data = datagram[FROM_BOARD.size :]
        if data and (self._heard < 0 or (self._heard - number) % NUMBERS >= LATE):
            self._heard = number
            self._came += data

    def _again(self) -> None:
        """Send again what the board has not passed on; begin a new session where it knows nothing of it."""
        self._tries += 1
        if self._tries > AGAIN and not self._busy:
            self._begin()
            return
        self._since, self._busy = self._clock(), False
        for datagram in tuple(self._flying):
            self._put(datagram)

    def _put(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError as error:
            raise self._gone(error) from None

    def _gone(self, error: OSError) -> Unplugged:
        return Unplugged(f"{self.name}: {_reason(error)}")


def udp_device(where: str) -> LinkDevice:
    """Open the accelerator at ``HOST[:PORT]``.

    Raises `UsageError` for another form, and `DeviceError` where there is no such host or it is silent.
    """
    form = _NAME.fullmatch(where)
    port = int(form[2] or PORT) if form else 0
    if not form or not 0 < port < 1 << 16:
        raise UsageError(f"udp:{where} is not udp:HOST[:PORT], udp:{DEFAULT} for example")
    return LinkDevice(lambda: _line(f"udp:{where}", form[1], port))


def _line(name: str, host: str, port: int) -> UdpLine:
    """Open the line; raises as `udp_device`."""
    try:
        udp = _connected(host, port)
    except (OSError, UnicodeError) as error:
        raise DeviceError(f"{name}: {_reason(error)}") from None
    return UdpLine(name, udp, time.monotonic, LATENCY, PATIENCE)


def _connected(host: str, port: int) -> UdpSocket:
    """A socket that is connected to a host; raises what Python's does."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.connect((host, port))
    except BaseException:
        udp.close()
        raise
    return udp


def _reason(error: Exception) -> str:
    """Why there is no way to a board, and what to do about it."""
    number = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror | UnicodeError):
        return (
            f"there is no such host ({why(error)}); a board has an address, {DEFAULT} if no other was chosen"
        )
    if number == errno.ECONNREFUSED:
        return f"{why(error)}; the computer at this address is no accelerator, or has another port"
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN):
        return (
            f"{why(error)}; is the cable plugged in, and has this computer an address in the board's network "
            "(docs/boards.md)?"
        )
    return why(error)
