"""The data memory: four single-port block RAMs of an iCE40UP5K, or a memory like them."""

from amaranth.hdl import Array, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.scalar.isa import ADDRESS, WORD

BANK_BITS = 14
"""Address bits of an SB_SPRAM256KA."""


class SinglePortRam(wiring.Component):
    """``depth`` words of 16 bits behind one port: 64 Ki on an iCE40.

    Where ``write`` is high, ``data`` goes to word ``addr``; elsewhere ``answer`` is that word a cycle later.
    A cycle behind a write it is undefined. What is in the memory at first is undefined, and no reset changes
    it.
    """

    addr: In(ADDRESS)
    write: In(1)
    data: In(WORD)
    answer: Out(WORD)

    def __init__(self, depth: int):
        self.depth = depth
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        if getattr(platform, "device", None) == "iCE40UP5K" and self.depth == 1 << ADDRESS:
            self._banks(m)
        else:
            m.submodules.memory = memory = Memory(shape=WORD, depth=self.depth, init=[])
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.addr),
                self.answer.eq(read.data),
                write.addr.eq(self.addr),
                write.data.eq(self.data),
                write.en.eq(self.write),
            ]
        return m

    def _banks(self, m: Module) -> None:
        bank = self.addr[BANK_BITS:]
        answers = Array(Signal(WORD, name=f"answer_{number}") for number in range(1 << len(bank)))
        for number, answer in enumerate(answers):
            m.submodules[f"bank_{number}"] = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=self.addr[:BANK_BITS],
                i_DATAIN=self.data,
                i_MASKWREN=Const(0b1111),
                i_WREN=self.write,
                i_CHIPSELECT=bank == number,
                i_STANDBY=Const(0),
                i_SLEEP=Const(0),
                i_POWEROFF=Const(1),  # low is off
                o_DATAOUT=answer,
            )
        m.d.comb += self.answer.eq(answers[registered(m, bank)])
