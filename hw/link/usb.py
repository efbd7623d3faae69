"""A USB device of full speed, made of nothing but the FPGA's own pins: bytes in, bytes out."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.usb_bulk import bulk_device

IO_HZ, USB_HZ = 48_000_000, 12_000_000
"""The clocks of the domains ``usb_io`` and ``usb``."""

PIN = wiring.Signature({"i": In(1), "o": Out(1), "oe": Out(1)})
"""A pin that is driven while ``oe`` is high."""


class UsbDevice(wiring.Component):
    """A USB device with one bulk endpoint in each direction, which carry bytes as a UART's wires do.

    It is LUNA's device with LUNA's own PHY, and `hw.link.usb_bulk` says what it does.

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
        received, to_send = wiring.flipped(self.received), wiring.flipped(self.to_send)
        bulk_device(m, pins, self._serial, received, to_send)
        return m
