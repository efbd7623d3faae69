"""The whole accelerator: a machine and its link."""

from amaranth.hdl import Module, ResetInserter, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.common.pipeline import registered
from haarlequin.hw.config import AnyConfig, ScalarConfig
from haarlequin.hw.link.link import Link, machine_ports
from haarlequin.hw.link.protocol import PIXELS_MEMORY, Identity
from haarlequin.hw.machine import ANSWER_LATENCY, Machine
from haarlequin.hw.scalar.machine import ScalarMachine

LAMPS = ("sealed", "busy", "error")


class Accelerator(wiring.Component):
    """Bytes of docs/protocol.md on ``rx`` and ``tx``.

    ``trace`` is the `Machine`'s, with anything in it where ``trace_valid`` is high; unconnected, it costs
    nothing. ``clock_hz`` is what IDENTIFY tells; ``timeout``, in cycles, ends a frame that was cut. For
    lamps: ``sealed``, the tables are whole; ``busy``, an image is in the machine; ``error``, the latest
    answer was an ERROR.

    ``reset`` is for a clock domain that has none: a domain's own would meet the link's in front of every
    register of the machine.
    """

    def __init__(self, config: AnyConfig, clock_hz: int, timeout: int, reset: ValueLike = 0):
        self._reset = Value.cast(reset)
        self._machine = (ScalarMachine if isinstance(config, ScalarConfig) else Machine)(config)
        self.identity = Identity(config.digest, clock_hz, self._machine.memories)
        self._link = Link(self.identity, PIXELS_MEMORY, timeout)
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
        assert ANSWER_LATENCY == link.READ_LATENCY
        m.submodules.link = ResetInserter(self._reset)(link)
        # A cycle late, by when the link takes nothing from it any more: it reaches all of the machine.
        m.submodules.machine = ResetInserter(registered(m, link.reset | self._reset))(machine)
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
