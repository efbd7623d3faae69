"""The whole accelerator: a machine together with its link."""

from amaranth.hdl import Cat, Module, ResetInserter, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.config import AnyConfig, ScalarConfig
from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.link import Link
from haarlequin.hw.link.ports import machine_ports
from haarlequin.hw.link.protocol import PIXELS_MEMORY
from haarlequin.hw.machine import Machine
from haarlequin.hw.scalar.machine import ScalarMachine

LAMPS = ("sealed", "busy", "error")
"""Outputs that a board may show on lamps."""


class Accelerator(wiring.Component):
    """A machine that is reached by a stream of bytes, with the protocol of docs/protocol.md.

    Parameters
    ----------
    config : AnyConfig
        The sizes of the machine. A `ScalarConfig` makes a `ScalarMachine`, any other a `Machine`.
    clock_hz : int
        The frequency that the answer to IDENTIFY reports.
    timeout : int
        After this many cycles without a byte within a frame, the link gives the frame up.
    reset : ValueLike, 1 bit
        Resets link and machine. It is for a clock domain without a reset of its own: the domain's reset and
        the link's would otherwise be combined in front of every register of the machine.

    Members
    -------
    rx : In(stream.Signature(8))
        Bytes from the host.
    tx : Out(stream.Signature(8))
        Bytes to the host.
    trace : Out
        What the machine writes into its memories, for verification, and two parts of the accelerator's own.
        ``link`` comes whenever bytes begin or cease to move: ``link_rx`` and ``link_tx`` are high while they
        do. ``answer`` comes with each word of a result that the link takes, ``answer_last`` with an image's
        last. The trace only listens. If it is not connected, nothing of it is left after synthesis.
    trace_valid : Out(1)
        High in each cycle in which any part of ``trace`` is valid.
    sealed : Out(1)
        The tables are loaded whole.
    busy : Out(1)
        An image is in the machine.
    error : Out(1)
        The latest answer of the link was an ERROR.
    """

    def __init__(self, config: AnyConfig, clock_hz: int, timeout: int, reset: ValueLike = 0):
        self._reset = Value.cast(reset)
        self._machine = ScalarMachine(config) if isinstance(config, ScalarConfig) else Machine(config)
        self.identity = Identity(config.digest, clock_hz, self._machine.memories)
        self._link = Link(self.identity, PIXELS_MEMORY, timeout, self._machine.answer_latency)
        self._traced = self._machine.signature.members["trace"].shape
        parts = {name: field.shape for name, field in self._traced}
        parts |= dict.fromkeys(("link_valid", "link_rx", "link_tx", "answer_valid", "answer_last"), 1)
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "trace": Out(data.StructLayout(parts)),
                "trace_valid": Out(1),
                **{lamp: Out(1) for lamp in LAMPS},
            }
        )

    def elaborate(self, platform):
        m = Module()
        link, machine = self._link, self._machine
        outer = registered(m, self._reset)  # it goes to all of the link
        m.submodules.link = ResetInserter(outer)(link)
        # The reset goes to every register of the machine, so it is registered first. It may be a cycle late:
        # by then the link takes nothing from the machine any more.
        m.submodules.machine = ResetInserter(registered(m, link.reset | outer))(machine)
        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, wiring.flipped(self.tx), link.tx)
        for name, port in machine_ports(self.identity.memories).items():
            if port.is_signature:
                wiring.connect(m, getattr(machine, name), getattr(link, name))
            elif port.flow is In:
                m.d.comb += getattr(machine, name).eq(getattr(link, name))
            else:
                m.d.comb += getattr(link, name).eq(getattr(machine, name))
        m.d.comb += [self.sealed.eq(link.sealed), self.busy.eq(~machine.idle), self.error.eq(link.error)]
        self._trace(m)
        return m

    def _trace(self, m: Module) -> None:
        trace, results = self.trace, self._machine.results
        moving = Cat(self.rx.valid & self.rx.ready, self.tx.valid & self.tx.ready)
        valid = [trace[name] for name, _ in trace.shape() if name.endswith("_valid")]
        m.d.comb += [
            *(trace[name].eq(self._machine.trace[name]) for name, _ in self._traced),
            trace.link_valid.eq(moving != registered(m, moving)),
            Cat(trace.link_rx, trace.link_tx).eq(moving),
            trace.answer_valid.eq(results.valid & results.ready),
            trace.answer_last.eq(results.p.last),
            self.trace_valid.eq(Cat(valid).any()),
        ]
