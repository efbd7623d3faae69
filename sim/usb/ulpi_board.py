"""A simulated accelerator with a USB device of high speed, and the PHY and the host at its pins."""

from pathlib import Path

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.ulpi import ULPI_HZ, UlpiDevice
from haarlequin.sim.line_simulator import line_simulator
from haarlequin.sim.usb.board import SERIAL
from haarlequin.sim.usb.ulpi import UlpiPort
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, TIMEOUT, say

CYCLES, ULPI_CYCLES = 6, 5
"""Cycles of the bench for one of the accelerator, and for one of the PHY's clock."""

HERTZ = CYCLES * CLOCK_HZ
"""The bench's clock."""

assert HERTZ == ULPI_CYCLES * ULPI_HZ

RESET_CYCLES = 4 * CYCLES
"""Cycles of the bench for which a restart resets the accelerator: all edges of its clock that it needs."""


class UlpiBoard(wiring.Component):
    """An accelerator with a `UlpiDevice`, at whose pins there is a `UlpiPort`.

    The accelerator has 50 MHz, and the PHY 60. A restart resets the accelerator, and leaves the device, the
    PHY and the bus as they are, as the button of a board does.
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
        m.domains.usb = ClockDomain()
        m.domains.bench = ClockDomain(reset_less=True)
        count, clock = Signal(range(CYCLES), reset_less=True), Signal(reset_less=True)
        phase, ulpi = Signal(range(ULPI_CYCLES), reset_less=True), Signal(reset_less=True)
        left = Signal(range(RESET_CYCLES + 1), reset_less=True, init=RESET_CYCLES)
        m.d.sync += [
            count.eq(Mux(count == CYCLES - 1, 0, count + 1)),
            clock.eq(count < CYCLES // 2),
            phase.eq(Mux(phase == ULPI_CYCLES - 1, 0, phase + 1)),
            ulpi.eq(phase < ULPI_CYCLES // 2),
            left.eq(Mux(ResetSignal(), RESET_CYCLES, left - (left != 0))),
        ]
        m.d.comb += [
            ClockSignal("machine").eq(clock),
            ClockSignal("line").eq(clock),
            ClockSignal("usb").eq(ulpi),
            ClockSignal("bench").eq(ClockSignal()),
            ResetSignal("machine").eq(left != 0),
        ]
        accelerator, device = Accelerator(self._config, CLOCK_HZ, TIMEOUT), UlpiDevice(SERIAL)
        m.submodules.accelerator = DomainRenamer("machine")(accelerator)
        m.submodules.device = DomainRenamer({"sync": "line"})(device)
        m.submodules.port = DomainRenamer("bench")(port := UlpiPort(ULPI_CYCLES))
        m.d.comb += port.tick.eq(phase == ULPI_CYCLES // 2)  # as the clock falls
        plug_ulpi(m, port, device)
        wiring.connect(m, device.received, accelerator.rx)
        wiring.connect(m, accelerator.tx, device.to_send)
        wiring.connect(m, wiring.flipped(self.rx), port.rx)
        wiring.connect(m, port.tx, wiring.flipped(self.tx))
        return m


def plug_ulpi(m: Module, port: UlpiPort, device: UlpiDevice) -> None:
    """Connect a device to the port's PHY: what it drives is not on the wires while ``dir`` is high."""
    m.d.comb += [
        device.data_in.eq(Mux(port.dir, port.data_out, device.data_out)),
        port.data_in.eq(device.data_out),
        port.stp.eq(device.stp),
        device.dir.eq(port.dir),
        device.nxt.eq(port.nxt),
    ]


def ulpi_simulator(machine: AnyConfig, folder: Path, notice: Notice = say) -> Path:
    """The simulator of `UlpiBoard` with ``machine``: see `line_simulator`."""
    return line_simulator(UlpiBoard, machine, folder, "ulpi", notice)
