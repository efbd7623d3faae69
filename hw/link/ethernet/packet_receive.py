"""Frames that are for this board: ARP requests, pings, and datagrams to its port."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.link.ethernet.address import PORT, Address
from haarlequin.hw.link.ethernet.checksum import InternetSum
from haarlequin.hw.link.ethernet.matcher import Matcher

SOURCE = data.StructLayout({"port": 16, "ip": 32, "mac": 48})
"""Whoever sent a frame; numbers as they are read, not as they travel."""

IP_AT, ICMP_AT, UDP_AT, UDP_BODY_AT = 14, 34, 34, 42
"""The places of a frame at which the parts of it begin."""

LIMIT = Matcher.LIMIT


Wanted = dict[int, int | tuple[int, int]]
"""Bytes that a frame must have, as `Matcher` takes them."""


def _bytes(first: int, values: bytes) -> Wanted:
    return dict(enumerate(values, first))


def wanted(address: Address) -> dict[str, Wanted]:
    """The bytes that frames must have, by what they are."""
    individual: Wanted = {6: (0, 0x01)}  # a group sends nothing
    ours, ip = _bytes(0, address.mac_bytes), address.ip_bytes
    arp = _bytes(12, bytes.fromhex("0806 0001 0800 06 04 0001")) | _bytes(38, ip)
    # Any type of service, identification and lifetime; DF may be set, but it must not be a fragment.
    ipv4 = _bytes(12, bytes.fromhex("0800 45")) | {20: (0, 0xBF), 21: 0} | _bytes(30, ip)
    return {
        "ours": individual | ours,
        "everyone": individual | _bytes(0, bytes([0xFF] * 6)),
        "arp": arp,
        "ipv4": ipv4,
        "echo": {23: 1, 34: 8, 35: 0},
        "datagram": _bytes(36, PORT.to_bytes(2, "big")) | {23: 17},
    }


class PacketReceiver(wiring.Component):
    """Looks through the headers of each frame, and says at its end what it was.

    An ARP request for this board's address may come to everyone, all else to this board alone. IPv4 packets
    must be whole, in one piece and without options, and the checksum of their header right; a datagram must
    be as long as both of its lengths say. Its own checksum is not looked at, since the frame's, of 32 bits,
    has been right. Whatever is anything else is nothing.

    Parameters
    ----------
    address : Address
        This board's.

    Members
    -------
    data : In(8)
        The byte of a frame, as of `MacReceiver`.
    strobe : In(1)
        There is a byte.
    ended : In(1)
        The frame has ended.
    intact : In(1)
        It was whole, valid while ``ended`` is high.
    begin : Out(1)
        High from the end of a frame to the first byte of the next one.
    body : Out(8)
        A byte of any packet, a cycle late.
    echo_strobe : Out(1)
        It belongs to an ICMP message, if this is one.
    datagram_strobe : Out(1)
        It belongs to the bytes of a datagram, if this is one.
    arp : Out(1)
        High for a cycle: this was an ARP request.
    echo : Out(1)
        High for a cycle: this was an echo request, all of whose bytes have come.
    datagram : Out(1)
        High for a cycle: this was a datagram, all of whose bytes have come.
    source : Out(SOURCE)
        Whoever sent it, valid in that cycle; its port where it is a datagram.
    """

    data: In(8)
    strobe: In(1)
    ended: In(1)
    intact: In(1)
    begin: Out(1)
    body: Out(8)
    echo_strobe: Out(1)
    datagram_strobe: Out(1)
    arp: Out(1)
    echo: Out(1)
    datagram: Out(1)
    source: Out(SOURCE)

    def __init__(self, address: Address):
        self._wanted = wanted(address)
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        at = Signal(range(LIMIT + 1))
        m.d.comb += self.begin.eq(at == 0)
        with m.If(self.ended):
            m.d.sync += at.eq(0)
        with m.Elif(self.strobe & (at != LIMIT)):
            m.d.sync += at.eq(at + 1)

        matches = {}
        for name, bytes_ in self._wanted.items():
            m.submodules[name] = matcher = Matcher(bytes_)
            m.d.comb += [
                matcher.begin.eq(self.begin),
                matcher.at.eq(at),
                matcher.data.eq(self.data),
                matcher.strobe.eq(self.strobe),
            ]
            matches[name] = matcher.matches

        whole = self._lengths(m, at)
        right = self._header_sum(m, at)
        self._source(m, at)
        good, for_us = Signal(), matches["ours"]
        m.d.comb += good.eq(self.ended & self.intact)
        packet = good & for_us & matches["ipv4"] & right & whole.ip
        m.d.sync += [
            self.arp.eq(good & (for_us | matches["everyone"]) & matches["arp"]),
            self.echo.eq(packet & matches["echo"]),
            self.datagram.eq(packet & matches["datagram"] & whole.udp),
        ]
        return m

    def _lengths(self, m: Module, at: Signal) -> data.View:
        """Count the bytes that the packet has left. Returns whether its lengths are right, at its end."""
        high, left = Signal(8), Signal(16)
        after, whole = Signal(range(5)), Signal(data.StructLayout({"ip": 1, "udp": 1}))
        m.d.comb += whole.ip.eq(after == 4)  # the check sequence
        within = self.strobe & (left != 0)
        m.d.sync += [
            self.body.eq(self.data),
            self.echo_strobe.eq(within & (at >= ICMP_AT)),
            self.datagram_strobe.eq(within & (at >= UDP_BODY_AT)),
        ]
        with m.If(self.begin):
            m.d.sync += [left.eq(0), after.eq(0)]
        with m.If(self.strobe):
            m.d.sync += high.eq(self.data)
            with m.If(at == IP_AT + 3):
                m.d.sync += left.eq(Cat(self.data, high) - 4)
            with m.Elif(left != 0):
                m.d.sync += left.eq(left - 1)
            with m.Elif((at > IP_AT + 3) & ~whole.ip):
                m.d.sync += after.eq(after + 1)
        # The datagram's own length, beside that of the packet's 20 bytes of header, of which 25 have passed.
        said, expected = Signal(16), Signal(16)
        with m.If(self.strobe & (at == UDP_AT + 5)):
            m.d.sync += [said.eq(Cat(self.data, high)), expected.eq(left + 5)]
        m.d.sync += whole.udp.eq(said == expected)
        return whole

    def _header_sum(self, m: Module, at: Signal) -> Signal:
        """Sum the header of the packet. Returns whether the sum is right, at its end."""
        m.submodules.sum = total = InternetSum()
        before, right = Signal(8), Signal()
        with m.If(self.strobe):
            m.d.sync += before.eq(self.data)
        m.d.comb += [
            total.begin.eq(self.begin),
            total.word.eq(Cat(self.data, before)),
            total.add.eq(self.strobe & (at >= IP_AT) & (at < ICMP_AT) & at[0]),
        ]
        m.d.sync += right.eq(total.total == 0xFFFF)
        return right

    def _source(self, m: Module, at: Signal) -> None:
        """Keep who sent the frame. An ARP request has its sender's address two bytes later than a packet."""
        is_arp = Signal()
        with m.If(self.strobe & (at == 13)):
            m.d.sync += is_arp.eq(self.data[1])  # 0806, and not 0800
        places = {"mac": (at >= 6) & (at < 12), "port": (at >= UDP_AT) & (at < UDP_AT + 2)}
        places["ip"] = Mux(is_arp, (at >= 28) & (at < 32), (at >= 26) & (at < 30))
        for name, here in places.items():
            number = self.source[name]
            with m.If(self.strobe & here):
                m.d.sync += number.eq(Cat(self.data, number))
