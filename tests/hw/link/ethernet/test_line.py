"""The whole of it, with a computer at its wires that makes and reads frames by itself."""

import random
import struct
from collections import deque

import pytest
from amaranth.sim import Simulator

from haarlequin.hw.link.ethernet.address import PORT, Address
from haarlequin.hw.link.ethernet.datagrams import FROM_BOARD, MOST, SLOTS, TO_BOARD
from haarlequin.hw.link.ethernet.line import EthernetLine, Station
from haarlequin.hw.link.ethernet.rgmii import ETHERNET_HZ
from haarlequin.sim.ethernet import packets
from tests.hw.bench import LIMIT, limited

PERIOD = 1 / ETHERNET_HZ
BOARD = Address()


class Computer:
    """A computer at the wires of a board."""

    def __init__(self, context, line, tick, mac="0a0000000001", ip="192.168.2.1", port=5000):
        self.context, self.line, self.tick = context, line, tick
        self.mac, self.ip, self.port = bytes.fromhex(mac), ip, port

    async def put(self, raw, gap=12):
        context, wires = self.context, self.line.line_in
        for byte in raw:
            context.set(wires.data, byte)
            context.set(wires.valid, 1)
            await self.tick(1)
        context.set(wires.valid, 0)
        await self.tick(gap)

    async def send(self, kind, body, to=BOARD.mac_bytes, **more):
        await self.put(packets.line(packets.ethernet(to, self.mac, kind, body)), **more)

    async def datagram(self, session, number, data, **more):
        body = packets.udp(self.ip, self.port, BOARD.ip, PORT, TO_BOARD.pack(session, number) + data)
        await self.send(packets.IPV4, packets.ipv4(self.ip, BOARD.ip, packets.UDP, body), **more)

    async def ping(self, sequence, body=b"ping" * 14, **more):
        message = packets.echo(8, 1, sequence, body)
        await self.send(packets.IPV4, packets.ipv4(self.ip, BOARD.ip, packets.ICMP, message), **more)

    async def ask(self, **more):
        body = packets.arp(1, self.mac, self.ip, bytes(6), BOARD.ip)
        await self.send(packets.ARP, body, to=packets.EVERYONE, **more)


def simulate(testbench, to_send=b"", takes=lambda: True, line=None, ratio=1.0):
    """Run ``testbench(computer)`` against a machine that sends ``to_send``; returns the frames that the board
    has sent, and the bytes that the machine has received. ``ratio`` is the machine's period for one byte.
    """
    line = line or Station(BOARD)
    simulator, domain = Simulator(line), "sync" if isinstance(line, Station) else "ethernet"
    simulator.add_clock(PERIOD * ratio)
    if domain != "sync":
        simulator.add_clock(PERIOD, domain=domain)
    frames, received, left = [], bytearray(), deque(to_send)

    async def machine(context):
        while True:
            context.set(line.received.ready, takes())
            context.set(line.to_send.valid, bool(left))
            context.set(line.to_send.payload, left[0] if left else 0)
            if context.get(line.received.valid) and context.get(line.received.ready):
                received.append(context.get(line.received.payload))
            if left and context.get(line.to_send.ready):
                left.popleft()
            await context.tick()

    async def wires(context):
        raw = bytearray()
        async for _, _, data, valid in context.tick(domain).sample(line.line_out.data, line.line_out.valid):
            if valid:
                raw.append(data)
            elif raw:
                frames.append(packets.frame_of(bytes(raw)))
                raw.clear()

    async def computer(context):
        async def tick(cycles):
            await context.tick(domain).repeat(cycles)

        await tick(3)
        await testbench(Computer(context, line, tick))

    simulator.add_testbench(machine, background=True)
    simulator.add_testbench(wires, background=True)
    simulator.add_testbench(computer)
    with limited(LIMIT):
        simulator.run()
    return frames, bytes(received)


def datagrams(frames):
    """The session, the next number, the number and the bytes of each datagram, and whom they are for."""
    found = []
    for frame in frames:
        packet = packets.read_ipv4(frame[14:])
        port, to_port, data = packets.read_udp(packet)
        assert (packet.source, port) == (BOARD.ip, PORT)
        head = FROM_BOARD.unpack_from(data)
        found.append((*head, data[FROM_BOARD.size :], (frame[:6].hex(), packet.to, to_port)))
    return found


def test_it_answers_arp_and_ping():
    async def testbench(computer):
        await computer.ask(gap=150)
        await computer.ping(1, gap=200)
        await computer.ping(2, b"", gap=200)
        await computer.ping(3, bytes(1472), gap=1700)

    frames, _ = simulate(testbench)
    arp, *pings = frames
    assert arp[:12].hex() == "0a0000000001" + BOARD.mac.replace(":", "")
    mac = bytes.fromhex("0a0000000001")
    assert arp[14:42] == packets.arp(2, BOARD.mac_bytes, BOARD.ip, mac, "192.168.2.1")
    bodies = [packets.read_ipv4(frame[14:]).body for frame in pings]
    assert bodies == [packets.echo(0, 1, *each) for each in ((1, b"ping" * 14), (2, b""), (3, bytes(1472)))]


def test_bytes_go_both_ways_each_once_and_in_order():
    data = [random.Random(number).randbytes(size) for number, size in enumerate((3, MOST, 200, 1))]

    async def testbench(computer):
        for number in (0, 2, 1, 1, 3):
            await computer.datagram(9, number, data[number])
        await computer.tick(2500)

    frames, received = simulate(testbench, to_send=b"answer" * 200)
    assert received == b"".join(data)
    came = datagrams(frames)
    assert {session for session, *_ in came} == {9}
    assert b"".join(bytes_ for *_, bytes_, _ in came) == b"answer" * 200
    assert [number for _, _, number, bytes_, _ in came if bytes_] == [0, 1]
    assert max(following for _, following, *_ in came) == 4


def test_it_answers_whoever_spoke_last():
    """In a session; a ping from somebody else changes nothing."""

    async def testbench(computer):
        other = Computer(computer.context, computer.line, computer.tick, "0a0000000002", "192.168.2.7", 6000)
        await computer.datagram(9, 0, b"a", gap=400)
        await other.ping(1, gap=300)
        await other.datagram(8, 1, b"X", gap=400)
        await computer.datagram(9, 1, b"b", gap=400)
        await other.datagram(9, 2, b"c", gap=400)

    frames, received = simulate(testbench)
    assert received == b"abc"
    assert packets.read_ipv4(frames.pop(1)[14:]).protocol == packets.ICMP
    mine, others = ("0a0000000001", "192.168.2.1", 5000), ("0a0000000002", "192.168.2.7", 6000)
    assert [to for *_, to in datagrams(frames)] == [mine, mine, others]


def test_a_datagram_of_another_session_changes_nothing():
    """The machine takes the host's bytes only after it, and the host is told so."""
    blocked = [True]

    async def testbench(computer):
        other = Computer(computer.context, computer.line, computer.tick, "0a0000000002", "192.168.2.7", 6000)
        await computer.datagram(9, 0, b"ab", gap=100)
        await other.datagram(8, 1, b"X", gap=100)
        blocked.clear()
        await computer.tick(300)

    frames, received = simulate(testbench, takes=lambda: not blocked)
    assert received == b"ab"
    assert [to for *_, to in datagrams(frames)] == [("0a0000000001", "192.168.2.1", 5000)]


def test_nothing_is_sent_to_nobody():
    async def testbench(computer):
        await computer.tick(1500)

    assert simulate(testbench, to_send=b"early") == ([], b"")


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_then_a_datagram(seed):
    """Frames of any bytes, and right ones that were cut or altered, of which nothing may be left."""
    dice = random.Random(seed)

    async def testbench(computer):
        await computer.datagram(9, 0, b"a")
        for _ in range(25):
            body = packets.udp(computer.ip, 5000, BOARD.ip, PORT, TO_BOARD.pack(9, dice.randrange(4)) + b"XX")
            frame = packets.ethernet(
                BOARD.mac_bytes,
                computer.mac,
                packets.IPV4,
                packets.ipv4(computer.ip, BOARD.ip, packets.UDP, body),
            )
            raw = bytearray(packets.line(frame))
            what = dice.randrange(4)
            if what == 0:
                raw = dice.randbytes(dice.randrange(1, 120))
            elif what == 1:
                raw[dice.randrange(8, len(raw))] ^= 1 << dice.randrange(8)
            elif what == 2:
                raw = raw[: dice.randrange(1, len(raw))]
            else:
                raw = raw[:8] + dice.randbytes(60)
                raw += struct.pack("<I", 0)
            await computer.put(bytes(raw), gap=dice.choice((1, 12, 40)))
        await computer.tick(12)
        await computer.datagram(9, 1, b"b", gap=400)

    _, received = simulate(testbench)
    assert received == b"ab"


@pytest.mark.parametrize("ratio", [0.6, 1.9, 2.5, 7.3])
def test_the_machine_has_a_clock_of_its_own(ratio):
    dice = random.Random(1)
    data = [dice.randbytes(60) for _ in range(SLOTS)]

    async def testbench(computer):
        for number, each in enumerate(data):
            await computer.datagram(9, number, each)
        await computer.tick(round(600 * (1 + ratio)) + 1500)

    frames, received = simulate(
        testbench,
        to_send=b"answer" * 20,
        takes=lambda: dice.random() < 0.8,
        line=EthernetLine(BOARD),
        ratio=ratio,
    )
    assert received == b"".join(data)
    assert b"".join(bytes_ for *_, bytes_, _ in datagrams(frames)) == b"answer" * 20
