"""A computer on the simulated network, and its socket, which takes what a real one takes."""

import errno
import os
from collections import deque

from haarlequin.hw.link.ethernet.address import PORT, Address
from haarlequin.sim.ethernet import packets
from haarlequin.sim.ethernet.board import CYCLES, HERTZ
from haarlequin.sim.ethernet.port import DAMAGED
from haarlequin.sw.devices.udp_port import UdpLine, UdpSocket
from haarlequin.sw.verilated.simulation import CHUNK, Simulation

MAC, IP = bytes.fromhex("0a 48 41 52 4c 01"), "192.168.2.1"
"""The computer's addresses."""

SOCKET_PORT = 50_000

LATENCY = 4096 * CYCLES / HERTZ
"""Seconds within which an answer begins, and after which datagrams are sent again."""

ARP_SECONDS = 50e-6
"""How long a computer waits for the answer to an ARP request; real ones wait a second, and ask again."""


class Cable:
    """A cable from a computer to the PHY of a simulated board, on which frames travel.

    Arguments:
        simulation: the one of an `EthernetBoard`.
    """

    exact = True
    """Whether it never damages anything, as in `Line`."""

    def __init__(self, simulation: Simulation):
        self.simulation = simulation
        self._came, self._frames = bytearray(), deque[bytes]()

    @property
    def cycle(self) -> int:
        """Cycles of the bench since the beginning."""
        return self.simulation.cycle

    def seconds(self) -> float:
        """The time in the simulation."""
        return self.cycle / HERTZ

    def send(self, frame: bytes) -> None:
        """Send a frame, which gets its check sequence here."""
        self.put(packets.line(frame))

    def put(self, raw: bytes, damaged: bool = False) -> None:
        """Put the bytes of a line on it, whatever they are; ``damaged``: the PHY says that they are."""
        self.simulation.send((len(raw) | DAMAGED * damaged).to_bytes(2, "little") + raw)

    def take(self, seconds: float) -> bytes | None:
        """The next bytes on the line from the board, a frame or not; None if there are none so long."""
        end = self.seconds() + seconds
        while not self._frames:
            left = round((end - self.seconds()) * HERTZ)
            if left <= 0 and not self.simulation.waiting:
                return None
            self._came += self.simulation.receive(max(CHUNK, min(left, 16 * CHUNK)))
            while len(self._came) >= 2:
                size = 2 + int.from_bytes(self._came[:2], "little")
                if len(self._came) < size:
                    break
                self._frames.append(bytes(self._came[2:size]))
                del self._came[:size]
        return self._frames.popleft()

    def receive(self, seconds: float) -> bytes | None:
        """The next frame from the board, without its check sequence. Raises `packets.NoFrame` where what
        comes is none: a real computer would not see it.
        """
        raw = self.take(seconds)
        return None if raw is None else packets.frame_of(raw)

    def restart(self) -> None:
        """Reset the accelerator and the PHY."""
        self.simulation.restart()
        self._came.clear()
        self._frames.clear()


class SimulatedSocket:
    """A UDP socket that is connected to a board, with those of Python's methods that are asked for.

    The computer asks for the board's MAC address before it sends the first datagram.

    Arguments:
        cable: the one to the board.
        address: the board's.
    """

    def __init__(self, cable: Cable, address: Address | None = None):
        self._cable, self._address = cable, address or Address()
        self._mac = b""
        self._datagrams = deque[bytes]()
        self._timeout = 0.0

    def settimeout(self, value: float) -> None:
        """The seconds for which `recv` waits, in the simulation."""
        self._timeout = value

    def send(self, data: bytes) -> int:
        """Send a datagram. Raises OSError where nobody has the board's address."""
        if not self._mac:
            self._mac = self._ask()
        body = packets.udp(IP, SOCKET_PORT, self._address.ip, PORT, data)
        packet = packets.ipv4(IP, self._address.ip, packets.UDP, body)
        self._cable.send(packets.ethernet(self._mac, MAC, packets.IPV4, packet))
        return len(data)

    def recv(self, bufsize: int) -> bytes:
        """The next datagram; raises TimeoutError where none comes."""
        end = self._cable.seconds() + self._timeout
        while not self._datagrams:
            if not self._hear(max(0.0, end - self._cable.seconds())):
                raise TimeoutError("timed out")
        return self._datagrams.popleft()[:bufsize]

    def close(self) -> None:
        """End the simulation."""
        self._cable.simulation.close()

    def _hear(self, seconds: float) -> bool:
        """Take a frame from the cable; whether there was one."""
        raw = self._cable.take(seconds)
        if raw is None:
            return False
        try:
            frame = packets.frame_of(raw)
            to, kind = frame[:6], int.from_bytes(frame[12:14], "big")
            if to != MAC:
                return True
            if kind == packets.ARP and frame[20:22] == b"\0\2":
                self._mac = frame[22:28]
            packet = packets.read_ipv4(frame[14:]) if kind == packets.IPV4 else None
            if packet and (packet.source, packet.to, packet.protocol) == (self._address.ip, IP, packets.UDP):
                port, to_port, data = packets.read_udp(packet)
                if (port, to_port) == (PORT, SOCKET_PORT):
                    self._datagrams.append(data)
        except packets.NoFrame:
            pass  # as a network card does
        return True

    def _ask(self) -> bytes:
        """The MAC address that belongs to the board's, asked for three times; raises OSError."""
        asked = packets.arp(1, MAC, IP, bytes(6), self._address.ip)
        for _ in range(3):
            self._cable.send(packets.ethernet(packets.EVERYONE, MAC, packets.ARP, asked))
            end = self._cable.seconds() + ARP_SECONDS
            while not self._mac and self._cable.seconds() < end:
                self._hear(end - self._cable.seconds())
            if self._mac:
                return self._mac
        raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))


class SimulatedUdpLine(UdpLine):
    """The host's own line over a simulated network, with the accelerator's time.

    Arguments:
        cable: the one to the board.
        socket: its socket, or what damages one.
    """

    def __init__(self, cable: Cable, socket: UdpSocket | None = None):
        socket, self.exact = socket or SimulatedSocket(cable), cable.exact
        super().__init__("udp:sim", socket, cable.seconds, LATENCY, LATENCY)
