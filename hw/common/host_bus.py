"""The host's bus: a chain of stations, one for each table."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.tables import TableSignature


class HostBus(wiring.Component):
    """Takes a byte in each cycle to one of the tables, and brings back a byte of what was read.

    A request goes from station to station, a cycle each, and so does the byte that is read. Tables lie all
    over the part: registers for all of them, or buses as wide as their words, would have the longest wires of
    the machine.

    Parameters
    ----------
    tables : Mapping[int, TableSignature]
        The tables by their numbers, in the order of their stations.
    numbers : int
        All numbers are below it.

    Members
    -------
    select, address : In
        The number of a table, and the address of its word.
    byte : In(8)
        A byte of a word, the lowest first.
    take : In(1)
        Takes ``byte``.
    write : In(1)
        Writes the word whose bytes have been taken. The next one's first byte may come beside it.
    position : In
        The place of a byte in a word.
    read : In(1)
        Reads the word, of which the byte at ``position`` is wanted.
    before : In(8)
        What ``answer`` is where no table is read, four cycles after ``read``.
    answer : Out(8)
        The byte that was read, `latency` cycles after ``read``. Until then ``select``, ``address`` and
        ``position`` must not change.
    table_0, table_1, … : Out(TableSignature)
        The table with this number.
    busy : Out(1)
        A table other than the first one has not got yet what came in a cycle before.

    Nothing that comes is lost to a reset.
    """

    def __init__(self, tables: Mapping[int, TableSignature], numbers: int):
        self._tables = dict(tables)
        super().__init__(
            {
                "select": In(range(numbers)),
                "address": In(max(_address_bits(table) for table in tables.values())),
                "byte": In(8),
                "take": In(1),
                "write": In(1),
                "position": In(range(max(_bytes(table) for table in tables.values()))),
                "read": In(1),
                "before": In(8),
                "answer": Out(8),
                "busy": Out(1),
                **{f"table_{number}": Out(table) for number, table in tables.items()},
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from ``read`` to ``answer``."""
        return 4 + len(self._tables)

    def elaborate(self, platform):
        m = Module()
        first, *_ = self._tables
        request = self.select, self.address, self.byte, self.take, self.write, self.position, self.read
        answer = self.before
        for number in self._tables:
            table, (select, *_, take, write, _, read) = getattr(self, f"table_{number}"), request
            # The strobes of this table are registers of their own: their comparison is over a station before.
            takes, writes, reads = (streamed(m, bit & (select == number)) for bit in (take, write, read))
            request = tuple(streamed(m, value) for value in request)
            _, address, byte, _, _, position, _ = request
            word, own = Value.cast(table.data), Value.cast(table.answer).as_unsigned()
            staged = Signal(8 * _bytes(table.signature), reset_less=True)
            with m.If(takes):
                m.d.sync += staged.eq(Cat(staged[8:], byte))
            m.d.comb += [
                table.addr.eq(address),
                word.eq(staged),
                table.en.eq(writes),
                table.read.eq(reads if table.signature.ahead else streamed(m, reads)),
            ]
            # A word comes from block RAMs all over the part, of which the register is the first stop.
            whole = Signal.like(staged)
            m.d.comb += whole.eq(streamed(m, own))
            answer = streamed(m, Mux(streamed(m, reads, 3), whole.word_select(position, 8), answer))
        m.d.comb += self.answer.eq(answer)

        left = Signal(range(len(self._tables) + 1), reset_less=True)
        with m.If((self.write | self.read) & (self.select != first)):
            m.d.sync += left.eq(len(self._tables))
        with m.Elif(self.busy):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.busy.eq(left != 0)
        return m


def _bytes(table: TableSignature) -> int:
    return -(-Value.cast(Signal(table.shape)).shape().width // 8)


def _address_bits(table: TableSignature) -> int:
    return Signal(range(table.depth)).shape().width
