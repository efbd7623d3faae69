"""The words that bytes of a payload make, and where each of them belongs."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.lookup import lookup
from haarlequin.hw.link.identity import Memory
from haarlequin.hw.link.protocol import ADDRESS_BITS


class Words(wiring.Component):
    """Counts the bytes of a run of words, and finds where each word belongs.

    The bytes of a word come lowest first. A run is a series of words from any address of a memory on.

    Parameters
    ----------
    memories : Sequence[Memory]
        The memories, by number.

    Members
    -------
    begin : In(1)
        Begins a run at word ``first`` of ``memory``.
    memory : In(range(len(memories)))
        The number of the memory, valid with ``begin``.
    first : In(ADDRESS_BITS)
        The address of the first word, valid with ``begin``.
    take : In(1)
        The next byte of the run comes.
    skip : In(1)
        Passes over the next byte of the run without taking it.
    select : Out(range(len(memories)))
        The memory of the run.
    address : Out
        The address of the present word. It has only the bits that the deepest memory needs, so it may
        be wrong after a word outside of the memory.
    write : Out(1)
        High in the cycle after the last byte of a word was taken, if the word lies within the memory.
    position : Out
        The place of the next byte within its word.
    inside : Out(1)
        The present word lies within the memory.
    outside : Out(1)
        A word of the run lay outside of the memory. The signal rises after the last byte of that word at the
        latest, and stays high until the next run.
    """

    def __init__(self, memories: Sequence[Memory]):
        self.memories = memories
        self.word_bytes = max(memory.word_bytes for memory in memories)
        super().__init__(
            {
                "begin": In(1),
                "memory": In(range(len(memories))),
                "first": In(ADDRESS_BITS),
                "take": In(1),
                "skip": In(1),
                "select": Out(range(len(memories))),
                "address": Out(range(max(memory.depth for memory in memories) + 1)),
                "write": Out(1),
                "position": Out(range(self.word_bytes)),
                "inside": Out(1),
                "outside": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tables = (
            [memory.word_bytes - 1 for memory in self.memories],
            [memory.depth for memory in self.memories],
        )
        # Both wait in registers: whether a run is inside is asked at once.
        looked_up = [lookup(m, self.memory, values) for values in tables]
        last_byte, depth = (Signal.like(value) for value in looked_up)
        last, complete = Signal(), Signal()
        m.d.comb += [
            last.eq(self.position == last_byte),
            # After a word that was outside, all others are outside too. So the address may wrap around.
            self.inside.eq(~self.outside & (self.address < depth)),
            self.write.eq(complete & self.inside),
        ]
        m.d.sync += complete.eq(self.take & last)
        with m.If(self.take | self.skip):
            m.d.sync += self.position.eq(Mux(last, 0, self.position + 1))
        with m.If(complete | (self.skip & last)):
            m.d.sync += [self.address.eq(self.address + 1), self.outside.eq(self.outside | ~self.inside)]
        with m.If(self.begin):
            m.d.sync += [self.select.eq(self.memory), self.address.eq(self.first)]
            m.d.sync += [last_byte.eq(looked_up[0]), depth.eq(looked_up[1])]
            m.d.sync += [self.position.eq(0), self.outside.eq(self.first[len(self.address) :].any())]
        return m
