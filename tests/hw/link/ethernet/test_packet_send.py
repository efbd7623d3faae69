import random
import struct

import pytest

from haarlequin.hw.link.ethernet.address import PORT, Address
from haarlequin.hw.link.ethernet.datagrams import FROM_BOARD, MOST
from haarlequin.hw.link.ethernet.packet_send import PacketSender
from haarlequin.sim.ethernet import packets
from tests.hw.bench import simulate

BOARD = Address("10.20.30.40")
HOST, IP, TO = bytes.fromhex("0a1122334455"), "255.240.30.1", 50_123
SOURCE = {
    "mac": int.from_bytes(HOST, "big"),
    "ip": int.from_bytes(bytes([255, 240, 30, 1]), "big"),
    "port": TO,
}
ENDS = {"reply_due": "replied", "tell_due": "told", "datagram_due": "sent"}


def sent(memory=b"", wait=lambda: False, cycles=400, **facts):
    """The frames that come of what is due, whose body is ``memory``; and what they were."""
    dut, frames, ends = PacketSender(BOARD), [], []

    async def testbench(context):
        for name, value in facts.items():
            context.set(getattr(dut, name), value)
        data, came = bytearray(), dut.frame
        for _ in range(cycles + len(memory)):
            place, reads = context.get(dut.at), context.get(dut.enable)
            takes = bool(data) or not wait()
            context.set(came.ready, takes)
            assert not data or context.get(came.valid), "a frame has a gap"
            if takes and context.get(came.valid):
                data.append(context.get(came.p.data))
                if context.get(came.p.last):
                    frames.append(bytes(data))
                    data.clear()
            over = [due for due, end in ENDS.items() if context.get(getattr(dut, end))]
            ends.extend(ENDS[due] for due in over)
            await context.tick()
            for due in over:
                context.set(getattr(dut, due), 0)
            if reads:
                byte = memory[place] if place < len(memory) else 0xEE
                context.set(dut.echo_data, byte)
                context.set(dut.link_data, byte)

    simulate(dut, testbench)
    return frames, ends


def frame(kind, body):
    return packets.ethernet(HOST, BOARD.mac_bytes, kind, body)


def packet(protocol, body):
    return frame(packets.IPV4, packets.ipv4(BOARD.ip, IP, protocol, body, identification=0))


def test_an_arp_reply():
    frames, ends = sent(reply_due=1, reply_to=SOURCE)
    assert frames == [frame(packets.ARP, packets.arp(2, BOARD.mac_bytes, BOARD.ip, HOST, IP))]
    assert ends == ["replied"]


@pytest.mark.parametrize("size", [0, 1, 56, 57, 1472])
def test_an_echo_reply(size):
    body = random.Random(size).randbytes(size)
    request = packets.echo(8, 3, size, body)
    facts = {"echo_length": len(request), "echo_checksum": int.from_bytes(request[2:4], "big")}
    frames, ends = sent(request, reply_due=1, echo=1, reply_to=SOURCE, **facts)
    assert frames == [packet(packets.ICMP, packets.echo(0, 3, size, body))]
    assert ends == ["replied"]


@pytest.mark.parametrize("checksum", [0xF7FE, 0xF7FF, 0xF800, 0xFFFF, 0x0000])
def test_checksums_of_echo_replies_at_the_carry(checksum):
    """The message is one whose checksum is that."""
    rest = packets.sum16(struct.pack(">BBHHH", 8, 0, checksum, 0, 0))
    request = struct.pack(">BBHHH", 8, 0, checksum, rest, 0)
    assert packets.sum16(request) == 0
    frames, _ = sent(request, reply_due=1, echo=1, reply_to=SOURCE, echo_length=8, echo_checksum=checksum)
    assert packets.sum16(packets.read_ipv4(frames[0][14:]).body) in (0, 0xFFFF)


def datagram(body, session=0xA1B2, following=0xFFFE, number=0x0102):
    data = FROM_BOARD.pack(session, following, number) + body
    return packet(packets.UDP, struct.pack(">HHHH", PORT, TO, 8 + len(data), 0) + data)


FACTS = {"to": SOURCE, "session": 0xA1B2, "following": 0xFFFE, "number": 0x0102}


@pytest.mark.parametrize("size", [1, 2, 100, MOST])
def test_a_datagram_with_bytes(size):
    body = random.Random(size).randbytes(size)
    frames, ends = sent(body, datagram_due=1, length=size, datagram=FACTS)
    assert frames == [datagram(body)]
    assert ends == ["told", "sent"]


def test_one_that_only_tells():
    """The bytes that are gathered for the next one are not in it."""
    frames, ends = sent(b"x" * 50, tell_due=1, length=50, datagram=FACTS)
    assert frames == [datagram(b"")]
    assert ends == ["told"]


def test_one_frame_after_the_other_to_a_line_that_waits():
    """An answer first; a datagram with bytes says what was to be told, too."""
    dice, body = random.Random(1), b"bytes" * 9
    frames, ends = sent(
        body,
        wait=lambda: dice.random() < 0.9,
        cycles=900,
        reply_due=1,
        datagram_due=1,
        tell_due=1,
        reply_to=SOURCE,
        datagram=FACTS,
        length=len(body),
    )
    assert frames == [
        frame(packets.ARP, packets.arp(2, BOARD.mac_bytes, BOARD.ip, HOST, IP)),
        datagram(body),
    ]
    assert ends == ["replied", "told", "sent"]
