"""The component that the tests of the bench simulate."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from tests.sw.verilated.loopback_bench import TRACE_WIDTH


class Loopback(wiring.Component):
    """Each byte of rx, plus ``addend``, out of tx by way of a FIFO; traces when it takes which byte."""

    def __init__(self, addend: int = 1):
        self.addend = addend
        super().__init__(
            {
                "rx": In(stream.Signature(8)),
                "tx": Out(stream.Signature(8)),
                "trace": Out(data.StructLayout({"byte": 8, "middle": TRACE_WIDTH - 16, "inverse": 8})),
                "trace_valid": Out(1),
                "mask": In(8),
                "taken": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        clock = Signal(32)  # since the reset
        m.d.sync += clock.eq(clock + 1)
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=8, depth=5)
        m.d.comb += [
            queue.w_data.eq((self.rx.payload ^ self.mask) + self.addend),
            queue.w_en.eq(self.rx.valid),
            self.rx.ready.eq(queue.w_rdy),
            self.tx.payload.eq(queue.r_data),
            self.tx.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.tx.ready),
            self.trace.byte.eq(self.rx.payload),
            self.trace.middle.eq(clock),
            self.trace.inverse.eq(~self.rx.payload),
            self.trace_valid.eq(self.rx.valid & self.rx.ready),
        ]
        m.d.sync += self.taken.eq(self.taken + self.trace_valid)
        return m


class Silent(wiring.Component):
    """Takes every byte and gives none, with no register and no trace."""

    rx: In(stream.Signature(8, always_ready=True))
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        return Module()
