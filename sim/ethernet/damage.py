"""A network that damages frames, one fault after another, on purpose: see `sim.damage`."""

import random
from collections.abc import Callable

from haarlequin.sim.damage import RESET, Noise, flip
from haarlequin.sim.ethernet import packets
from haarlequin.sim.ethernet.board import CYCLES
from haarlequin.sim.ethernet.host import Cable
from haarlequin.sw.verilated.simulation import Simulation

HEAD = 14 + 20 + 8
"""Bytes before those of a datagram."""

Damage = Callable[[bytes, int, random.Random], list[bytes]]
"""A function that makes of a frame, without its check sequence, the bytes that are on the line; it is given
a place in the frame."""


def lose(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Lose a frame."""
    return []


def double(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Send a frame twice."""
    return [packets.line(frame)] * 2


def flip_bits(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Flip a burst of bits on the line: the check sequence is wrong then."""
    raw = packets.line(frame)
    return [flip(raw, dice.randrange(len(packets.PREAMBLE), len(raw)), dice)]


def forge(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Flip a burst of bits before the check sequence is made, as a switch with a bad memory does."""
    return [packets.line(flip(frame, at, dice))]


def cut(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Lose the end of a frame, with its check sequence or with a right one for what is left."""
    raw = packets.line(frame)
    return [dice.choice((raw[: len(packets.PREAMBLE) + at], packets.line(frame[:at])))]


def lengthen(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Add bytes to a frame, before its check sequence or after it."""
    more = dice.randbytes(dice.choice((1, 4, 40, 1600)))
    return [dice.choice((packets.line(frame + more), packets.line(frame) + more))]


def strange(frame: bytes, at: int, dice: random.Random) -> list[bytes]:
    """Put a frame of somebody else's before this one: for another computer, port or protocol."""
    place = dice.choice((5, 13, 33, 37))  # of the addresses, the kind of frame, and the port
    other = frame[:place] + bytes([frame[place] ^ 1 << dice.randrange(8)]) + frame[place + 1 :]
    return [packets.line(other), packets.line(frame)]


SWAP = "swap"
"""A fault in which a frame comes after the next one."""

FRAME_FAULTS: dict[str, Damage] = {
    "lose": lose,
    "double": double,
    "flip": flip_bits,
    "forge": forge,
    "cut": cut,
    "lengthen": lengthen,
    "strange": strange,
    SWAP: double,  # by the network itself, which keeps it
}


class NoisyCable(Noise, Cable):
    """A cable on which frames are damaged, in either direction.

    The damage hits the frame that has the byte at the fault's distance, counted without headers.

    Arguments:
        simulation: the one of an `EthernetBoard`.
        seed: of the damage.
    """

    kinds = FRAME_FAULTS  # type: ignore[assignment]
    exact = False

    def __init__(self, simulation: Simulation, seed: int):
        Cable.__init__(self, simulation)
        Noise.__init__(self, seed)
        self._looked_at = 0
        self._kept: bytes | None = None

    def arm(self, kind: str, outward: bool, distance: int) -> None:
        """Let this fault happen once."""
        super().arm(kind, outward, distance)
        self._looked_at, self._kept = self.cycle, None

    def put(self, raw: bytes, damaged: bool = False) -> None:
        """Put the bytes of a line on it, or what becomes of them."""
        self._reset()
        for each in self._through(raw, outward=True):
            super().put(each, damaged)

    def take(self, seconds: float) -> bytes | None:
        """The next bytes on the line from the board, or what became of them."""
        self._reset()
        raw = super().take(seconds)
        if raw is None:
            return None
        first, *others = self._through(raw, outward=False) or [b""]
        self._frames.extendleft(reversed(others))
        return first

    def _through(self, raw: bytes, outward: bool) -> list[bytes]:
        """The bytes on the line, for a frame that was sent."""
        if self.happened or self._kind == RESET or outward != self._outward:
            return [raw]
        if self._kept is not None:
            kept, self._kept, self.happened = self._kept, None, True
            return [raw, kept]
        try:
            frame = packets.frame_of(raw)
        except packets.NoFrame:  # what a restart has left of one
            return [raw]
        size = max(1, len(frame) - HEAD)
        if self._distance >= size:
            self._distance -= size
            return [raw]
        if self._kind == SWAP:
            self._kept = raw
            return []
        self.happened = True
        return FRAME_FAULTS[self._kind](frame, self._dice.randrange(len(frame)), self._dice)

    def _reset(self) -> None:
        """Reset the accelerator, if that is the fault and it is time."""
        due = self.cycle - self._looked_at >= self._distance * CYCLES
        if self._kind == RESET and not self.happened and due:
            self.restart()
            self.happened = True
