"""`UsbHost`: what an operating system does on a bus with one device, on a simulated port."""

import errno
from dataclasses import dataclass

from haarlequin.hw.link.usb_ids import HIGH_SPEED_PACKET, PACKET
from haarlequin.sim.usb import packets
from haarlequin.sim.usb.packets import Pid
from haarlequin.sim.usb.transactor import Mark, Order
from haarlequin.sw.verilated.simulation import Simulation


@dataclass(frozen=True)
class Speed:
    """A speed of the bus."""

    packet: int
    """Bytes of a bulk endpoint's packet, at most."""
    packets_per_frame: int
    """The packets of that size for which a frame has room (USB 2.0, tables 5-9 and 5-10)."""
    frames_per_millisecond: int
    """Frames, of which those of a millisecond have the same number."""
    number: int
    """The number that libusb has for it."""


FULL_SPEED, HIGH_SPEED = Speed(PACKET, 19, 1, 2), Speed(HIGH_SPEED_PACKET, 13, 8, 3)
CONTROL_PACKET = 64
"""Bytes of a packet of control transfers, at most, at either speed."""
ADDRESS = 5
"""The address that the device is given."""
TRIES = 3
"""How often a transaction without a right answer is tried, as hosts do (USB 2.0, section 10.2.6)."""
CONTROL_SECONDS = 0.5
"""How long a control transfer may take."""
STUCK_CYCLES = 4_000_000
"""Cycles of the bench in which a port always answers. A reset with both its chirps takes 1,900,000 of them at
300 MHz."""


class UsbHost:
    """Transfers on a bus with a device.

    Each of them raises OSError, with the number that an operating system gives: EPIPE where the device
    refuses, EIO where it does not answer, ETIMEDOUT where it was not ready in time.

    Arguments:
        simulation: of a bench with a `HostPort` between its streams, and a device.
        hertz: the bench's clock.
        answers_chirps: whether a device that asks for high speed gets it.

    The attribute ``packets`` counts the packets with data that were acknowledged, and ``speed`` is the one
    that the bus has had since its last reset.
    """

    def __init__(self, simulation: Simulation, hertz: int, answers_chirps: bool = True):
        self.simulation, self._hertz, self._answers_chirps = simulation, hertz, answers_chirps
        self.speed = FULL_SPEED
        self.packets = self._begun_at = 0
        self._address, self._frame, self._next_frame = 0, 0, 0
        self._toggles: dict[int, bool] = {}

    @property
    def cycle(self) -> int:
        """Cycles of the bench since it began."""
        return self.simulation.cycle

    def seconds(self) -> float:
        """The time since the bench began."""
        return self.cycle / self._hertz

    def restart(self) -> None:
        """Reset all but the device, as the button of a board does, and the port."""
        self.simulation.restart()

    # Transfers

    def enumerate(self) -> None:
        """Reset the bus, and give the device its address; raises OSError where there is none."""
        self.reset()
        self.control(0x80, 6, 0x0100, 0, 8)
        self.control(0x00, 5, ADDRESS, 0, b"")
        self._address = ADDRESS

    def reset(self) -> None:
        """Reset the bus; the device has no address then."""
        order = Order.CHIRP if self._answers_chirps else Order(0)
        self.speed = HIGH_SPEED if self._exchange([(order, b"")]) == b"\1" else FULL_SPEED
        self._address = 0
        self._toggles.clear()

    def configure(self, number: int) -> None:
        """Choose a configuration, after which both bulk endpoints begin with DATA0."""
        self.control(0x00, 9, number, 0, b"")
        self._toggles.clear()

    def control(self, kind: int, request: int, value: int, index: int, data: bytes | int) -> bytes:
        """A control transfer: bytes that go to the device, or the number of bytes wished from it."""
        wished = data if isinstance(data, int) else len(data)
        fields = kind, request, value & 0xFF, value >> 8, index & 0xFF, index >> 8, wished & 0xFF, wished >> 8
        end = self.seconds() + CONTROL_SECONDS
        self._out(Pid.SETUP, 0, Pid.DATA0, bytes(fields), end)
        toggle, came = True, b""
        if isinstance(data, int):
            while len(came) < wished:
                piece = self._in(0, toggle, end)
                came, toggle = came + piece, not toggle
                if len(piece) < CONTROL_PACKET:
                    break
            self._out(Pid.OUT, 0, Pid.DATA1, b"", end)
        else:
            for first in range(0, len(data), CONTROL_PACKET):
                piece = data[first : first + CONTROL_PACKET]
                self._out(Pid.OUT, 0, Pid.DATA1 if toggle else Pid.DATA0, piece, end)
                toggle = not toggle
            self._in(0, True, end)
        return came

    def bulk_write(self, endpoint: int, data: bytes, seconds: float) -> int:
        """Send bytes; returns how many went out, and raises TimeoutError where none did in ``seconds``."""
        end, sent = self.seconds() + seconds, 0
        while sent < len(data):
            toggle = self._toggles.get(endpoint, False)
            piece = data[sent : sent + self.speed.packet]
            try:
                self._out(Pid.OUT, endpoint, Pid.DATA1 if toggle else Pid.DATA0, piece, end)
            except TimeoutError:
                if sent:
                    break
                raise
            self._toggles[endpoint] = not toggle
            sent += len(piece)
        return sent

    def bulk_read(self, endpoint: int, length: int, seconds: float) -> bytes:
        """Bytes from the device, until a packet is not full or ``length`` is reached; raises TimeoutError
        where none come in ``seconds``.
        """
        end, came = self.seconds() + seconds, b""
        while len(came) < length:
            toggle = self._toggles.get(endpoint | 0x80, False)
            try:
                piece = self._in(endpoint, toggle, end)
            except TimeoutError:
                if came:
                    break
                raise
            self._toggles[endpoint | 0x80] = not toggle
            came += piece
            if len(piece) < self.speed.packet:
                break
        return came

    # Transactions

    def _out(self, pid: Pid, endpoint: int, data: Pid, body: bytes, end: float) -> None:
        """Send a packet of data until it is acknowledged.

        Where it is refused at high speed, the device is asked whether it has room before it is sent again.
        """

        token, packet = packets.token(pid, self._address, endpoint), packets.data(data, body)
        asks = [(Order.LISTEN, packets.token(Pid.PING, self._address, endpoint))]
        ends = {Pid.ACK, Pid.NAK} if self.speed is HIGH_SPEED else {Pid.ACK}
        while self._until([(Order(0), token), (Order.LISTEN, packet)], ends, end)[0] != Pid.ACK:
            self._until(asks, {Pid.ACK}, end)
        self.packets += 1

    def _in(self, endpoint: int, toggle: bool, end: float) -> bytes:
        """Take the packet of data that is next; one that came before is acknowledged and taken again."""
        wanted = Pid.DATA1 if toggle else Pid.DATA0
        order = [(Order.LISTEN | Order.ACKNOWLEDGE, packets.token(Pid.IN, self._address, endpoint))]
        _, answer = self._until(order, {wanted}, end)
        self.packets += 1
        return packets.payload(answer) or b""

    def _until(self, order: list[tuple[Order, bytes]], wanted: set[Pid], end: float) -> tuple[Pid, bytes]:
        """Send packets until the answer is of a kind that is ``wanted``; returns that, and the answer."""
        failures = 0
        while True:
            self._begin_frame()
            answer = self._exchange(order)
            kind = packets.kind(answer)
            if kind in (Pid.DATA0, Pid.DATA1) and packets.payload(answer) is None:
                answer, kind = b"", None
            if kind in wanted:
                return kind, answer
            if kind == Pid.STALL:
                raise BrokenPipeError(errno.EPIPE, "the device does not know that request")
            if kind is None:
                failures += 1
                if failures == TRIES:
                    raise OSError(errno.EIO, "the device does not answer")
            elif self.seconds() > end:
                raise TimeoutError(errno.ETIMEDOUT, "the device was not ready in time")

    def _begin_frame(self) -> None:
        """Send the token of a frame, once it is time, or as many packets were sent as fit into one."""
        if self.packets - self._begun_at >= self.speed.packets_per_frame:
            self.simulation.receive(max(0, self._next_frame - self.cycle))
        if self.cycle >= self._next_frame:
            self._begun_at = self.packets
            number = self._frame // self.speed.frames_per_millisecond
            self._exchange([(Order(0), packets.start_of_frame(number))])
            self._frame += 1
            self._next_frame = self.cycle + self._hertz // 1000 // self.speed.frames_per_millisecond

    def _exchange(self, order: list[tuple[Order, bytes]]) -> bytes:
        """Send packets, and return the one that comes back: none if it is damaged, or not listened for."""
        for what, packet in order:
            self.simulation.send(bytes([what]) + len(packet).to_bytes(2, "little") + packet)
        what, packet = order[-1]
        if packet and not what & Order.LISTEN:
            return b""
        came, taken = bytearray(), bytearray()
        while True:
            if not (more := self.simulation.receive(STUCK_CYCLES)):
                raise OSError(errno.ENODEV, "the simulated port has stopped")
            came += more
            while len(came) >= 2 and came[0] == Mark.BYTE:
                taken.append(came[1])
                del came[:2]
            if came and came[0] != Mark.BYTE:
                return bytes(taken) if came[0] == Mark.END else b""
