"""The banks: memories of wide values, a word of all lanes for each token and tile."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.common.pipeline import registered, spread, streamed
from haarlequin.hw.common.ram_sizes import BANK_SPARE
from haarlequin.hw.common.sliced_memory import SlicedMemory
from haarlequin.hw.config import AcceleratorConfig


def access(words: int) -> wiring.Signature:
    """Whether a bank of so many words is accessed, and where."""
    return wiring.Signature({"valid": Out(1), "address": Out(ceil_log2(words))})


class Banks(wiring.Component):
    """Each of the banks A, B and C is read and written once a cycle. All addresses are modulo their bank.

    A look-up of a pass has its word four cycles later, and a word of zeros where it was not ``valid``:

    | look-up      | its word          | where                                                       |
    |--------------|-------------------|-------------------------------------------------------------|
    | ``partial``  | ``partial_word``  | partial sums: bank C, or bank A where there is no third one |
    | ``mean``     | ``mean_word``     | bank A                                                      |
    | ``shortcut`` | ``shortcut_word`` | bank A with ``from_a``, bank B with ``from_b``              |
    | ``residual`` | ``residual_word`` | bank B                                                      |

    Two units read beside the passes: two cycles later ``attention`` has ``scores`` of bank A, and ``haar``
    has ``x`` of bank B.

    ``stored`` goes where ``write_a``, ``write_b`` and ``write_c`` said a cycle before. The Haar unit's
    ``split`` comes with its word ``band``, and ``splits`` a cycle before it. The embedding's ``x_word`` goes
    to ``x_address`` in a cycle with ``x_valid`` and ``x_ready``.

    Bank B has a region for each of two images. ``region`` is that of the passes, and ``x_address`` includes
    its own.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config = config
        wide = data.ArrayLayout(signed(config.widths.wide), config.lanes)
        a, b, sums = config.bank_a, config.bank_b, config.partial_sums
        either = {"from_a": Out(1), "from_b": Out(1), "address": Out(ceil_log2(max(a, b)))}
        super().__init__(
            {
                "region": In(1),
                "partial": In(access(sums)),
                "mean": In(access(a)),
                "shortcut": In(wiring.Signature(either)),
                "residual": In(access(b)),
                **{f"{name}_word": Out(wide) for name in ("partial", "mean", "shortcut", "residual")},
                "attention": In(access(a)),
                "scores": Out(config.lanes * config.widths.wide),
                "haar": In(access(b)),
                "x": Out(wide),
                "write_a": In(access(a)),
                "write_b": In(access(b)),
                "write_c": In(access(sums)),
                "stored": In(wide),
                "splits": In(1),
                "split": In(access(a)),
                "band": In(wide),
                "x_valid": In(1),
                "x_ready": Out(1),
                "x_address": In(ceil_log2(b)),
                "x_word": In(wide),
            }
        )
        self._a, self._b = (SlicedMemory(wide, depth, BANK_SPARE) for depth in (a, b))
        self._c = SlicedMemory(wide, config.bank_c, BANK_SPARE) if config.bank_c else None

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank_a, m.submodules.bank_b = self._a, self._b
        if self._c:
            m.submodules.bank_c = self._c
        self._read(m)
        self._write(m)
        return m

    def _in_region(self, address: Value) -> Value:
        return Cat(address[: ceil_log2(self.config.bank_b) - 1], self.region)

    def _read(self, m: Module) -> None:
        a, b = self._a.read, self._b.read
        sums = self._c.read if self._c else a
        address = Mux(self.shortcut.from_a, self.shortcut.address, self.mean.address)
        if self._c:
            m.d.comb += sums.addr.eq(registered(m, self.partial.address))
        else:
            address = Mux(self.partial.valid, self.partial.address, address)
        address_a = registered(m, address[: len(a.addr)])
        address = Mux(self.shortcut.from_b, self.shortcut.address, self.residual.address)
        address_b = registered(m, self._in_region(address))
        m.d.comb += [
            a.addr.eq(Mux(self.attention.valid, self.attention.address, address_a)),
            b.addr.eq(Mux(self.haar.valid, self._in_region(self.haar.address), address_b)),
        ]
        # All that reads a bank takes its word out of one register, the block RAMs' own on an ECP5.
        lanes = range(self.config.lanes)
        later = {id(read): streamed(m, read.data) for read in (a, b, sums)}
        m.d.comb += [self.scores.eq(Value.cast(later[id(a)])), self.x.eq(later[id(b)])]
        words = {read: [word[lane] for lane in lanes] for read, word in later.items()}
        from_b = spread(m, registered(m, self.shortcut.from_b, 2), self.config.lanes)
        either = [
            Mux(here, words[id(b)][lane], words[id(a)][lane])
            for lane, here in zip(lanes, from_b, strict=True)
        ]
        operands = {
            "partial": (self.partial.valid, words[id(sums)]),
            "mean": (self.mean.valid, words[id(a)]),
            "shortcut": (self.shortcut.from_a | self.shortcut.from_b, either),
            "residual": (self.residual.valid, words[id(b)]),
        }
        for name, (valid, word) in operands.items():
            register = Signal(self.stored.shape(), reset_less=True)
            for lane, here in enumerate(spread(m, registered(m, valid, 2), self.config.lanes)):
                m.d.sync += register[lane].eq(Mux(here, word[lane], 0))
            m.d.comb += getattr(self, f"{name}_word").eq(register)

    def _write(self, m: Module) -> None:
        a, b, lanes = self._a.write, self._b.write, self.config.lanes
        in_a, of_a = self.write_a.valid, self.write_a.address
        if self._c:
            c = self._c.write
            m.d.sync += [c.en.eq(self.write_c.valid), c.addr.eq(self.write_c.address)]
            m.d.comb += c.data.eq(self.stored)
        else:
            in_a, of_a = in_a | self.write_c.valid, Mux(self.write_c.valid, self.write_c.address, of_a)
        writes_a, address_a = registered(m, in_a), registered(m, of_a)
        writes_b, address_b = registered(m, self.write_b.valid), registered(m, self.write_b.address)
        from_haar, from_lanes = spread(m, self.splits, lanes), spread(m, self.write_b.valid, lanes)
        m.d.comb += [
            a.en.eq(writes_a | self.split.valid),
            a.addr.eq(Mux(self.split.valid, self.split.address, address_a)),
            self.x_ready.eq(~writes_b),
            b.en.eq(writes_b | self.x_valid),
            b.addr.eq(Mux(writes_b, self._in_region(address_b), self.x_address)),
        ]
        for lane in range(lanes):
            m.d.comb += [
                a.data[lane].eq(Mux(from_haar[lane], self.band[lane], self.stored[lane])),
                b.data[lane].eq(Mux(from_lanes[lane], self.stored[lane], self.x_word[lane])),
            ]
