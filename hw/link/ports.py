"""The ports between the link and a machine, and the words in which an image's result goes through them."""

from collections.abc import Sequence

from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from haarlequin.hw.link.identity import Memory
from haarlequin.hw.link.protocol import ADDRESS_BITS, LENGTH_BITS, RESULT_BYTES

RESULT = data.StructLayout({"word": 8 * RESULT_BYTES, "answer": 1, "last": 1})
"""A word of an image's result: its answers, then its cycles, then its saturations."""


def machine_ports(memories: Sequence[Memory]) -> dict[str, Member]:
    """The ports between `Link` and a machine with these memories, from the machine's side."""
    return {
        "select": In(range(len(memories))),
        "address": In(ADDRESS_BITS),
        "byte": In(8),
        "take": In(1),
        "write": In(1),
        "position": In(range(max(memory.word_bytes for memory in memories))),
        "read": In(1),
        "answer": Out(8),
        "idle": Out(1),
        "room": Out(1),
        "image_bytes": Out(LENGTH_BITS),
        "commit": In(1),
        "again": In(1),
        "results": Out(stream.Signature(RESULT)),
        "result_words": Out(16),
    }
