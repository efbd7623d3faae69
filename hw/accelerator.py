"""The whole accelerator: a machine together with its link."""

from amaranth.hdl import Module, ResetInserter, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.config import AnyConfig, ScalarConfig
from haarlequin.hw.link.link import Link, machine_ports
from haarlequin.hw.link.protocol import PIXELS_MEMORY, Identity
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
        What the machine writes into its memories, for verification. It costs nothing if it is not connected.
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
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "trace": self._machine.signature.members["trace"],
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
        valid = [self.trace[name] for name, _ in self.trace.shape() if name.endswith("_valid")]
        m.d.comb += [self.trace.eq(machine.trace), self.trace_valid.eq(sum(valid, Value.cast(0)) != 0)]
        return m
