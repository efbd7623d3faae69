"""The two sign memories: words of K signs, written a chunk of L at a time."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.codes import SignMemory
from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.sliced_memory import sized_memory
from haarlequin.hw.config import AcceleratorConfig


def _write(config: AcceleratorConfig) -> wiring.Signature:
    """A chunk of signs, a bit for each lane, for a word."""
    address, chunk = ceil_log2(config.signs), ceil_log2(config.chunks)
    return wiring.Signature(
        {"valid": Out(1), "address": Out(address), "chunk": Out(chunk), "bits": Out(config.lanes)}
    )


def sign_parts(config: AcceleratorConfig, which: SignMemory) -> list[range]:
    """The chunks of each memory that makes a sign memory: one for each chunk that may be part of a window,
    and one for those before them.
    """
    first = 0 if which == SignMemory.SIGNS_0 else config.chunks // 2
    alone = range(first, config.chunks) if which < config.windows else range(0)
    rest = range(first if alone else config.chunks)
    return [*([rest] if rest else []), *(range(chunk, chunk + 1) for chunk in alone)]


class SignMemories(wiring.Component):
    """Each memory is read and written once a cycle. All addresses are modulo the memory.

    The words of the addresses ``read_0`` and ``read_1`` are in ``word_0`` and ``word_1`` four cycles later.
    The loader may ask memory 1 for a ``key`` instead: in the cycle with ``keys`` its port has the
    ``key_address``, and the word comes two cycles later.

    What ``write_0`` and ``write_1`` bring is written a cycle later; ``written_0`` and ``written_1`` are its
    bits in that cycle. With a ``window``, memory 0 has them in three words: as the left neighbour of the next
    token, in ``chunk`` of the word ``following``; as the token's own, ``window`` chunks further; and as the
    right neighbour of the token before, as many chunks further in the word ``preceding``. With ``both`` so
    has memory 1, in the upper half of its words, if the machine has windows in it. ``begins`` and ``ends``
    come with the first and the last token of a grid, which have one neighbour less. A chunk that may be part
    of a window has a memory of its own.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        address, chunk = ceil_log2(config.signs), ceil_log2(config.chunks)
        members = {
            "keys": In(1),
            "key_address": In(address),
            "key": Out(config.width),
            "window": In(chunk),
            "both": In(1),
            "following": In(address),
            "preceding": In(address),
            "begins": In(1),
            "ends": In(1),
        }
        for which in SignMemory:
            members |= {
                f"read_{which.value}": In(address),
                f"word_{which.value}": Out(config.width),
                f"write_{which.value}": In(_write(config)),
                f"written_{which.value}": Out(config.lanes),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for which in SignMemory:
            self._memory(m, which)
        return m

    def _memory(self, m: Module, which: SignMemory) -> None:
        config = self.config
        write, word, written = (
            getattr(self, f"{name}_{which.value}") for name in ("write", "word", "written")
        )
        address = Signal.like(self.key_address)
        m.d.comb += address.eq(streamed(m, getattr(self, f"read_{which.value}")))
        m.d.comb += written.eq(streamed(m, write.bits))
        parts = []
        for number, chunks in enumerate(sign_parts(config, which)):
            memory = sized_memory(config.lanes * len(chunks), config.signs)
            m.submodules[f"signs_{which.value}_{number}"] = memory
            port, read = memory.write_port(granularity=config.lanes), memory.read_port()
            m.d.comb += [read.addr.eq(address), port.data.eq(written.replicate(len(port.en)))]
            parts.append(read.data)
            if len(chunks) > 1 or which >= config.windows:
                place = (Mux(write.valid, 1 << write.chunk, 0) >> chunks.start)[: len(chunks)]
                m.d.sync += [port.addr.eq(write.address), port.en.eq(place)]
                continue
            window = self.window if which == SignMemory.SIGNS_0 else Mux(self.both, self.window, 0)
            left, right = (
                (window != 0) & ~outer & (write.chunk + offset == chunks.start)
                for outer, offset in ((self.ends, 0), (self.begins, window << 1))
            )
            own = write.chunk + window == chunks.start
            m.d.sync += port.addr.eq(Mux(left, self.following, Mux(right, self.preceding, write.address)))
            m.d.sync += port.en.eq(write.valid & (left | right | own))
        later = streamed(m, Cat(parts))
        if which == SignMemory.SIGNS_1:
            m.d.comb += self.key.eq(later)
            with m.If(self.keys):
                m.d.comb += address.eq(self.key_address)
        m.d.comb += word.eq(streamed(m, later))
