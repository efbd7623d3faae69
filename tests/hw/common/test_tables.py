import random
import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from haarlequin.hw.common.tables import (
    BANK_SPARE,
    SlicedMemory,
    block_rams,
    parts,
    rams,
    shallow,
    sized_memory,
    slice_bits,
    slices,
    table_block_rams,
    table_memories,
    table_ports,
)
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import RamShape
from tests.hw.bench import simulate


class _Tables(wiring.Component):
    """Two tables that are read at one address."""

    def __init__(self):
        self.tables = {"pairs": (data.StructLayout({"a": signed(5), "b": 3}), 6), "single": (signed(9), 1)}
        super().__init__(table_ports(self.tables) | {"address": In(range(6))})

    def elaborate(self, platform):
        m = Module()
        self.reads = table_memories(m, self, self.tables)
        m.d.comb += [read.addr.eq(self.address) for read in self.reads]
        return m


def test_tables_are_filled_by_their_ports():
    block = _Tables()

    async def testbench(context):
        for address in range(6):
            context.set(block.pairs.addr, address)
            context.set(block.pairs.data, {"a": address - 8, "b": address})
            context.set(block.pairs.en, address != 3)
            context.set(block.single.data, -256)
            context.set(block.single.en, address == 0)
            await context.tick()
        context.set(block.pairs.en, 0)
        for address in range(6):
            context.set(block.address, address)
            await context.tick()
            pair = context.get(block.reads[0].data)
            assert (pair.a, pair.b) == ((0, 0) if address == 3 else (address - 8, address))
            if address == 0:
                assert context.get(block.reads[1].data) == -256

    simulate(block, testbench)


def test_the_host_reads_its_tables_back():
    """Wherever the component reads, and even where it holds what it has read."""
    block = _Tables()

    async def testbench(context):
        context.set(block.pairs.en, 1)
        for address in range(6):
            context.set(block.pairs.addr, address)
            context.set(block.pairs.data, {"a": address - 8, "b": address})
            await context.tick()
        context.set(block.pairs.en, 0)
        context.set(block.reads[0].en, 0)
        context.set(block.pairs.read, 1)
        for address in range(6):
            context.set(block.address, 5 - address)
            context.set(block.pairs.addr, address)
            await context.tick()
            assert (context.get(block.pairs.answer.a), context.get(block.pairs.answer.b)) == (
                address - 8,
                address,
            )

    simulate(block, testbench)


@pytest.mark.parametrize("busy", [False, True])
def test_a_table_that_is_read_while_the_host_writes_has_two_addresses(busy):
    """The others have one, which is the host's then."""

    class Table(wiring.Component):
        def __init__(self):
            self.tables = {"words": (8, 6)}
            super().__init__(table_ports(self.tables) | {"address": In(range(6))})

        def elaborate(self, platform):
            m = Module()
            (self.read,) = table_memories(m, self, self.tables, busy=("words",) if busy else ())
            m.d.comb += self.read.addr.eq(self.address)
            return m

    block = Table()

    async def testbench(context):
        context.set(block.words.en, 1)
        for address in range(5):
            context.set(block.words.addr, address)
            context.set(block.words.data, 10 + address)
            await context.tick()
        context.set(block.words.addr, 5)
        context.set(block.address, 2)
        await context.tick()
        assert (context.get(block.read.data) == 12) == busy

    simulate(block, testbench)


class _Deep(wiring.Component):
    """A table of several slices, whose fields lie across their borders."""

    layout = data.StructLayout({"a": signed(14), "b": 25, "c": signed(11)})

    def __init__(self, depth, ahead=False):
        self.depth = depth
        self.tables = {"deep": (self.layout, self.depth)}
        super().__init__(
            table_ports(self.tables, self.tables if ahead else ()) | {"address": In(range(self.depth))}
        )

    def elaborate(self, platform):
        m = Module()
        (self.read,) = table_memories(m, self, self.tables)
        m.d.comb += self.read.addr.eq(self.address)
        return m


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(("depth", "rows"), [(3000, 1), (2100, 2)])
def test_a_table_of_slices(depth, rows, ahead):
    """Of one row of block RAMs, or of a second one for the last 52 words."""
    block, generator = _Deep(depth, ahead), random.Random(1)
    made = parts(block.layout.size, depth)
    assert len({words for words, _ in made}) == rows
    assert len(made) > rows
    places = (0, 1, 51, 1023, 1024, 2047, 2048, depth - 1)
    words = {address: generator.getrandbits(block.layout.size) for address in places}

    async def testbench(context):
        context.set(block.deep.en, 1)
        for address, word in words.items():
            context.set(block.deep.addr, address)
            context.set(block.deep.data, block.layout.from_bits(word))
            await context.tick()
        context.set(block.deep.en, 0)
        for address, word in words.items():
            context.set(block.address, address)
            await context.tick()
            # It stays while nothing is read.
            context.set(block.read.en, 0)
            context.set(block.address, depth - 1 - address)
            if ahead:
                await context.tick()
            assert context.get(block.read.data).as_bits() == word
            for _ in range(3):
                await context.tick()
                assert context.get(block.read.data).as_bits() == word
            context.set(block.read.en, 1)

    simulate(block, testbench)


@pytest.mark.parametrize(
    ("width", "depth", "saved"),
    [(128, 12_800, 10), (128, 12_288, 0), (54, 2560, 1), (64, 3072, 0), (36, 2560, 0), (64, 4096, 0)],
)
def test_a_row_of_its_own_for_the_last_words(width, depth, saved):
    """Every bit of every word is in one part; the second row saves block RAMs, or there is none."""
    made, whole = parts(width, depth), slices(width, depth)
    assert sum(len(words) * (bits.stop - bits.start) for words, bits in made) == width * depth
    before = sum(block_rams(ECP5, bits.stop - bits.start, depth) for bits in whole)
    assert before - table_block_rams(ECP5, width, depth) == saved
    assert (len({words for words, _ in made}) > 1) == (saved > 0)


@pytest.mark.parametrize(
    ("width", "depth", "bits"),
    [(128, 12_800, 9), (54, 12_288, 9), (64, 3072, 18), (36, 2560, 36), (36, 2048, 9), (12, 8192, 9)],
)
def test_slices_are_as_deep_as_costs_few_block_rams(width, depth, bits):
    assert slice_bits(width, depth) == bits


def test_a_bank_is_rather_of_deep_ones():
    assert (slice_bits(96, 1536), slice_bits(96, 1536, BANK_SPARE)) == (36, 9)


@pytest.mark.parametrize(("width", "depth", "is_shallow"), [(43, 64, True), (64, 80, False), (8, 128, True)])
def test_what_goes_into_lookup_tables(width, depth, is_shallow):
    assert shallow(width, depth) == is_shallow
    style = sized_memory(width, depth).attrs["ram_style"]
    assert style == ("distributed" if is_shallow else "block")


def test_every_read_port_takes_block_rams_of_its_own():
    assert [block_rams(ECP5, 36, 2048), block_rams(ECP5, 36, 2048, reads=2)] == [4, 8]
    assert block_rams(ECP5, 8, 128, reads=2) == 0


@pytest.mark.parametrize(
    ("width", "written", "count"), [(10, 4, 3), (20, 10, 4), (9, None, 1), (10, None, 2), (8, 4, 2)]
)
def test_rams_of_words_that_are_written_in_parts(width, written, count):
    """Where 9 bits share an enable, each part takes RAMs of its own, the last one too if it is narrower."""
    assert rams(RamShape(2048, 9, enabled=9), width, 2048, written) == count
    assert rams(RamShape(2048, 9, enabled=9), width, 2049, written) == 2 * count


@pytest.mark.parametrize(
    ("width", "depth", "bits"),
    [
        (50, 3000, [18, 18, 14]),
        (36, 2048, 4 * [9]),
        (43, 64, [43]),  # shallow: block RAMs of that depth would have 36 bits
    ],
)
def test_the_slices_of_a_table_have_its_width_and_no_more(width, depth, bits):
    assert [part.stop - part.start for part in slices(width, depth)] == bits
    made = re.findall(rf"memory width (\d+) size {depth} ", rtlil.convert(SlicedMemory(width, depth)))
    assert sorted(made) == sorted(str(each) for each in bits)


def test_block_rams_of_a_table_are_those_of_its_slices():
    assert table_block_rams(ECP5, 54, 12_288) == 6 * 6  # of 2048 × 9
    assert table_block_rams(ECP5, 50, 3000) == 3 * 3  # of 1024 × 18
    assert table_block_rams(ECP5, 43, 64) == 0
