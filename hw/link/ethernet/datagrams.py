"""The layout of datagrams, for the host and the gateware alike: docs/protocol.md, Lines.

Bytes of the link travel in datagrams of `MOST` bytes at most, each after a header:

    to the board      session, number
    from the board    session, next, number

All of these have 16 bits, highest byte first, and numbers are modulo 2¹⁶. A session begins with the number 0;
``next`` is that of the first datagram to the board whose bytes it has not passed on yet. It takes those from
there on, `SLOTS` of them, in any order. A datagram from the board without bytes says ``next`` alone, and has
the number of the one with bytes that will follow.
"""

import struct
from collections.abc import Iterator

MOST = 1024
"""Bytes of the link in a datagram, at most."""

FIRST = 256
"""Bytes of the first datagram of several, at most. The board passes a datagram on once it is whole, so that
short ones begin sooner; each of the next ones may be twice as long as the one before it, since a gigabit is
more than twice as fast as the link."""

SLOTS = 8
"""Datagrams that the board keeps until their bytes are passed on."""

TO_BOARD = struct.Struct(">HH")
"""The header of a datagram to the board: its session and its number."""

FROM_BOARD = struct.Struct(">HHH")
"""The header of one from the board: the session, the next number that it wants, and its own number."""

NUMBERS = 1 << 16
"""There are so many numbers."""


def pieces(data: bytes) -> Iterator[bytes]:
    """``data``, a frame of the link, in the pieces that go into datagrams; at least one byte in each."""
    size, at = FIRST, 0
    while at < len(data):
        yield data[at : at + size]
        size, at = min(2 * size, MOST), at + size
