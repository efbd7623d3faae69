"""Weights that come from outside: the tile of the next pass is fetched while the passes before it run."""

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.sliced_memory import sized_memory

TILES = 2
"""Tiles that the buffer holds: one that is being loaded into the lanes, and the one after it."""


class TileBuffer(wiring.Component):
    """Two tiles of weights, a word for each lane, between a store outside and the `Loader`.

    A tile is asked for as soon as the sequencer knows the pass that loads it, and the pass does not begin
    before it is there. A store may be as slow as it likes: passes wait for it, but nothing waits within one.

    Parameters
    ----------
    lanes : int
        The number of words of a tile.
    width : int
        K, the bits of a word.
    address : ShapeLike
        The shape of the address of a tile's first word in the store.

    Members
    -------
    wanted : In(1)
        The next pass is known, and loads the tile at ``base``.
    base : In(address)
        The address of the tile's first word.
    taken : In(1)
        High in the cycle before that pass begins, which needs ``ready``.
    ready : Out(1)
        The tile is here.
    stale : In(1)
        The words in the store may have changed: what was asked for and has not been taken is asked for again.
    request : Out(stream.Signature(address))
        The address of a tile's first word. The next one comes only when all words of this tile have come.
    words : In(stream.Signature(width))
        The words of the tile, lane 0's first. They are taken at once.
    lane : In(range(lanes))
        The lane whose word is read.
    word : Out(width)
        The word of ``lane`` a cycle later, of the first tile that has been taken and not loaded.
    loaded : In(1)
        High in the cycle in which ``lane`` is the last one: the next tile that was taken comes after it.
    """

    def __init__(self, lanes: int, width: int, address: ShapeLike):
        if not (isinstance(lanes, int) and lanes >= 1 and isinstance(width, int) and width >= 1):
            raise ValueError(f"a TileBuffer needs lanes and bits of a word, not {lanes!r} and {width!r}")
        self.lanes, self.width = lanes, width
        super().__init__(
            {
                "wanted": In(1),
                "base": In(address),
                "taken": In(1),
                "ready": Out(1),
                "stale": In(1),
                "request": Out(stream.Signature(address)),
                "words": In(stream.Signature(width)),
                "lane": In(range(lanes)),
                "word": Out(width),
                "loaded": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        room = 1 << ceil_log2(self.lanes)
        m.submodules.memory = memory = sized_memory(self.width, TILES * room)
        write, read = memory.write_port(), memory.read_port()
        asked, old, there = Signal(), Signal(), Signal()
        place, filling, loading, used = (
            Signal(range(self.lanes)),
            Signal(),
            Signal(),
            Signal(range(TILES + 1)),
        )
        came, sent = self.words.valid & self.words.ready, self.request.valid & self.request.ready
        last, dropped = came & (place == self.lanes - 1), Signal()
        m.d.comb += [
            self.request.valid.eq(self.wanted & ~asked & ~self.stale & (used != TILES)),
            self.request.p.eq(self.base),
            self.words.ready.eq(1),
            self.ready.eq(there & ~self.stale),
            write.en.eq(came),
            write.addr.eq(place + Mux(filling, room, 0)),
            write.data.eq(self.words.p),
            read.addr.eq(self.lane + Mux(loading, room, 0)),
            self.word.eq(read.data),
            # A tile that is no longer wanted still comes to its end.
            dropped.eq((last | there) & (old | self.stale)),
        ]
        m.d.sync += used.eq(used + sent - self.loaded - dropped)
        with m.If(came):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        with m.If(self.loaded):
            m.d.sync += loading.eq(~loading)
        with m.If(sent):
            m.d.sync += asked.eq(1)
        with m.If(last):
            m.d.sync += there.eq(1)
        with m.If(self.stale & asked):
            m.d.sync += old.eq(1)
        with m.If(self.taken):
            m.d.sync += [asked.eq(0), there.eq(0), filling.eq(~filling)]
        with m.If(dropped):
            m.d.sync += [asked.eq(0), there.eq(0), old.eq(0)]
        return m
