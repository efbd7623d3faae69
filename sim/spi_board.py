"""A simulated accelerator with an SPI slave, and the master of its bus."""

from pathlib import Path
from typing import Protocol

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.spi import SpiSlave
from haarlequin.sim.line_simulator import line_simulator
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.devices.spi_port import POLL, Bus, SpiLine
from haarlequin.sw.verilated.accelerator import CLOCK_HZ, TIMEOUT, say
from haarlequin.sw.verilated.simulation import CHUNK, Simulation

CYCLES = 2
"""Cycles of the bench for one of SCK, and of the accelerator."""

HERTZ = CYCLES * CLOCK_HZ
"""The bench's clock."""

BYTE = 8 * CYCLES
"""Cycles of the bench for a byte."""


class SpiMaster(wiring.Component):
    """An SPI master of mode 0. A byte comes in for each that goes out.

    They follow each other without a gap as long as they are there. Where there is none for `BYTE` cycles, the
    slave is let go.
    """

    to_send: In(stream.Signature(8))  # type: ignore[valid-type]
    received: Out(stream.Signature(8))  # type: ignore[valid-type]
    sck: Out(1)  # type: ignore[valid-type]
    cs: Out(1)  # type: ignore[valid-type]
    copi: Out(1)  # type: ignore[valid-type]
    cipo: In(1)  # type: ignore[valid-type]

    def elaborate(self, platform):
        m = Module()
        m.submodules.back = back = SyncFIFOBuffered(width=8, depth=8)
        wiring.connect(m, back.r_stream, wiring.flipped(self.received))
        left, idle = Signal(range(BYTE + 1)), Signal(range(BYTE))
        leaving, arrived = Signal(8), Signal(8)
        m.d.comb += [
            self.copi.eq(leaving[-1]),
            self.to_send.ready.eq((left <= 1) & (back.w_level < 6)),
            back.w_data.eq(arrived),
        ]
        m.d.sync += back.w_en.eq(left == 1)
        with m.If(left != 0):
            m.d.sync += [left.eq(left - 1), self.sck.eq(left % 2 == 0), idle.eq(BYTE - 1)]
            with m.If(left % 2 == 0):
                m.d.sync += arrived.eq(Cat(self.cipo, arrived))
            with m.Else():
                m.d.sync += leaving.eq(Cat(0, leaving))
        with m.Else():
            m.d.sync += idle.eq(idle - (idle != 0))
        with m.If(self.to_send.valid & self.to_send.ready):
            m.d.sync += [left.eq(BYTE), leaving.eq(self.to_send.payload), self.cs.eq(1)]
        with m.Elif((left == 0) & (idle == 0)):
            m.d.sync += self.cs.eq(0)
        return m


class SpiBoard(wiring.Component):
    """An accelerator with an `SpiSlave`, at whose pins there is an `SpiMaster`.

    The bench's clock is twice as fast as SCK, and as the accelerator's: of a board with 50 MHz and an SPI bus
    of 50 MHz. A restart resets all but the slave, as the button of a board does.
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
        clock = Signal(reset_less=True)
        m.d.sync += clock.eq(~clock)
        m.d.comb += [
            ClockSignal("machine").eq(clock),
            ClockSignal("line").eq(clock),
            ResetSignal("machine").eq(ResetSignal()),
        ]
        accelerator, slave = Accelerator(self._config, CLOCK_HZ, TIMEOUT), SpiSlave()
        m.submodules.accelerator = DomainRenamer("machine")(accelerator)
        m.submodules.slave = DomainRenamer("line")(slave)
        m.submodules.master = master = SpiMaster()
        wiring.connect(m, slave.received, accelerator.rx)
        wiring.connect(m, accelerator.tx, slave.to_send)
        wiring.connect(m, wiring.flipped(self.rx), master.to_send)
        wiring.connect(m, master.received, wiring.flipped(self.tx))
        m.d.comb += [
            slave.sck.eq(master.sck),
            slave.cs.eq(master.cs),
            slave.copi.eq(master.copi),
            master.cipo.eq(slave.cipo),
        ]
        return m


class SimulatedBus:
    """The bus of an `SpiBoard`, as its master sees it: an object like those of spidev and pyftdi.

    Arguments:
        folder: the folder of the board's simulator.
    """

    def __init__(self, folder: Path):
        self.simulation = Simulation(folder)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes, and return those that come: as many. Raises OSError where the master does not go on."""
        came = b""
        self.simulation.send(data)
        while len(came) < len(data):
            if not (more := self.simulation.receive(2 * CHUNK * BYTE)):
                raise OSError("the simulated master has stopped")
            came += more
        return came

    def close(self) -> None:
        """End the simulation."""
        self.simulation.close()


class _Bus(Bus, Protocol):
    """A `SimulatedBus`, or what damages one."""

    simulation: Simulation


class SimulatedSpiLine(SpiLine):
    """The host's own line over a simulated bus, with the accelerator's time."""

    def __init__(self, bus: _Bus):
        # An answer comes as soon as in any simulation; then a poll and a chunk of it have to come in whole.
        latency = (4096 * CYCLES + (POLL + CHUNK) * BYTE) / HERTZ
        super().__init__("spi:sim", bus, lambda: bus.simulation.cycle / HERTZ, latency)


def spi_simulator(machine: AnyConfig, folder: Path, notice: Notice = say) -> Path:
    """The simulator of `SpiBoard` with ``machine``: see `line_simulator`."""
    return line_simulator(SpiBoard, machine, folder, "spi", notice)
