import random
import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from haarlequin.hw.common.ram_sizes import parts, shallow, slices
from haarlequin.hw.common.sliced_memory import SlicedMemory, sized_memory
from haarlequin.hw.common.tables import table_memories, table_ports
from tests.hw.bench import simulate


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
    ("width", "depth", "is_shallow"), [(43, 64, True), (64, 48, True), (64, 80, False), (8, 128, True)]
)
def test_what_goes_into_lookup_tables(width, depth, is_shallow):
    assert shallow(width, depth) == is_shallow
    style = sized_memory(width, depth).attrs["ram_style"]
    assert style == ("distributed" if is_shallow else "block")


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
