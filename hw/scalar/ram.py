"""The data memory: four single-port RAMs of an iCE40UP5K, or a memory that behaves like them."""

from amaranth.hdl import Array, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.scalar.isa import ADDRESS, WORD

BANK_BITS = 14
"""Address bits of one single-port RAM, SB_SPRAM256KA."""


class SinglePortRam(wiring.Component):
    """A memory of 16-bit words with one port, which in each cycle either writes or reads.

    At first its content is undefined. A reset does not change it.

    Parameters
    ----------
    depth : int
        The number of words. On an iCE40UP5K, 64 Ki words are made of its single-port RAMs.

    Members
    -------
    addr : In(ADDRESS)
        The word to write or to read.
    write : In(1)
        Writes ``data`` to word ``addr``.
    data : In(WORD)
        The word to be written, valid with ``write``.
    answer : Out(WORD)
        The word at ``addr``, one cycle later. It is undefined in the cycle after a write.
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
