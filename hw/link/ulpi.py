"""A USB device of high speed at a PHY with ULPI, such as a USB3300: bytes in, bytes out."""

from types import SimpleNamespace

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.usb_bulk import bulk_device

ULPI_HZ = 60_000_000
"""The PHY's clock, that of the domain ``usb``."""


class UlpiDevice(wiring.Component):
    """A USB device with one bulk endpoint in each direction, which carry bytes as a UART's wires do.

    It is LUNA's device with LUNA's end of ULPI, and `hw.link.usb_bulk` says what it does. It asks its host
    for high speed after each reset of the bus. Where the host or a hub has full speed alone, so has the
    device: its packets and its descriptors are those of the speed that the bus has.

    LUNA has no NYET: a packet that fits is acknowledged, and where the next one does not fit it is refused,
    and the host asks by PING until there is room again. LUNA has no test modes either (USB 2.0, section
    7.1.20).

    Parameters
    ----------
    serial : str
        The serial number, by which hosts tell devices apart.

    Members
    -------
    data_in : In(8)
        The wires of the data.
    data_out, driving : Out(8), Out(1)
        What is driven onto them, while ``driving`` is high.
    dir, nxt, stp : In(1), In(1), Out(1)
        The other wires of ULPI. In the same cycle, ``driving`` follows ``dir``, and ``data_out`` and ``stp``
        follow ``nxt``.
    received : Out(stream.Signature(8))
        Bytes that have arrived.
    to_send : In(stream.Signature(8))
        Bytes to send.

    Besides ``sync``, the machine's clock, it takes the domain ``usb`` of the PHY's clock, `ULPI_HZ`, which
    needs no reset but must not be one without. The PHY must have been reset before the first millisecond of
    that clock is over.
    """

    data_in: In(8)
    data_out: Out(8)
    driving: Out(1)
    dir: In(1)
    nxt: In(1)
    stp: Out(1)
    received: Out(stream.Signature(8))
    to_send: In(stream.Signature(8))

    def __init__(self, serial: str):
        self._serial = serial
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        bus = SimpleNamespace(
            data=SimpleNamespace(i=self.data_in, o=self.data_out, oe=self.driving),
            dir=SimpleNamespace(i=self.dir),
            nxt=SimpleNamespace(i=self.nxt),
            stp=SimpleNamespace(o=self.stp),
            rst=SimpleNamespace(o=Signal()),  # with it, LUNA leaves the PHY alone for a millisecond
        )
        received, to_send = wiring.flipped(self.received), wiring.flipped(self.to_send)
        bulk_device(m, bus, self._serial, received, to_send, high_speed=True)
        return m
