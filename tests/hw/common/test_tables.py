import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from haarlequin.hw.common.tables import table_memories, table_ports
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
