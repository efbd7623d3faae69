"""A memory of the RAMs that suit its size, and one that is made of several."""

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.pipeline import spread, streamed
from haarlequin.hw.common.ram_sizes import SPARE, parts, shallow

COLUMNS = 4
"""Parts of a `SlicedMemory` that share a register of what goes to them."""

_Port = tuple[Value, Value, Value, Value]
"""``read.en``, ``read.addr``, ``write.en`` and ``write.addr``."""


class SlicedMemory(wiring.Component):
    """A memory that is made of several ones, as `parts` says.

    Parameters
    ----------
    shape : ShapeLike
        The shape of a word.
    depth : int
        The number of words.
    spare : float
        How many block RAMs it may take, as a multiple of the smallest number possible.
    ahead : bool
        Whether all that goes to the block RAMs comes out of registers first, one for each `COLUMNS` of them:
        the wires of an address to block RAMs all over the part are the longest of the machine. Reads and
        writes then take a cycle longer, and both are at ``read.addr``.

    Members
    -------
    read : Out(ReadPort.Signature)
        If ``read.en`` is high, the word at ``read.addr`` is in ``read.data`` one cycle later.
    write : Out(WritePort.Signature)
        If ``write.en`` is high, ``write.data`` goes to the word at ``write.addr``.
    """

    def __init__(self, shape: ShapeLike, depth: int, spare: float = SPARE, ahead: bool = False):
        self._parts, self._ahead = parts(Shape.cast(shape).width, depth, spare), ahead
        address = ceil_log2(depth)
        ports = {"read": ReadPort, "write": WritePort}
        signatures = {name: port.Signature(addr_width=address, shape=shape) for name, port in ports.items()}
        super().__init__({name: Out(signature) for name, signature in signatures.items()})

    def elaborate(self, platform):
        m = Module()
        rows = dict.fromkeys(words for words, _ in self._parts)
        found = {words: Signal(Value.cast(self.read.data).shape()) for words in rows}
        data, ports = Value.cast(self.write.data), [self._own()] * len(self._parts)
        if self._ahead:
            data, ports = streamed(m, data), self._copies(m)
        for number, ((words, part), (reads, address, writes, place)) in enumerate(
            zip(self._parts, ports, strict=True)
        ):
            memory = sized_memory(part.stop - part.start, len(words))
            m.submodules[f"slice_{number}"] = memory
            write, read = memory.write_port(), memory.read_port()
            # Rows are of block RAMs, so that the low bits of an address are those within its row.
            m.d.comb += [
                write.addr.eq(place),
                write.data.eq(data[part]),
                write.en.eq(writes & (place >= words.start) & (place < words.stop)),
                read.addr.eq(address),
                read.en.eq(reads),
                found[words][part].eq(read.data),
            ]
        *others, last = found
        word, (reads, address, *_) = found[last], ports[0]
        for words in others:
            here = Signal()
            with m.If(reads):
                m.d.sync += here.eq(address < words.stop)
            word = Mux(here, found[words], word)
        m.d.comb += Value.cast(self.read.data).eq(word)
        return m

    def _own(self) -> _Port:
        return self.read.en, self.read.addr, self.write.en, self.write.addr

    def _copies(self, m: Module) -> list[_Port]:
        """For each part, registers that are near its block RAMs."""
        both = spread(
            m,
            Cat(self.read.en, self.write.en, self.read.addr),
            len(self._parts),
            reset_less=True,
            size=COLUMNS,
        )
        return [(one[0], one[2:], one[1], one[2:]) for one in both]


def sized_memory(shape: ShapeLike, depth: int) -> Memory:
    """A memory with an attribute that tells synthesis to use distributed or block RAMs."""
    style = "distributed" if shallow(Shape.cast(shape).width, depth) else "block"
    return Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": style})
