"""Ethernet as a line: frames of a PHY on one side, bytes of an accelerator on the other."""

from amaranth.hdl import DomainRenamer, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ethernet.address import Address
from haarlequin.hw.link.ethernet.echo import EchoBuffer
from haarlequin.hw.link.ethernet.inbox import Inbox
from haarlequin.hw.link.ethernet.mac_receive import MacReceiver
from haarlequin.hw.link.ethernet.mac_send import MacSender
from haarlequin.hw.link.ethernet.outbox import Outbox
from haarlequin.hw.link.ethernet.packet_receive import SOURCE, PacketReceiver
from haarlequin.hw.link.ethernet.packet_send import PacketSender
from haarlequin.hw.link.ethernet.rgmii import GMII

DEPTH = 16
"""Bytes that wait on the way between the two clocks, in each direction."""


class Station(wiring.Component):
    """A computer on a network that answers ARP requests and pings, and carries bytes in datagrams.

    It talks to whoever sent the last datagram of the session, at the address and port of that one, and so has
    to ask nobody. While it answers an ARP request or a ping, others are not heard.

    Parameters
    ----------
    address : Address
        Its address.

    Members
    -------
    line_in : In(GMII)
        The bytes from the PHY.
    line_out : Out(GMII)
        The bytes to it.
    received : Out(stream.Signature(8))
        The link's bytes from the host, each once and in order.
    to_send : In(stream.Signature(8))
        The link's bytes to it. A datagram that is lost is not sent again.
    """

    line_in: In(GMII)
    line_out: Out(GMII)
    received: Out(stream.Signature(8))
    to_send: In(stream.Signature(8))

    def __init__(self, address: Address):
        self._address = address
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.mac_receiver = mac_in = MacReceiver()
        m.submodules.mac_sender = mac_out = MacSender()
        m.submodules.packet_receiver = came = PacketReceiver(self._address)
        m.submodules.packet_sender = leaves = PacketSender(self._address)
        m.submodules.echo_buffer = echo = EchoBuffer()
        m.submodules.inbox = inbox = Inbox()
        m.submodules.outbox = outbox = Outbox()
        wiring.connect(m, wiring.flipped(self.line_in), mac_in.line)
        wiring.connect(m, mac_out.line, wiring.flipped(self.line_out))
        wiring.connect(m, inbox.received, wiring.flipped(self.received))
        wiring.connect(m, wiring.flipped(self.to_send), outbox.to_send)
        wiring.connect(m, leaves.frame, mac_out.frame)
        for name in ("data", "strobe", "ended", "intact"):
            m.d.comb += getattr(came, name).eq(getattr(mac_in, name))
        for block, strobe in ((echo, came.echo_strobe), (inbox, came.datagram_strobe)):
            m.d.comb += [block.begin.eq(came.begin), block.body.eq(came.body), block.strobe.eq(strobe)]

        asked, reply_to, pinged = Signal(), Signal(SOURCE), Signal()
        with m.If(leaves.replied):
            m.d.sync += asked.eq(0)
        with m.Elif(~asked & (came.arp | echo.taken)):
            m.d.sync += [asked.eq(1), pinged.eq(echo.taken), reply_to.eq(came.source)]
        host, tell = Signal(SOURCE), Signal()
        with m.If(inbox.heard):
            m.d.sync += host.eq(came.source)
        m.d.sync += tell.eq((tell & ~leaves.told) | inbox.tell)
        m.d.comb += [
            echo.echo.eq(came.echo),
            echo.busy.eq(asked),
            inbox.datagram.eq(came.datagram),
            leaves.reply_due.eq(asked),
            leaves.echo.eq(pinged),
            leaves.reply_to.eq(reply_to),
            leaves.echo_length.eq(echo.length),
            leaves.echo_checksum.eq(echo.checksum),
            leaves.datagram_due.eq(outbox.due & inbox.active),
            leaves.tell_due.eq(tell),
            leaves.datagram.to.eq(host),
            leaves.datagram.session.eq(inbox.session),
            leaves.datagram.following.eq(inbox.following),
            leaves.datagram.number.eq(outbox.number),
            leaves.length.eq(outbox.length),
            leaves.echo_data.eq(echo.data),
            leaves.link_data.eq(outbox.data),
            outbox.sent.eq(leaves.sent),
        ]
        for memory in (echo, outbox):
            m.d.comb += [memory.at.eq(leaves.at), memory.enable.eq(leaves.enable)]
        return m


class EthernetLine(wiring.Component):
    """A `Station` with the clock of its PHY, and the link's bytes with the accelerator's.

    Parameters
    ----------
    address : Address
        Its address.

    Members
    -------
    line_in : In(GMII)
        The bytes from the PHY.
    line_out : Out(GMII)
        The bytes to it.
    received : Out(stream.Signature(8))
        Bytes that have arrived.
    to_send : In(stream.Signature(8))
        Bytes to send.

    Besides ``sync``, the machine's clock, it takes the domain ``ethernet`` of `rgmii.ETHERNET_HZ`. A reset of
    the machine leaves what waits here as it is.
    """

    line_in: In(GMII)
    line_out: Out(GMII)
    received: Out(stream.Signature(8))
    to_send: In(stream.Signature(8))

    def __init__(self, address: Address):
        self._address = address
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.station = station = DomainRenamer("ethernet")(Station(self._address))
        # `hw.families.family.PREPARE` knows memories with two clocks by these names.
        m.submodules.crossing_in = inward = AsyncFIFO(
            width=8, depth=DEPTH, w_domain="ethernet", r_domain="sync"
        )
        m.submodules.crossing_out = outward = AsyncFIFO(
            width=8, depth=DEPTH, w_domain="sync", r_domain="ethernet"
        )
        wiring.connect(m, wiring.flipped(self.line_in), station.line_in)
        wiring.connect(m, station.line_out, wiring.flipped(self.line_out))
        wiring.connect(m, station.received, inward.w_stream)
        wiring.connect(m, inward.r_stream, wiring.flipped(self.received))
        wiring.connect(m, wiring.flipped(self.to_send), outward.w_stream)
        wiring.connect(m, outward.r_stream, station.to_send)
        return m
