"""The pins of PHYs: RGMII's two edges of each wire, ULPI's data, which go both ways, clocks and resets."""

from amaranth.build import Platform
from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Signal
from amaranth.lib import io, wiring

from haarlequin.hw.families.family import Family
from haarlequin.hw.link.ethernet.line import EthernetLine
from haarlequin.hw.link.ethernet.rgmii import TX_DELAY, Rgmii
from haarlequin.hw.link.ulpi import UlpiDevice

RESET_SECONDS = 0.02
"""How long the PHY is reset at power-up; a KSZ9031 wants 10 ms (DS00002117, table 7-3)."""

USB_RESET_SECONDS = 0.0005
"""The same of a PHY with ULPI, which `UlpiDevice` leaves alone for a millisecond. A reset gives its registers
the values that LUNA takes for granted, where the FPGA alone was loaded anew."""


def connect_ethernet(
    m: Module, platform: Platform, family: Family, resource: tuple[str, int], line: EthernetLine, hertz: int
) -> None:
    """Connect a line to a PHY, and make the domain ``ethernet`` of the PHY's clock.

    The PHY gives its clock in the middle of its data, as a KSZ9031 does unless it is told otherwise, and
    takes a clock in the middle of the data that it is sent. Both directions have the clock of what is
    received from it.

    Arguments:
        m: the top of the design.
        platform: where the resource is.
        family: has the cell that makes a clock later.
        resource: made by `hw.boards.board.ethernet_resource`.
        line: the line; it is a part of ``m`` already.
        hertz: the accelerator's clock.
    """
    pins = platform.request(*resource, dir="-")

    def buffer(kind: type, direction: str, name: str, **domain: str) -> io.Buffer | io.DDRBuffer:
        made = kind(direction, getattr(pins, name), **domain)
        m.submodules[f"phy_{name}"] = made
        return made

    m.domains.ethernet = ClockDomain(reset_less=True)
    m.submodules.rgmii = rgmii = DomainRenamer("ethernet")(Rgmii())
    data_in, control_in = (
        buffer(io.DDRBuffer, "i", name, i_domain="ethernet") for name in ("rx_data", "rx_ctrl")
    )
    data_out, control_out = (
        buffer(io.DDRBuffer, "o", name, o_domain="ethernet") for name in ("tx_data", "tx_ctrl")
    )
    came, leaves = rgmii.wires_in, rgmii.wires_out
    m.d.comb += [
        ClockSignal("ethernet").eq(buffer(io.Buffer, "i", "rx_clk").i),
        buffer(io.Buffer, "o", "tx_clk").o.eq(family.clock_for_pin(m, "ethernet", TX_DELAY)),
        came.data.eq(Cat(data_in.i[0], data_in.i[1])),
        came.control.eq(Cat(control_in.i[0], control_in.i[1])),
        Cat(data_out.o[0], data_out.o[1]).eq(leaves.data),
        Cat(control_out.o[0], control_out.o[1]).eq(leaves.control),
    ]
    wiring.connect(m, rgmii.received, line.line_in)
    wiring.connect(m, line.line_out, rgmii.to_send)

    m.d.comb += buffer(io.Buffer, "o", "rst").o.eq(_first(m, round(hertz * RESET_SECONDS)))


def connect_ulpi(
    m: Module, platform: Platform, resource: tuple[str, int], device: UlpiDevice, hertz: int
) -> None:
    """Connect a USB device to a PHY with ULPI, and make the domain ``usb`` of the PHY's clock.

    Arguments:
        m: the top of the design.
        platform: where the resource is.
        resource: made by `hw.boards.board.ulpi_resource`.
        device: the device; it is a part of ``m`` already.
        hertz: the accelerator's clock.
    """
    pins = platform.request(*resource, dir="-")

    def buffer(direction: str, name: str) -> io.Buffer:
        m.submodules[f"ulpi_{name}"] = made = io.Buffer(direction, getattr(pins, name))
        return made

    m.domains.usb = ClockDomain()
    data = buffer("io", "data")
    m.d.comb += [
        ClockSignal("usb").eq(buffer("i", "clk").i),
        device.data_in.eq(data.i),
        data.o.eq(device.data_out),
        data.oe.eq(device.driving),
        device.dir.eq(buffer("i", "dir").i),
        device.nxt.eq(buffer("i", "nxt").i),
        buffer("o", "stp").o.eq(device.stp),
        buffer("o", "rst").o.eq(_first(m, round(hertz * USB_RESET_SECONDS))),
    ]


def _first(m: Module, cycles: int) -> Signal:
    """A signal that is high for the first cycles after the FPGA was loaded."""
    left, first = Signal(range(cycles + 1), init=cycles), Signal(init=1)
    m.d.sync += [left.eq(left - first), first.eq(left > 1)]
    return first
