"""A simulated accelerator with Ethernet, and the PHY at its pins."""

from pathlib import Path

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.ethernet.address import Address
from haarlequin.hw.link.ethernet.line import EthernetLine
from haarlequin.hw.link.ethernet.rgmii import ETHERNET_HZ
from haarlequin.sim.ethernet.port import Phy
from haarlequin.sim.line_simulator import line_simulator
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, TIMEOUT, say

CYCLES, LINE_CYCLES = 5, 2
"""Cycles of the bench for one of the accelerator, and for a byte on the line."""

HERTZ = CYCLES * CLOCK_HZ
"""The bench's clock."""

assert HERTZ == LINE_CYCLES * ETHERNET_HZ

RESET_CYCLES = 4 * CYCLES
"""Cycles of the bench for which a restart resets the accelerator: all edges of its clock that it needs."""


class EthernetBoard(wiring.Component):
    """An accelerator with an `EthernetLine`, at whose wires there is a `Phy`.

    The accelerator has 50 MHz, and the line its 125. A restart resets the accelerator and the PHY, and leaves
    the line as it is, as the button of a board does.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]

    def __init__(self, config: AnyConfig):
        self._config = config
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.domains.machine = ClockDomain()
        m.domains.line = ClockDomain(reset_less=True)
        m.domains.ethernet = ClockDomain(reset_less=True)
        count, clock = Signal(range(CYCLES), reset_less=True), Signal(reset_less=True)
        odd, fast = Signal(reset_less=True), Signal(reset_less=True)
        left = Signal(range(RESET_CYCLES + 1), reset_less=True, init=RESET_CYCLES)
        m.d.sync += [
            count.eq(Mux(count == CYCLES - 1, 0, count + 1)),
            clock.eq(count < CYCLES // 2),
            odd.eq(~odd),
            fast.eq(odd),
            left.eq(Mux(ResetSignal(), RESET_CYCLES, left - (left != 0))),
        ]
        m.d.comb += [
            ClockSignal("machine").eq(clock),
            ClockSignal("line").eq(clock),
            ClockSignal("ethernet").eq(fast),
            ResetSignal("machine").eq(left != 0),
        ]
        accelerator, line = Accelerator(self._config, CLOCK_HZ, TIMEOUT), EthernetLine(Address())
        m.submodules.accelerator = DomainRenamer("machine")(accelerator)
        m.submodules.line = DomainRenamer({"sync": "line"})(line)
        m.submodules.phy = phy = Phy()
        m.d.comb += phy.tick.eq(fast)
        wiring.connect(m, line.received, accelerator.rx)
        wiring.connect(m, accelerator.tx, line.to_send)
        wiring.connect(m, phy.to_board, line.line_in)
        wiring.connect(m, line.line_out, phy.from_board)
        wiring.connect(m, wiring.flipped(self.rx), phy.rx)
        wiring.connect(m, phy.tx, wiring.flipped(self.tx))
        return m


def ethernet_simulator(machine: AnyConfig, folder: Path, notice: Notice = say) -> Path:
    """The simulator of `EthernetBoard` with ``machine``: see `line_simulator`."""
    return line_simulator(EthernetBoard, machine, folder, "ethernet", notice)
