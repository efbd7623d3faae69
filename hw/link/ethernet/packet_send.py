"""Answers become frames: ARP replies, echo replies, and datagrams."""

from collections.abc import Mapping, Sequence
from enum import Enum

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.link.ethernet.address import PORT, Address
from haarlequin.hw.link.ethernet.checksum import InternetSum, checksum
from haarlequin.hw.link.ethernet.datagrams import FROM_BOARD, MOST
from haarlequin.hw.link.ethernet.echo import BEFORE, PLACES
from haarlequin.hw.link.ethernet.mac_send import FRAME_BYTE
from haarlequin.hw.link.ethernet.packet_receive import ICMP_AT, IP_AT, SOURCE, UDP_BODY_AT


class Kind(Enum):
    """The frames that a board sends."""

    ARP = 0
    ECHO = 1
    DATAGRAM = 2


PROTOCOLS = {Kind.ECHO: 1, Kind.DATAGRAM: 17}
"""The numbers of the protocols in IPv4 packets, ICMP and UDP."""

DATAGRAM = data.StructLayout({"to": SOURCE, "session": 16, "following": 16, "number": 16})
"""The facts of a datagram's headers, beside its length."""

HEADERS = {Kind.ARP: IP_AT + 28, Kind.ECHO: ICMP_AT + BEFORE, Kind.DATAGRAM: UDP_BODY_AT + FROM_BOARD.size}
"""Bytes of a frame that are made here."""

GROUP = 4
"""Bytes among which the first of two registers chooses."""

PREPARED = 9
"""Cycles before a frame, in which its lengths and its checksum are computed."""


class PacketSender(wiring.Component):
    """Sends what is due, one frame after another: an answer to somebody before a datagram to the host.

    Parameters
    ----------
    address : Address
        This board's.

    Members
    -------
    reply_due : In(1)
        Somebody asked. It stays until ``replied``, and so do all facts of the answer.
    echo : In(1)
        It was a ping, else an ARP request.
    reply_to : In(SOURCE)
        Whoever that was.
    echo_length : In(range(PLACES))
        Bytes of the ping's message.
    echo_checksum : In(16)
        Its checksum.
    datagram_due : In(1)
        A datagram is to be sent, with bytes.
    tell_due : In(1)
        One is to be sent, if only for its header.
    datagram : In(DATAGRAM)
        The facts of its headers. They are taken in the cycle of ``told``.
    length : In(range(MOST + 1))
        Its bytes of the link, if it is due.
    at : Out(range(PLACES))
        The byte of the message, or of the datagram, to read.
    enable : Out(1)
        Read it.
    echo_data : In(8)
        That byte of the message, a cycle later.
    link_data : In(8)
        That byte of the datagram, a cycle later.
    replied : Out(1)
        High for a cycle: the answer has left.
    told : Out(1)
        High for a cycle: a datagram has begun.
    sent : Out(1)
        High for a cycle: a datagram with bytes has left.
    frame : Out(stream.Signature(FRAME_BYTE))
        The bytes of the frames. From the first one that is taken on, there is one in each cycle.
    """

    reply_due: In(1)
    echo: In(1)
    reply_to: In(SOURCE)
    echo_length: In(range(PLACES))
    echo_checksum: In(16)
    datagram_due: In(1)
    tell_due: In(1)
    datagram: In(DATAGRAM)
    length: In(range(MOST + 1))
    at: Out(range(PLACES))
    enable: Out(1)
    echo_data: In(8)
    link_data: In(8)
    replied: Out(1)
    told: Out(1)
    sent: Out(1)
    frame: Out(stream.Signature(FRAME_BYTE))

    def __init__(self, address: Address):
        self._address = address
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        kind, facts, carried = Signal(Kind), Signal(DATAGRAM), Signal()
        body, header = Signal(range(PLACES)), Signal(range(max(HEADERS.values()) + 1))
        ip_length, udp_length, last_at = Signal(16), Signal(16), Signal(range(PLACES))
        step, index = Signal(range(PREPARED + 1)), Signal(range(PLACES))
        sending, in_body, move = Signal(), Signal(), Signal()
        m.d.comb += [move.eq(~self.frame.valid | self.frame.ready), self.enable.eq(move)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [step.eq(0), index.eq(0), in_body.eq(0), carried.eq(0)]
                m.d.sync += [facts.eq(self.datagram), body.eq(0)]
                with m.If(self.reply_due):
                    m.d.sync += [kind.eq(Mux(self.echo, Kind.ECHO, Kind.ARP)), facts.to.eq(self.reply_to)]
                    with m.If(self.echo):
                        m.d.sync += body.eq(self.echo_length - BEFORE)
                    m.next = "PREPARE"
                with m.Elif(self.datagram_due | self.tell_due):
                    m.d.comb += self.told.eq(1)
                    m.d.sync += [kind.eq(Kind.DATAGRAM), carried.eq(self.datagram_due)]
                    with m.If(self.datagram_due):
                        m.d.sync += body.eq(self.length)
                    m.next = "PREPARE"
            with m.State("PREPARE"):
                with m.Switch(kind):
                    for one, size in HEADERS.items():
                        with m.Case(one):
                            m.d.sync += header.eq(size)
                m.d.sync += [
                    step.eq(step + 1),
                    ip_length.eq(header - IP_AT + body),
                    udp_length.eq(header - ICMP_AT + body),
                    last_at.eq(header - 1 + body),
                    self.at.eq(Mux(kind == Kind.ECHO, BEFORE, 0)),
                ]
                with m.If(step == PREPARED):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += sending.eq(1)
                with m.If(move):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == header - 1):
                        m.d.sync += in_body.eq(1)
                    with m.If(in_body):
                        m.d.sync += self.at.eq(self.at + 1)
                    with m.If(index == last_at):
                        m.next = "LEAVE"
            with m.State("LEAVE"), m.If(self.frame.valid & self.frame.ready & self.frame.p.last):
                m.d.comb += [self.replied.eq(kind != Kind.DATAGRAM), self.sent.eq(carried)]
                m.next = "IDLE"

        headers = self._headers(
            m, facts, ip_length, udp_length, self._header_sum(m, kind, facts, ip_length, step)
        )
        # Two registers between the number of a byte and the byte, as many as one from a memory passes.
        groups = [Signal(8, name=f"group_{number}") for number in range(-(-max(HEADERS.values()) // GROUP))]
        filled, ends, is_body, group = Signal(), Signal(), Signal(), Signal(range(len(groups)))
        stored = Mux(kind == Kind.ECHO, self.echo_data, self.link_data)
        with m.If(move):
            for number, chosen in enumerate(groups):
                places = range(GROUP * number, GROUP * (number + 1))
                each = Array(_by_kind(kind, headers, place) for place in places)
                m.d.sync += chosen.eq(each[index[: ceil_log2(GROUP)]])
            m.d.sync += [
                filled.eq(sending),
                ends.eq(index == last_at),
                is_body.eq(in_body),
                group.eq(index[ceil_log2(GROUP) :]),
                self.frame.valid.eq(filled),
                self.frame.p.last.eq(ends),
                self.frame.p.data.eq(Mux(is_body, stored, Array(groups)[group])),
            ]
        return m

    def _header_sum(self, m: Module, kind: Value, facts: data.View, length: Value, step: Value) -> Value:
        """The checksum of the IPv4 header: over its constants, its length and its receiver's address."""
        m.submodules.sum = total = InternetSum()
        fixed = {one: self._fixed(one) for one in PROTOCOLS}
        words = {
            1: Mux(kind == Kind.ECHO, fixed[Kind.ECHO], fixed[Kind.DATAGRAM]),
            2: length,
            3: facts.to.ip[16:],
            4: facts.to.ip[:16],
        }
        m.d.comb += total.begin.eq(step == 0)
        with m.Switch(step):
            for number, word in words.items():
                with m.Case(number):
                    m.d.comb += [total.word.eq(word), total.add.eq(1)]
        return ~total.total

    def _headers(
        self, m: Module, facts: data.View, ip_length: Value, udp_length: Value, ip_checksum: Value
    ) -> dict[Kind, list[ValueLike]]:
        """The bytes of each kind's headers."""
        total, echo_checksum = Signal(17), Signal(16)
        m.d.sync += total.eq(self.echo_checksum + 0x0800)  # its type, 8, becomes 0
        m.d.sync += echo_checksum.eq(total[:16] + total[16])
        address, to = self._address, facts.to
        arp = [*_ethernet(address, to, 0x0806), *bytes.fromhex("0001 0800 06 04 0002"), *address.mac_bytes]
        arp += [*address.ip_bytes, *_bytes(to.mac), *_bytes(to.ip)]
        echo, datagram = (
            [*_ethernet(address, to, 0x0800), *_ip(address, to.ip, ip_length, protocol, ip_checksum)]
            for protocol in (PROTOCOLS[Kind.ECHO], PROTOCOLS[Kind.DATAGRAM])
        )
        echo += [0, 0, *_bytes(echo_checksum)]
        datagram += [*PORT.to_bytes(2, "big"), *_bytes(to.port), *_bytes(udp_length), 0, 0]  # no checksum
        for number in (facts.session, facts.following, facts.number):
            datagram += _bytes(number)
        return {Kind.ARP: arp, Kind.ECHO: echo, Kind.DATAGRAM: datagram}

    def _fixed(self, kind: Kind) -> int:
        """The sum of those words of an IPv4 header that are always the same."""
        header = _ip(self._address, Const(0, 32), Const(0, 16), PROTOCOLS[kind], Const(0, 16))
        return ~checksum(bytes(0 if isinstance(byte, Value) else byte for byte in header)) & 0xFFFF


def _bytes(number: Value) -> list[Value]:
    """The bytes of a number, the highest first, as they travel."""
    return [number[at : at + 8] for at in reversed(range(0, len(number), 8))]


def _ethernet(address: Address, to: data.View, protocol: int) -> list[ValueLike]:
    return [*_bytes(to.mac), *address.mac_bytes, *protocol.to_bytes(2, "big")]


def _ip(address: Address, to: Value, length: Value, protocol: int, checksum: Value) -> list[ValueLike]:
    """An IPv4 header that may not be cut into fragments, and lives for 64 hops."""
    first = [0x45, 0, *_bytes(length), 0, 0, 0x40, 0, 64, protocol]
    return [*first, *_bytes(checksum), *address.ip_bytes, *_bytes(to)]


def _by_kind(kind: Value, headers: Mapping[Kind, Sequence[ValueLike]], place: int) -> Value:
    """The byte at that place of the header, of the kind that is sent; 0 beyond its end."""
    arp, echo, datagram = (
        Value.cast(bytes_[place] if place < len(bytes_) else 0) for bytes_ in headers.values()
    )
    if repr(echo) == repr(datagram):
        return echo if repr(arp) == repr(echo) else Mux(kind == Kind.ARP, arp, echo)
    return Mux(kind == Kind.ARP, arp, Mux(kind == Kind.ECHO, echo, datagram))
