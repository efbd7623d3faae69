"""A benchmark without the cable: one image is computed again and again."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ports import RESULT
from haarlequin.hw.link.protocol import COUNT_BITS


class Repeat(wiring.Component):
    """Has the machine compute its last image so many times, and counts the cycles until the last result.

    Members
    -------
    begin : In(1)
        Begins; the machine is idle, and owes no result.
    count : In(COUNT_BITS)
        How many times, at least 1; read with ``begin``.
    room : In(1)
        The machine takes another image.
    came : In(1)
        A word of a result comes in this cycle, and is taken.
    result : In(RESULT)
        That word.
    commit : Out(1)
        The machine takes the image once more.
    again : Out(1)
        High from the cycle after ``begin`` on, until the last result has come.
    done : Out(1)
        The last word of the last result comes.
    elapsed : Out(32)
        The cycles in which ``again`` was high, modulo 2³².
    total : Out(32)
        The sum of the words that are answers, modulo 2³².
    """

    begin: In(1)
    count: In(COUNT_BITS)
    room: In(1)
    came: In(1)
    result: In(RESULT)
    commit: Out(1)
    again: Out(1)
    done: Out(1)
    elapsed: Out(32)
    total: Out(32)

    def elaborate(self, platform):
        m = Module()
        left, missing = (Signal(COUNT_BITS) for _ in range(2))  # images to be computed, results to come
        m.d.comb += [
            self.commit.eq(self.again & self.room & (left != 0)),
            self.done.eq(self.again & self.came & self.result.last & (missing == 1)),
        ]
        with m.If(self.begin):
            m.d.sync += [left.eq(self.count), missing.eq(self.count), self.again.eq(1)]
            m.d.sync += [self.elapsed.eq(0), self.total.eq(0)]
        with m.Elif(self.again):
            m.d.sync += [left.eq(left - self.commit), self.elapsed.eq(self.elapsed + 1)]
            m.d.sync += self.again.eq(~self.done)
            with m.If(self.came):
                m.d.sync += self.total.eq(self.total + Mux(self.result.answer, self.result.word, 0))
                m.d.sync += missing.eq(missing - self.result.last)
        return m
