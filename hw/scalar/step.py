"""The instruction at hand, and what the cycle is for."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data

from haarlequin.hw.scalar.isa import IMMEDIATE, OP, Alu, Control, R, Source

COUNT_BITS = 6
"""Bits of the number of words of a DOT, and of the number of places of a shift."""

FIELDS = data.StructLayout({"op": OP - 2, "source": 2, "r": R, "immediate": signed(IMMEDIATE)})


class Step:
    """The states of a `ScalarCore`: an instruction is looked up, executed, and may then take further cycles.

    Attributes
    ----------
    word : data.View
        The instruction. It stays until the cycle after ``last``.
    of_alu, of_memory : Value
        Whether it has an operand, and whether this is a word of data.
    look_up, execute, load, dot, shift : Value
        What the cycle is for.
    left : Signal
        The words of a DOT, or places of a shift, that are left.
    last : Signal
        High in the last cycle of an instruction.
    running, done : Value
        An image is being computed; this is its last cycle.
    """

    def __init__(self, m: Module, instruction: Value, start: Value, waiting: Value):
        self.word = data.View(FIELDS, instruction)
        self.of_alu = self.word.source != Source.NONE
        self.of_memory = self.word.source == Source.MEM
        self.last = Signal()
        self.left = Signal(COUNT_BITS, reset_less=True)
        dots = self.control(Control.DOT, Control.DOTA) & (self.word.immediate[:COUNT_BITS] != 0)
        halts = self.control(Control.HALT)
        with m.FSM() as fsm:
            with m.State("REST"), m.If(start):
                m.next = "LOOK UP"
            with m.State("LOOK UP"):
                m.next = "EXECUTE"
            with m.State("EXECUTE"):
                with m.If(self.of_memory | self.control(Control.LDX)):
                    m.next = "LOAD"
                with m.Elif(self.control(Control.ASR, Control.ASRR)):
                    m.next = "SHIFT"
                with m.Elif(dots):
                    m.next = "DOT"
                with m.Elif(~waiting):
                    m.d.comb += self.last.eq(1)
                    m.next = "LOOK UP"
                    with m.If(halts):
                        m.next = "REST"
            with m.State("LOAD"):
                m.d.comb += self.last.eq(1)
                m.next = "LOOK UP"
            with m.State("DOT"), m.If(self.left == 1):
                m.d.comb += self.last.eq(1)
                m.next = "LOOK UP"
            with m.State("SHIFT"), m.If(self.left == 0):
                m.d.comb += self.last.eq(1)
                m.next = "LOOK UP"
        states = "LOOK UP", "EXECUTE", "LOAD", "DOT", "SHIFT"
        self.look_up, self.execute, self.load, self.dot, self.shift = map(fsm.ongoing, states)
        self.running, self.done = ~fsm.ongoing("REST"), self.execute & halts
        with m.If(self.execute):
            m.d.sync += self.left.eq(self.word.immediate)
        with m.Else():
            m.d.sync += self.left.eq(self.left - Mux(self.shift & (self.left >= 8), 8, 1))

    def alu(self, *ops: Alu) -> Value:
        """Whether the instruction is one of these ALU instructions."""
        return self.of_alu & self.word.op.matches(*ops)

    def control(self, *ops: Control) -> Value:
        """Whether the instruction is one of these control instructions."""
        return ~self.of_alu & self.word.op.matches(*ops)
