"""A USB device that sends back what it receives, plugged into a simulated host."""

from functools import cache
from pathlib import Path

from amaranth.hdl import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ulpi import ULPI_HZ, UlpiDevice
from haarlequin.hw.link.usb import UsbDevice
from haarlequin.models.common.places import build_folder
from haarlequin.sim.usb.board import BIT, HERTZ, clocks, plug
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sim.usb.port import HostPort
from haarlequin.sim.usb.ulpi import UlpiPort
from haarlequin.sim.usb.ulpi_board import plug_ulpi
from haarlequin.sw.verilated import build
from haarlequin.sw.verilated.simulation import Simulation

SERIAL = "0123"
HELD = 32
"""Bytes between what is received and what is sent."""
ULPI_CYCLES = 2
"""Cycles of the bench for one of the PHY's clock."""


class Echo(wiring.Component):
    """The device's other clock has 96 MHz, and is not one of its own."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        clocks(m)
        m.submodules.device = device = UsbDevice(SERIAL)
        m.submodules.port = port = HostPort(BIT)
        plug(m, port, device)
        return _echo(m, self, port, device)


class UlpiEcho(wiring.Component):
    """The same at a PHY; the device's other clock has 120 MHz."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.domains.usb = ClockDomain()
        clock = Signal(reset_less=True)
        m.d.sync += clock.eq(~clock)
        m.submodules.device = device = UlpiDevice(SERIAL)
        m.submodules.port = port = UlpiPort(ULPI_CYCLES)
        m.d.comb += [ClockSignal("usb").eq(clock), port.tick.eq(clock)]
        plug_ulpi(m, port, device)
        return _echo(m, self, port, device)


def _echo(m, bench, port, device):
    """What comes goes back, and orders to the port are those of the bench."""
    m.submodules.held = held = SyncFIFOBuffered(width=8, depth=HELD)
    wiring.connect(m, device.received, held.w_stream)
    wiring.connect(m, held.r_stream, device.to_send)
    wiring.connect(m, wiring.flipped(bench.rx), port.rx)
    wiring.connect(m, port.tx, wiring.flipped(bench.tx))
    return m


@cache
def echo_simulator(kind=Echo, name="usb-echo") -> Path:
    """Its simulator, built if it is not there yet."""
    return build.build(kind(), build_folder("sim") / name, notice=print)


def echo() -> UsbHost:
    """A host whose device is one, as it was plugged in; the caller closes its simulation."""
    return UsbHost(Simulation(echo_simulator()), HERTZ)


def ulpi_echo(answers_chirps=True) -> UsbHost:
    """The same with a PHY, at high speed if the host answers chirps."""
    simulation = Simulation(echo_simulator(UlpiEcho, "ulpi-echo"))
    return UsbHost(simulation, ULPI_CYCLES * ULPI_HZ, answers_chirps)
