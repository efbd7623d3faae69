"""The sequencer: pass after pass of the program, token after token of a pass."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.common.tables import table_memories, table_ports
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.program import CONTEXTS, group_slices, pass_layout, token_bits, update_layout


def token_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What travels down the pipeline with a token."""
    return data.StructLayout(
        {
            "enable": 1,  # its first cycle
            "phase": 1,  # the second one of a token that takes two
            "live": 1,  # results count in this cycle
            "first": 1,  # token 0 of the grid, or the one behind its last
            "begins": 1,  # the pass's first live one
            "ends": 1,  # and its last
            "number": token_bits(config),
            "context": range(CONTEXTS),
        }
    )


class Sequencer(wiring.Component):
    """Runs the program once for every image.

    ``start`` says that an image waits; ``begin`` is high in the cycle that takes it, the one before its
    program's first, and ``done`` in its program's last. Where the next image waits by then both come at once:
    images follow each other without a gap. The program ends with the pass that has ``end``; its first pass
    updates every group, so that it does not matter what ran before it.

    ``current`` is the pass at hand, ``index`` its number and ``fresh`` high in its first cycle. It takes its
    ``cycles``, at least one more than the next one has updates, which are read meanwhile. A pass with
    ``wait_head`` begins behind a cycle with ``head_free`` high, and ``holds_head`` is high in that cycle; the
    first of a program does not wait, whatever it has. ``operation`` says what the present cycle is spent on:
    the pass's own in as many cycles as it has, WAITING in all others.

    ``token`` is what the pass issues: token m in cycle m, or, with ``double``, in 2·m and 2·m + 1; ``tokens``
    is the grid's N. It means something where ``enable`` or ``live`` is high. Passes number their contexts in
    turn.

    The host loads the program while none runs.
    """

    def __init__(self, config: AcceleratorConfig):
        self._config = config
        self._layout = pass_layout(config)
        self._token = token_layout(config)
        self._tables = {"program": (update_layout(config), config.program)}
        super().__init__(
            table_ports(self._tables)
            | {
                "tokens": In(range(config.max_tokens + 1)),
                "start": In(1),
                "head_free": In(1),
                "begin": Out(1),
                "done": Out(1),
                "holds_head": Out(1),
                "current": Out(self._layout),
                "index": Out(ceil_log2(config.program)),
                "fresh": Out(1),
                "token": Out(self._token),
                "operation": Out(OperationCode),
            }
        )

    def elaborate(self, platform):
        m = Module()
        current, token = self.current, self.token
        running, ready, final, load = (Signal() for _ in range(4))
        left = Signal(signed(len(current.cycles) + 1))  # to −1: a sign is at hand sooner than a comparison
        following, complete = self._following(m, load)
        m.d.comb += [
            ready.eq(~running | (left < 0)),
            final.eq(~running | current.end),
            # Passes behind another one are complete by then: the compiler has seen to that.
            self.begin.eq(ready & final & self.start & complete),
            load.eq(self.begin | (ready & ~final & (self.head_free | ~following.wait_head))),
            self.holds_head.eq(load & ~final & following.wait_head),
            self.done.eq(running & ready & current.end),
            self.operation.eq(
                Mux(running & (load | ~ready | current.end), current.operation, OperationCode.WAITING)
            ),
        ]
        m.d.sync += self.fresh.eq(load)
        with m.If(load):
            m.d.sync += [
                running.eq(1),
                current.eq(following),
                self.index.eq(Mux(self.begin, 0, self.index + 1)),
                left.eq(following.cycles - 2),
            ]
        with m.Elif(self.done):
            m.d.sync += running.eq(0)
        with m.Elif(~ready):
            m.d.sync += left.eq(left - 1)

        active, live, number = Signal(), Signal(), token.number
        m.d.comb += [
            live.eq(active & (number >= current.skip) & (number < current.stop)),
            token.enable.eq(active & ~token.phase),
            token.live.eq(live & (~token.phase | current.haar)),
            token.first.eq((number == 0) | (number == self.tokens)),
            token.begins.eq(number == current.skip),
            token.ends.eq(number == current.stop - 1),
        ]
        with m.If(load):
            m.d.sync += [active.eq(following.tokens != 0), number.eq(0), token.phase.eq(0)]
            m.d.sync += token.context.eq(token.context + 1)
        with m.Elif(active):
            ends = ~current.double | token.phase
            m.d.sync += [token.phase.eq(~ends), number.eq(number + ends)]
            m.d.sync += active.eq(~ends | (number + 1 < current.tokens))
        return m

    def _following(self, m: Module, load: Signal) -> tuple[data.View, Signal]:
        """The next pass, and whether it is complete; with ``load`` the one behind it is begun."""
        (program,) = table_memories(m, self, self._tables)
        following, filling = Signal(self._layout), Signal(init=1)
        address, valid, used = Signal.like(program.addr), Signal(), Signal()
        # Whatever the host does to the program, its first pass is read anew.
        touched = self.program.en | self.program.read
        m.d.comb += [
            used.eq(filling & valid),
            # Once a program's last pass is complete its first one is next.
            program.addr.eq(Mux(~filling & following.end, 0, address + used)),
        ]
        m.d.sync += [valid.eq(~touched), address.eq(Mux(touched, 0, program.addr))]
        with m.If(touched | load):
            m.d.sync += filling.eq(1)
        with m.Elif(used & program.data.last):
            m.d.sync += filling.eq(0)
        for number, part in enumerate(group_slices(self._config)):
            with m.If(used & (program.data.group == number)):
                m.d.sync += following.as_value()[part].eq(program.data.fields)
        return following, ~filling
