"""A simulated accelerator with a USB device, plugged into a simulated host."""

from pathlib import Path

import usb.core
from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.usb import IO_HZ, USB_HZ, UsbDevice
from haarlequin.sim.line_simulator import line_simulator
from haarlequin.sim.usb.backend import SimulatedBackend
from haarlequin.sim.usb.host import UsbHost
from haarlequin.sim.usb.port import HostPort
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.devices.usb_port import UsbLine
from haarlequin.sw.verilated.accelerator import TIMEOUT, say

CYCLES = 2
"""Cycles of the bench for one of the machine, which has the clock of the device's pins."""

HERTZ = CYCLES * IO_HZ
"""The bench's clock."""

BIT = HERTZ // USB_HZ
"""Its cycles for a bit on the wires."""

SERIAL = "simulated"


class UsbBoard(wiring.Component):
    """An accelerator with a `UsbDevice`, whose wires go to a `HostPort`.

    A restart resets accelerator and port, and leaves the device as it is, as the button of a board does.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]

    def __init__(self, config: AnyConfig):
        self._config = config
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.domains.machine = ClockDomain()
        m.d.comb += [ClockSignal("machine").eq(clocks(m)), ResetSignal("machine").eq(ResetSignal())]
        accelerator, device, port = (
            Accelerator(self._config, IO_HZ, TIMEOUT),
            UsbDevice(SERIAL),
            HostPort(BIT),
        )
        m.submodules.accelerator = DomainRenamer("machine")(accelerator)
        m.submodules.device = DomainRenamer({"sync": "usb_io"})(device)
        m.submodules.port = port
        wiring.connect(m, device.received, accelerator.rx)
        wiring.connect(m, accelerator.tx, device.to_send)
        plug(m, port, device)
        wiring.connect(m, wiring.flipped(self.rx), port.rx)
        wiring.connect(m, port.tx, wiring.flipped(self.tx))
        return m


def clocks(m: Module) -> Signal:
    """Make the domains ``usb_io`` and ``usb`` of the bench's clock of `HERTZ`; returns the former's clock.

    They come from registers, so that their edges come at once, as those of a PLL do.
    """
    m.domains.usb_io = ClockDomain(reset_less=True)
    m.domains.usb = ClockDomain(reset_less=True)
    count, io, slow = Signal(3, reset_less=True), Signal(reset_less=True), Signal(reset_less=True)
    m.d.sync += [count.eq(count + 1), io.eq(~count[0]), slow.eq(~count[2])]
    m.d.comb += [ClockSignal("usb_io").eq(io), ClockSignal("usb").eq(slow)]
    return io


def plug(m: Module, port: HostPort, device: UsbDevice) -> None:
    """Connect two wires: what nobody drives is pulled up or down."""
    wires = (
        (device.d_p, port.d_p_in, port.d_p, device.pullup),
        (device.d_n, port.d_n_in, port.d_n, 0),
    )
    for pin, port_in, port_out, resting in wires:
        wire = Mux(port.driving, port_out, Mux(pin.oe, pin.o, resting))
        m.d.comb += [pin.i.eq(wire), port_in.eq(wire)]


class SimulatedUsbLine(UsbLine):
    """The host's own line over a simulated bus, with the accelerator's time.

    Arguments:
        host: the host of the bus; closing the line ends its simulation.
    """

    def __init__(self, host: UsbHost):
        self.host = host
        try:
            # A bus that has nothing else to carry answers at once; a transfer then takes a few packets.
            super().__init__("usb:sim", usb.core.find(backend=SimulatedBackend(host)), latency=0.001)
        except BaseException:
            host.simulation.close()
            raise

    def close(self) -> None:
        """End the simulation."""
        super().close()
        self.host.simulation.close()


def usb_simulator(machine: AnyConfig, folder: Path, notice: Notice = say) -> Path:
    """The simulator of `UsbBoard` with ``machine``: see `line_simulator`."""
    return line_simulator(UsbBoard, machine, folder, "usb", notice)
