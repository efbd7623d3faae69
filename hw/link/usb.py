"""A USB device of full speed, made of nothing but the FPGA's own pins: bytes in, bytes out."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out
from luna.gateware.usb.request.windows import MicrosoftOS10RequestHandler
from luna.gateware.usb.usb2.device import USBDevice
from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
from luna.gateware.usb.usb2.request import StallOnlyRequestHandler
from usb_protocol.emitters import DeviceDescriptorCollection
from usb_protocol.emitters.descriptors.microsoft10 import MicrosoftOS10DescriptorCollection
from usb_protocol.emitters.descriptors.standard import get_string_descriptor
from usb_protocol.types import USBRequestType
from usb_protocol.types.descriptors.microsoft10 import RegistryTypes

from haarlequin.hw.link.usb_ids import ENDPOINT, MANUFACTURER, PACKET, PRODUCT, PRODUCT_ID, VENDOR_ID

DEPTH = 16
"""Bytes that wait on the way between the two clocks, in each direction."""

QUIET = 15
"""Cycles of ``usb``, about a microsecond, after which a packet goes out though it is not full."""

IO_HZ, USB_HZ = 48_000_000, 12_000_000
"""The clocks of the domains ``usb_io`` and ``usb``."""

_WINDOWS = 0xEE
"""The request by which Windows asks for its own descriptors; it finds this number in a string."""
_GUID = "{8d0b4d9e-5f0a-4f57-9a55-0f4c3b3e1d63}"
"""The interface that Windows registers the device under. It was drawn by chance, for this project."""

PIN = wiring.Signature({"i": In(1), "o": Out(1), "oe": Out(1)})
"""A pin that is driven while ``oe`` is high."""


class UsbDevice(wiring.Component):
    """A USB device with one bulk endpoint in each direction, which carry bytes as a UART's wires do.

    It is LUNA's device with LUNA's own PHY. A transfer has no meaning: its end and its packets are not passed
    on. Packets are sent once they are full, or no byte has come for `QUIET` cycles, and those that arrive are
    refused, for the host to send them again, while there is no room. The driver for Windows, WinUSB, is asked
    for by descriptors.

    A reset of the bus, and the host's choice of a configuration, drop the packets that wait; both ends then
    count packets from the first, in both directions.

    Parameters
    ----------
    serial : str
        The serial number, by which hosts tell devices apart.

    Members
    -------
    d_p, d_n : Out(PIN)
        D+ and D−.
    pullup : Out(1)
        The resistor of 1.5 kΩ at D+, by which the host sees that there is a device.
    received : Out(stream.Signature(8))
        Bytes that have arrived.
    to_send : In(stream.Signature(8))
        Bytes to send.

    Besides ``sync``, the machine's clock, it takes the domains ``usb_io`` of `IO_HZ` and ``usb`` of
    `USB_HZ`, whose edges are edges of the former as well.
    """

    d_p: Out(PIN)
    d_n: Out(PIN)
    pullup: Out(1)
    received: Out(stream.Signature(8))
    to_send: In(stream.Signature(8))

    def __init__(self, serial: str):
        self._serial = serial
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        # LUNA's state machine of resets looks at the wires as they are, with none of its clocks in between.
        wires = Signal(2)
        m.submodules.wires = FFSynchronizer(Cat(self.d_p.i, self.d_n.i), wires, o_domain="usb_io")
        d_p = SimpleNamespace(i=wires[0], o=self.d_p.o, oe=self.d_p.oe)
        d_n = SimpleNamespace(i=wires[1], o=self.d_n.o, oe=self.d_n.oe)
        pins = SimpleNamespace(d_p=d_p, d_n=d_n, pullup=SimpleNamespace(o=self.pullup))
        m.submodules.device = device = USBDevice(bus=pins)
        control = device.add_standard_control_endpoint(descriptors(self._serial))
        control.add_request_handler(MicrosoftOS10RequestHandler(_windows(), request_code=_WINDOWS))
        control.add_request_handler(StallOnlyRequestHandler(_unknown))

        begin = Signal()
        m.d.comb += begin.eq(device.reset_detected | control.interface.config_changed)
        outward = USBStreamInEndpoint(endpoint_number=ENDPOINT, max_packet_size=PACKET)
        inward = USBStreamOutEndpoint(endpoint_number=ENDPOINT, max_packet_size=PACKET)
        device.add_endpoint(_Outward(outward, begin))
        device.add_endpoint(_Inward(inward, begin))

        # `hw.families.family.PREPARE` knows memories with two clocks by these names.
        m.submodules.crossing_in = arrived = AsyncFIFO(width=8, depth=DEPTH, w_domain="usb", r_domain="sync")
        m.submodules.crossing_out = leaving = AsyncFIFO(width=8, depth=DEPTH, w_domain="sync", r_domain="usb")
        wiring.connect(m, arrived.r_stream, wiring.flipped(self.received))
        wiring.connect(m, wiring.flipped(self.to_send), leaving.w_stream)
        # A packet that waited for more bytes would never go out, and one that waits for none costs its host a
        # transfer for each few bytes: it goes out once bytes have stopped coming.
        quiet = Signal(range(QUIET + 1))
        m.d.usb += quiet.eq(Mux(leaving.r_rdy, 0, quiet + ~outward.flush))
        m.d.comb += [
            outward.flush.eq(quiet == QUIET),
            device.connect.eq(1),
            arrived.w_data.eq(inward.stream.payload),
            arrived.w_en.eq(inward.stream.valid),
            inward.stream.ready.eq(arrived.w_rdy),
            outward.stream.payload.eq(leaving.r_data),
            outward.stream.valid.eq(leaving.r_rdy),
            leaving.r_en.eq(outward.stream.ready),
        ]
        return m


class _Anew(Elaboratable):
    """An endpoint that is as after a reset whenever ``begin`` is high; LUNA's go on counting packets."""

    def __init__(self, endpoint: Elaboratable, begin: Signal):
        self._endpoint, self._begin = endpoint, begin
        self.interface = endpoint.interface

    def elaborate(self, platform):
        return ResetInserter({"usb": self._begin})(self._endpoint)


class _Inward(_Anew):
    """LUNA names a module after its class, and would give a second one of the same class a number that is
    another each time.
    """


class _Outward(_Anew):
    """The one for bytes to the host."""


def _unknown(setup) -> Signal:
    """Whether a request is one that no handler knows."""
    of_windows = (setup.type == USBRequestType.VENDOR) & (setup.request == _WINDOWS)
    return (setup.type != USBRequestType.STANDARD) & ~of_windows


def descriptors(serial: str) -> DeviceDescriptorCollection:
    """The descriptors of a device (USB 2.0, section 9.6)."""
    found = DeviceDescriptorCollection()
    with found.DeviceDescriptor() as device:
        device.idVendor, device.idProduct = VENDOR_ID, PRODUCT_ID
        device.iManufacturer, device.iProduct, device.iSerialNumber = MANUFACTURER, PRODUCT, serial
        device.bNumConfigurations = 1
    with found.ConfigurationDescriptor() as configuration, configuration.InterfaceDescriptor() as interface:
        interface.bInterfaceNumber = 0
        interface.bInterfaceClass = interface.bInterfaceSubclass = interface.bInterfaceProtocol = 0xFF
        for direction in (0x80, 0x00):  # to the host, and from it
            with interface.EndpointDescriptor() as endpoint:
                endpoint.bEndpointAddress = direction | ENDPOINT
                endpoint.bmAttributes = 0x02  # bulk
                endpoint.wMaxPacketSize = PACKET
    found.add_descriptor(get_string_descriptor(f"MSFT100{chr(_WINDOWS)}"), index=0xEE)
    return found


def _windows() -> MicrosoftOS10DescriptorCollection:
    """Microsoft OS 1.0 descriptors, which make Windows take WinUSB as the driver."""
    found = MicrosoftOS10DescriptorCollection()
    with found.ExtendedCompatIDDescriptor() as compatible, compatible.Function() as function:
        function.bFirstInterfaceNumber = 0
        function.compatibleID = "WINUSB"
    with found.ExtendedPropertiesDescriptor() as properties, properties.Property() as guid:
        guid.dwPropertyDataType = RegistryTypes.REG_SZ
        guid.PropertyName, guid.PropertyData = "DeviceInterfaceGUID", _GUID
    return found
