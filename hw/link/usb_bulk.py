"""The part of a USB device that is the same on any PHY: two bulk endpoints, and its descriptors."""

from copy import copy
from typing import Any

from amaranth.hdl import Cat, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from luna.gateware.usb.request.windows import MicrosoftOS10RequestHandler
from luna.gateware.usb.usb2 import USBSpeed
from luna.gateware.usb.usb2.device import USBDevice
from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
from luna.gateware.usb.usb2.packet import HandshakeExchangeInterface
from luna.gateware.usb.usb2.request import StallOnlyRequestHandler
from usb_protocol.types import USBRequestType

from haarlequin.hw.link.usb_descriptors import WINDOWS, StandardRequests, descriptors, windows
from haarlequin.hw.link.usb_ids import ENDPOINT, HIGH_SPEED_PACKET, PACKET

DEPTH = 16
"""Bytes that wait on the way between the two clocks, in each direction."""

QUIET = {False: 15, True: 75}
"""Cycles of ``usb``, by whether its PHY can do high speed, after which a packet goes out though it is not
full: 1.25 µs, since the head may need 1.2 for the next word of a result."""


def bulk_device(
    m: Module,
    bus: Any,
    serial: str,
    received: stream.Interface,
    to_send: stream.Interface,
    high_speed: bool = False,
) -> None:
    """Add LUNA's device to ``m``, with one bulk endpoint in each direction for bytes as a UART's wires carry.

    A transfer has no meaning: its end and its packets are not passed on. Packets are sent once they are full,
    or no byte has come for `QUIET` cycles, and those that arrive are refused, for the host to send them
    again, while there is no room. The driver for Windows, WinUSB, is asked for by descriptors.

    A reset of the bus, and the host's choice of a configuration, drop the packets that wait; both ends then
    count packets from the first, in both directions.

    Arguments:
        m: a module with the domains ``usb``, of the PHY's clock, and ``sync``, of both streams.
        bus: the pins of the PHY, as LUNA's `USBDevice` takes them.
        serial: the serial number, by which hosts tell devices apart.
        received: bytes that have arrived, at the device's end.
        to_send: bytes to send, at the device's end.
        high_speed: whether the PHY can do high speed. Where the host cannot, packets are those of full speed.
    """
    packet = HIGH_SPEED_PACKET if high_speed else PACKET
    m.submodules.device = device = USBDevice(bus=bus, **({"handle_clocking": False} if high_speed else {}))
    full_speed = Signal()
    m.d.comb += full_speed.eq(device.speed == USBSpeed.FULL)
    collection = descriptors(serial, high_speed)
    if high_speed:
        control = device.add_control_endpoint()
        control.add_request_handler(StandardRequests(collection, full_speed))
    else:
        control = device.add_standard_control_endpoint(collection)
    control.add_request_handler(MicrosoftOS10RequestHandler(windows(), request_code=WINDOWS))
    control.add_request_handler(StallOnlyRequestHandler(_unknown))

    begin = Signal()
    m.d.comb += begin.eq(device.reset_detected | control.interface.config_changed)
    outward = USBStreamInEndpoint(endpoint_number=ENDPOINT, max_packet_size=packet)
    inward = USBStreamOutEndpoint(endpoint_number=ENDPOINT, max_packet_size=packet)
    device.add_endpoint(_Outward(outward, begin))
    device.add_endpoint(_Inward(_Decided(inward) if high_speed else inward, begin))

    # `hw.families.family.PREPARE` knows memories with two clocks by these names.
    m.submodules.crossing_in = arrived = AsyncFIFO(width=8, depth=DEPTH, w_domain="usb", r_domain="sync")
    m.submodules.crossing_out = leaving = AsyncFIFO(width=8, depth=DEPTH, w_domain="sync", r_domain="usb")
    wiring.connect(m, arrived.r_stream, received)
    wiring.connect(m, to_send, leaving.w_stream)
    # A packet that waited for more bytes would never go out, and one that waits for none costs its host a
    # transfer for each few bytes: it goes out once bytes have stopped coming.
    most = QUIET[high_speed]
    quiet = Signal(range(most + 1))
    m.d.usb += quiet.eq(Mux(leaving.r_rdy, 0, quiet + ~outward.flush))
    m.d.comb += [
        outward.flush.eq(quiet == most),
        device.connect.eq(1),
        arrived.w_data.eq(inward.stream.payload),
        arrived.w_en.eq(inward.stream.valid),
        inward.stream.ready.eq(arrived.w_rdy),
        outward.stream.payload.eq(leaving.r_data),
        outward.stream.valid.eq(leaving.r_rdy),
        leaving.r_en.eq(outward.stream.ready),
    ]
    if high_speed:
        # LUNA's endpoint has packets of one size. A packet ends with each 64th byte at full speed: so none
        # has more, though some have less.
        count = Signal(range(PACKET))
        m.d.usb += count.eq(count + (leaving.r_rdy & leaving.r_en))
        m.d.comb += outward.stream.last.eq(full_speed & (count == PACKET - 1))
        # Before LUNA may speak to the PHY it would take the wires without its resistor for a reset, and then
        # begin a chirp and a write to the PHY in one cycle, of which neither ends.
        attached = Signal()
        with m.If(device.utmi.line_state.any()):
            m.d.usb += attached.eq(1)
        m.d.comb += device.full_speed_only.eq(~attached)


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


class _Decided(Elaboratable):
    """LUNA's endpoint for bytes from the host, whose answer is kept until it is sent.

    The endpoint knows for two cycles after a packet that it had no room for it. At full speed and 60 MHz the
    answer is due nine cycles later: the packet would be acknowledged, and is dropped.
    """

    def __init__(self, endpoint: USBStreamOutEndpoint):
        self._endpoint = endpoint
        self.interface = copy(endpoint.interface)
        self.interface.rx_ready_for_response = Signal()
        self.interface.handshakes_out = HandshakeExchangeInterface(is_detector=False)

    def elaborate(self, platform):
        m = Module()
        m.submodules.endpoint = self._endpoint
        inner, outer = self._endpoint.interface, self.interface
        asked, kept, says = Signal(), Signal(2), Signal(2)
        m.d.usb += asked.eq(inner.rx_complete)
        m.d.comb += [
            inner.rx_ready_for_response.eq(asked),
            says.eq(Cat(inner.handshakes_out.ack, inner.handshakes_out.nak)),
        ]
        with m.If(asked):
            m.d.usb += kept.eq(says)
        with m.If(outer.rx_ready_for_response & ~asked):
            m.d.comb += Cat(outer.handshakes_out.ack, outer.handshakes_out.nak).eq(kept)
        with m.Elif(outer.rx_ready_for_response | ~asked):  # those to a PING come at once
            m.d.comb += Cat(outer.handshakes_out.ack, outer.handshakes_out.nak).eq(says)
        return m


def _unknown(setup) -> Signal:
    """Whether a request is one that no handler knows."""
    of_windows = (setup.type == USBRequestType.VENDOR) & (setup.request == WINDOWS)
    return (setup.type != USBRequestType.STANDARD) & ~of_windows
