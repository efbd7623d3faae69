"""A USB device that sends back what it receives, plugged into a simulated host."""

from functools import cache
from pathlib import Path

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.usb import UsbDevice
from haarlequin.models.common.places import build_folder
from haarlequin.sim.usb.board import BIT, HERTZ, clocks, plug
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sim.usb.port import HostPort
from haarlequin.sw.verilated import build
from haarlequin.sw.verilated.simulation import Simulation

SERIAL = "0123"
HELD = 32
"""Bytes between what is received and what is sent."""


class Echo(wiring.Component):
    """The device's other clock has 96 MHz, and is not one of its own."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        clocks(m)
        m.submodules.device = device = UsbDevice(SERIAL)
        m.submodules.port = port = HostPort(BIT)
        m.submodules.held = held = SyncFIFOBuffered(width=8, depth=HELD)
        plug(m, port, device)
        wiring.connect(m, device.received, held.w_stream)
        wiring.connect(m, held.r_stream, device.to_send)
        wiring.connect(m, wiring.flipped(self.rx), port.rx)
        wiring.connect(m, port.tx, wiring.flipped(self.tx))
        return m


@cache
def echo_simulator() -> Path:
    """Its simulator, built if it is not there yet."""
    return build.build(Echo(), build_folder("sim") / "usb-echo", notice=print)


def echo() -> UsbHost:
    """A host whose device is one, as it was plugged in; the caller closes its simulation."""
    return UsbHost(Simulation(echo_simulator()), HERTZ)
