"""The next pass of the program, whose updates are read while the present one runs."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data

from haarlequin.hw.common.tables import TableRead
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.program import group_slices, pass_layout


def read_passes(
    m: Module, config: AcceleratorConfig, program: TableRead, touched: Value, load: Signal
) -> tuple[data.View, Signal]:
    """The next pass, and whether all of its updates are read. ``load`` starts the one after it.

    After the program's last pass its first one comes, and after the program was ``touched`` by the host, too.
    """
    following, filling = Signal(pass_layout(config)), Signal(init=1)
    address, here, used = Signal.like(program.addr), Signal(), Signal()
    again = Signal()
    m.d.comb += [
        again.eq(touched | (~filling & following.end)),
        used.eq(filling & here),
        program.addr.eq(address),
    ]
    # An update leaves its block RAM late, and goes to all fields: it waits in two registers in between,
    # with its group decoded in the second one. All of them go on where the second is empty or used.
    fetched, there, moves = Signal(), Signal(), Signal()
    parts = group_slices(config)
    word, update = (Signal(program.data.shape(), reset_less=True) for _ in range(2))
    groups = Signal(len(parts), reset_less=True)
    m.d.comb += [moves.eq(~here | used), program.en.eq(moves)]
    with m.If(moves):
        m.d.sync += [address.eq(address + 1), fetched.eq(1), there.eq(fetched), here.eq(there)]
        m.d.sync += [word.eq(program.data), update.eq(word)]
        m.d.sync += [groups[number].eq(word.group == number) for number in range(len(parts))]
    with m.If(again):
        m.d.sync += [address.eq(0), fetched.eq(0), there.eq(0), here.eq(0)]
    with m.If(touched | load):
        m.d.sync += filling.eq(1)
    with m.Elif(used & update.last):
        m.d.sync += filling.eq(0)
    for number, part in enumerate(parts):
        with m.If(used & groups[number]):
            m.d.sync += following.as_value()[part].eq(update.fields)
    return following, ~filling
