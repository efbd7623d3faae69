import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal, Value, signed
from amaranth.lib import data, wiring

from haarlequin.hw.common.host_bus import HostBus
from haarlequin.hw.common.tables import table_memories, table_ports
from tests.hw.bench import simulate

TABLES = {
    2: ("narrow", signed(4), 9),
    7: ("wide", data.StructLayout({"a": 20, "b": signed(13)}), 70),
    1: ("middle", 12, 3),
    4: ("bit", 1, 30),
}
"""Name, shape and words of tables, by number, in the order of their stations."""


AHEAD = ("middle",)
"""The table that takes a cycle longer."""


class System(wiring.Component):
    """A bus with its tables; it answers 5 for a table that is not there."""

    def __init__(self):
        ports = [table_ports({name: (shape, depth)}, AHEAD) for name, shape, depth in TABLES.values()]
        super().__init__({name: member for port in ports for name, member in port.items()})
        signatures = {number: getattr(self, name).signature.flip() for number, (name, *_) in TABLES.items()}
        self.bus, self.reset = HostBus(signatures, 8), Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.bus = ResetInserter(self.reset)(self.bus)
        for number, (name, shape, depth) in TABLES.items():
            (read,) = table_memories(m, self, {name: (shape, depth)})
            # The machine looks somewhere else all the time.
            m.d.sync += read.addr.eq(read.addr + 1)
            bus, table = getattr(self.bus, f"table_{number}"), getattr(self, name)
            for part in ("addr", "en", "read"):
                m.d.comb += getattr(table, part).eq(getattr(bus, part))
            m.d.comb += Value.cast(table.data).eq(Value.cast(bus.data))
            m.d.comb += Value.cast(bus.answer).eq(Value.cast(table.answer))
        m.d.comb += self.bus.before.eq(5)
        return m


@pytest.mark.parametrize("reset", [False, True])
def test_what_is_written_is_read(reset):
    """Words of all tables in any order, reset or not; then every byte of them, one behind the other."""
    system, generator = System(), random.Random(1)
    bus, words = system.bus, {}
    everything = [(number, at) for number, (_, _, depth) in TABLES.items() for at in range(depth)]
    generator.shuffle(everything)

    async def testbench(context):
        async def cycle(**ports):
            for name in ("take", "write", "read"):
                context.set(getattr(bus, name), 0)
            context.set(bus.byte, generator.getrandbits(8))
            for name, value in ports.items():
                context.set(getattr(bus, name), value)
            context.set(system.reset, reset and generator.getrandbits(1))
            await context.tick()

        last = {}
        for number, address in everything:
            bits = len(Value.cast(Signal(TABLES[number][1])))
            word = generator.getrandbits(bits)
            words[number, address] = word.to_bytes(-(-bits // 8), "little")
            for byte in words[number, address]:
                await cycle(**{"select": number, "take": 1, "byte": byte} | last)
                last = {}
            # It is written beside the next one's first byte, or before it.
            last = {"select": number, "address": address, "write": 1}
            if generator.getrandbits(1) or number != everything[len(words) % len(everything)][0]:
                await cycle(**last)
                last = {}
        await cycle(**last)
        generator.shuffle(everything)
        for number, address in [*everything, (3, 0)]:
            for position, byte in enumerate(words.get((number, address), b"\x05")):
                where = {"select": number, "address": address, "position": position}
                for now in range(bus.latency):
                    await cycle(**where, read=not now)
                assert context.get(bus.answer) == byte

    simulate(system, testbench)


@pytest.mark.parametrize("strobe", ["write", "read"])
@pytest.mark.parametrize("number", [2, 7, 4])
def test_it_is_busy_until_the_last_station_has_got_it(number, strobe):
    """But for the first station, which has it in the next cycle."""
    system = System()
    bus, first = system.bus, next(iter(TABLES))

    async def testbench(context):
        context.set(bus.select, number)
        context.set(getattr(bus, strobe), 1)
        await context.tick()
        context.set(getattr(bus, strobe), 0)
        for _ in TABLES:
            assert context.get(bus.busy) == (number != first)
            await context.tick()
        assert not context.get(bus.busy)

    simulate(system, testbench)
