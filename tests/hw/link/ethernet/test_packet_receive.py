"""Every header that a frame may have: by frames that were made by hand, and by each of their bytes."""

import random

import pytest

from haarlequin.hw.link.ethernet.address import PORT, Address
from haarlequin.hw.link.ethernet.packet_receive import PacketReceiver
from haarlequin.sim.ethernet import packets
from tests.hw.bench import simulate

BOARD = Address("10.20.30.40")
HOST, IP, FROM = bytes.fromhex("0a1122334455"), "10.20.30.1", 50_123


def packet(protocol, body, to=BOARD.ip, mac=BOARD.mac_bytes, **fields):
    return packets.ethernet(mac, HOST, packets.IPV4, packets.ipv4(IP, to, protocol, body, **fields))


def datagram(body=b"hello", port=PORT, length=None, **fields):
    return packet(packets.UDP, packets.udp(IP, FROM, BOARD.ip, port, body, length), **fields)


def ping(body=b"ping" * 14, kind=8, **fields):
    return packet(packets.ICMP, packets.echo(kind, 1, 2, body), **fields)


def request(mac=packets.EVERYONE, ip=BOARD.ip, operation=1):
    return packets.ethernet(mac, HOST, packets.ARP, packets.arp(operation, HOST, IP, bytes(6), ip))


def seen(*frames, intact=True):
    """For each frame: what it was, who sent it, and the bytes that belong to a message and to a datagram."""
    dut, found = PacketReceiver(BOARD), []

    async def testbench(context):
        for frame in frames:
            data = packets.line(frame)[len(packets.PREAMBLE) :]
            kinds, bodies = [], {"echo": bytearray(), "datagram": bytearray()}

            async def tick(kinds=kinds, bodies=bodies):
                await context.tick()
                for name, body in bodies.items():
                    if context.get(getattr(dut, f"{name}_strobe")):
                        body.append(context.get(dut.body))
                for name in ("arp", "echo", "datagram"):
                    if context.get(getattr(dut, name)):
                        source = context.get(dut.source)
                        kinds.append((name, source.mac.to_bytes(6, "big"), source.ip, source.port))

            assert context.get(dut.begin)
            for byte in data:
                context.set(dut.data, byte)
                context.set(dut.strobe, 1)
                await tick()
            context.set(dut.strobe, 0)
            for _ in range(3):
                await tick()
            context.set(dut.ended, 1)
            context.set(dut.intact, intact)
            await tick()
            context.set(dut.ended, 0)
            for _ in range(3):
                await tick()
            found.append((kinds, *map(bytes, bodies.values())))

    simulate(dut, testbench)
    return found


def names(*frames, **more):
    return [[kind for kind, *_ in kinds] for kinds, *_ in seen(*frames, **more)]


IP_NUMBER = int.from_bytes(bytes([10, 20, 30, 1]), "big")


def test_what_is_for_this_board():
    arp, echo, sent = seen(request(), ping(), datagram())
    assert [kind[:3] for kind in arp[0]] == [("arp", HOST, IP_NUMBER)]
    assert [kind[:3] for kind in echo[0]] == [("echo", HOST, IP_NUMBER)]
    assert echo[1] == packets.echo(8, 1, 2, b"ping" * 14)
    assert sent[0] == [("datagram", HOST, IP_NUMBER, FROM)]
    assert sent[2] == b"hello"


@pytest.mark.parametrize("size", [0, 1, 17, 18, 19, 1028, 1472])
def test_datagrams_of_all_lengths(size):
    """Those of less than 18 bytes are filled up with zeros, which do not belong to them."""
    body = random.Random(size).randbytes(size)
    ((kinds, _, came),) = seen(datagram(body))
    assert [name for name, *_ in kinds] == ["datagram"]
    assert came == body


def test_a_frame_that_is_not_intact_is_nothing():
    assert names(request(), ping(), datagram(), intact=False) == [[], [], []]


USUAL = packets.udp(IP, FROM, BOARD.ip, PORT, b"x" * 60)

NOTHING = {
    "a datagram for another port": datagram(port=PORT ^ 1),
    "one for another port's upper half": datagram(port=PORT ^ 0x100),
    "one to another address": datagram(to="10.20.30.41"),
    "one to another computer": datagram(mac=bytes.fromhex("02000a141e29")),
    "one to everyone": datagram(mac=packets.EVERYONE),
    "a fragment that is followed": datagram(fragment=0x2000),
    "a fragment that is not the first": datagram(fragment=0x0003),
    "a packet with options": datagram(options=b"\x01\x01\x01\x00"),
    "IPv6": datagram(version=0x65),
    "a wrong checksum": datagram(checksum=0x1234),
    "a packet that is longer than its frame": packet(packets.UDP, USUAL, length=120),
    "one whose datagram is, too": packet(
        packets.UDP, packets.udp(IP, FROM, BOARD.ip, PORT, b"x" * 60, 100), length=120
    ),
    "a ping that is longer than its frame": packet(packets.ICMP, packets.echo(8, 1, 2, b""), length=60),
    "a packet that is as long as can be": packet(packets.UDP, USUAL, length=0xFFFF),
    "a packet that is shorter than its header": packet(packets.UDP, USUAL, length=3),
    "a datagram that is longer than its packet": datagram(b"x" * 60, length=69),
    "one that is shorter": datagram(b"x" * 60, length=67),
    "TCP": packet(6, packets.udp(IP, FROM, BOARD.ip, PORT, b"")),
    "an answer to a ping": ping(kind=0),
    "another message": ping(kind=13),
    "a ping to everyone": ping(mac=packets.EVERYONE),
    "an ARP request for another": request(ip="10.20.30.41"),
    "one that is sent to another": request(mac=HOST),
    "an ARP answer": request(operation=2),
    "a frame from a group": request()[:6] + b"\x01" + request()[7:],
    "noise": random.Random(1).randbytes(300),
}


def test_what_is_nothing_and_what_comes_after_it():
    frames = [each for frame in NOTHING.values() for each in (frame, datagram())]
    came = names(*frames)
    assert dict(zip(NOTHING, came[::2], strict=True)) == {name: [] for name in NOTHING}
    assert came[1::2] == [["datagram"]] * len(NOTHING)


def test_what_does_not_matter():
    """The kind of service, the identification, DF, the lifetime, and the checksum of a datagram."""
    frame = bytearray(datagram(fragment=0, identification=7))
    frame[40] ^= 0xFF
    assert names(bytes(frame), request(mac=BOARD.mac_bytes)) == [["datagram"], ["arp"]]


@pytest.mark.parametrize("frame", [request(), ping(), datagram()], ids=["arp", "echo", "datagram"])
def test_a_byte_that_is_altered_makes_another_frame_of_it_or_is_of_no_consequence(frame):
    """By hand: which bytes of each header may be anything, if the check sequence is right."""
    free = {
        "arp": {*range(7, 12), *range(22, 38)},
        "echo": {*range(7, 12), *range(36, 42)},
        "datagram": {*range(7, 12), 34, 35, 40, 41},
    }
    name = names(frame)[0][0]
    altered = []
    for at in range(42):
        changed = bytearray(frame)
        changed[at] ^= 0x41
        altered.append(bytes(changed))
    kept = {at for at, found in enumerate(names(*altered)) if found == [name]}
    assert kept == free[name]
