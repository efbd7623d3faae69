"""The device at a PHY's pins, Verilated, with a simulated host on the other end, at both speeds."""

import contextlib

import pytest

from haarlequin.hw.link import usb_bulk
from haarlequin.hw.link.usb_descriptors import descriptors
from haarlequin.hw.link.usb_ids import ENDPOINT, HIGH_SPEED_PACKET, PACKET
from haarlequin.sim.usb import packets
from haarlequin.sim.usb.host import FULL_SPEED, HIGH_SPEED
from haarlequin.sim.usb.packets import Pid
from haarlequin.sim.usb.transactor import Order
from tests.hw.link.test_usb import out, random_bytes, settle, take
from tests.sim.usb.echo import HELD, SERIAL, ULPI_CYCLES, ulpi_echo

pytestmark = pytest.mark.slow

SECONDS = 0.01

ROOM = 2 * (HIGH_SPEED_PACKET - 1) + HELD + 2 * usb_bulk.DEPTH + 2 * HIGH_SPEED_PACKET
"""Bytes that the device and what echoes them hold, about."""


@pytest.fixture(scope="module")
def plugged():
    """A host at high speed whose device has been plugged in."""
    found = ulpi_echo()
    with found.simulation:
        found.enumerate()
        yield found


def read(host, count):
    """A read ends with a short packet, or after a millisecond."""
    came = b""
    while len(came) < count:
        came += host.bulk_read(ENDPOINT, 4096, 0.001)
    return came


def begin(host):
    """Choose a configuration, and take what an earlier test has left on its way."""
    host.configure(1)
    settle(host)
    with contextlib.suppress(TimeoutError):
        while True:
            host.bulk_read(ENDPOINT, 4096, 0.0001)
    host.configure(1)
    settle(host)
    return host


@pytest.fixture
def host(plugged):
    assert plugged.speed is HIGH_SPEED
    return begin(plugged)


@pytest.fixture(scope="module")
def slow_plugged():
    """The same with a hub of full speed between them."""
    found = ulpi_echo(answers_chirps=False)
    with found.simulation:
        found.enumerate()
        yield found


@pytest.fixture
def slow_host(slow_plugged):
    assert slow_plugged.speed is FULL_SPEED
    return begin(slow_plugged)


def test_what_it_says_of_itself(host, slow_host):
    """The descriptors of the speed, and those of the other one (USB 2.0, sections 9.6.2 to 9.6.4)."""
    found = {(kind, index): bytes(raw) for kind, index, raw in descriptors(SERIAL, high_speed=True)}
    for at, number in ((host, 0), (slow_host, 1)):
        for kind in (2, 7):
            assert at.control(0x80, 6, kind << 8, 0, 255) == found[kind, number]
        for kind, index in found:
            if kind not in (2, 7):
                assert at.control(0x80, 6, int(kind) << 8 | index, 0, 255) == found[kind, index]


@pytest.mark.parametrize("request_", [0x0201, 0x0202, 0x0701, 0x0601, 0x0400, 0x0900])
def test_a_descriptor_that_there_is_not_is_refused(host, request_):
    with pytest.raises(BrokenPipeError):
        host.control(0x80, 6, request_, 0, 255)
    assert host.control(0x80, 8, 0, 0, 1) == b"\1"


@pytest.mark.parametrize("count", [1, 63, 64, 65, 511, 512, 513, 1023, 1024, 1100])
def test_bytes_come_back(host, count):
    data = random_bytes(count)
    assert host.bulk_write(ENDPOINT, data, SECONDS) == count
    assert read(host, count) == data


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 511, 512, 513])
def test_bytes_come_back_at_full_speed(slow_host, count):
    data = random_bytes(count)
    assert slow_host.bulk_write(ENDPOINT, data, SECONDS) == count
    assert read(slow_host, count) == data


def test_packets_have_the_size_of_the_speed(host, slow_host):
    for at, size in ((host, HIGH_SPEED_PACKET), (slow_host, PACKET)):
        data = random_bytes(1000)
        assert at.bulk_write(ENDPOINT, data, SECONDS) == 1000
        settle(at)
        came, sizes, wanted = b"", [], Pid.DATA0
        while len(came) < 1000:
            pid, piece = take(at)
            if pid == Pid.NAK:
                continue
            assert pid == wanted
            wanted = Pid.DATA1 if wanted == Pid.DATA0 else Pid.DATA0
            came += piece
            sizes.append(len(piece))
        assert came == data
        assert max(sizes) == size
        assert len(sizes) <= -(-1000 // size) + 2


def test_an_empty_packet_is_none(host):
    assert out(host, Pid.DATA0, b"") == Pid.ACK
    assert out(host, Pid.DATA1, b"abc") == Pid.ACK
    assert read(host, 3) == b"abc"
    with pytest.raises(TimeoutError):
        host.bulk_read(ENDPOINT, 512, 0.001)


@pytest.mark.parametrize("speed", ["host", "slow_host"])
def test_a_full_device_refuses_and_loses_nothing(request, speed):
    at = request.getfixturevalue(speed)
    data = random_bytes(4000)
    sent = at.bulk_write(ENDPOINT, data, 0.003)
    assert ROOM - 2 * HIGH_SPEED_PACKET - PACKET <= sent <= ROOM
    with pytest.raises(TimeoutError):
        at.bulk_write(ENDPOINT, data[sent:], 0.001)
    came = b""
    while len(came) < len(data):
        came += at.bulk_read(ENDPOINT, at.speed.packet, SECONDS)
        with contextlib.suppress(TimeoutError):
            sent += at.bulk_write(ENDPOINT, data[sent:], 0.0002)
    assert came == data


def ping(host, endpoint=ENDPOINT):
    answer = host._exchange([(Order.LISTEN, packets.token(Pid.PING, host._address, endpoint))])
    return packets.kind(answer)


def test_a_ping_asks_for_room(host):
    """A packet is taken after a PING that was acknowledged, and refused after one that was not."""
    toggle, sent = False, b""
    while ping(host) == Pid.ACK:
        piece = random_bytes(HIGH_SPEED_PACKET, seed=len(sent))
        assert out(host, Pid.DATA1 if toggle else Pid.DATA0, piece) == Pid.ACK
        toggle, sent = not toggle, sent + piece
        settle(host)
    assert out(host, Pid.DATA1 if toggle else Pid.DATA0, bytes(HIGH_SPEED_PACKET)) == Pid.NAK
    assert read(host, len(sent)) == sent
    assert ping(host) == Pid.ACK
    assert ping(host, endpoint=2) is None


@pytest.mark.parametrize("speed", ["host", "slow_host"])
def test_a_damaged_packet_is_not_taken_and_can_be_sent_again(request, speed):
    at = request.getfixturevalue(speed)
    for place in (1, 5, -1):
        bad = lambda packet, at=place: packet[:at] + bytes([packet[at] ^ 0x10]) + packet[at:][1:]  # noqa: E731
        assert out(at, Pid.DATA0, b"damaged", damage=bad) is None
    assert out(at, Pid.DATA0, b"damaged", damage=lambda packet: packet[:5]) is None
    assert out(at, Pid.DATA0, b"whole") == Pid.ACK
    assert read(at, 5) == b"whole"


@pytest.mark.parametrize("speed", ["host", "slow_host"])
def test_a_packet_whose_acknowledgement_was_lost_is_taken_once(request, speed):
    at = request.getfixturevalue(speed)
    for _ in range(3):
        assert out(at, Pid.DATA0, b"once") == Pid.ACK
    assert out(at, Pid.DATA1, b"twice") == Pid.ACK
    settle(at)
    assert read(at, 9) == b"oncetwice"


@pytest.mark.parametrize("speed", ["host", "slow_host"])
def test_a_packet_that_was_not_acknowledged_comes_again(request, speed):
    at = request.getfixturevalue(speed)
    at.bulk_write(ENDPOINT, b"again", SECONDS)
    settle(at)
    for _ in range(3):
        assert take(at, acknowledge=False) == (Pid.DATA0, b"again")
    assert take(at) == (Pid.DATA0, b"again")
    at.bulk_write(ENDPOINT, b"next", SECONDS)
    settle(at)
    assert take(at) == (Pid.DATA1, b"next")
    assert take(at) == (Pid.NAK, None)


def test_a_packet_that_is_too_long_does_no_lasting_harm(host):
    for count in (513, 700):
        out(host, Pid.DATA0, random_bytes(count))
        begin(host)
        host.bulk_write(ENDPOINT, b"after", SECONDS)
        assert read(host, 5) == b"after"


def test_a_reset_at_high_speed_and_a_hub_that_is_changed():
    """Packets that wait are dropped, the address is gone, and the speed is that of the host that is there."""
    host = ulpi_echo()
    with host.simulation:
        for answers, speed in ((True, HIGH_SPEED), (False, FULL_SPEED), (True, HIGH_SPEED)):
            host._answers_chirps = answers
            host.reset()
            assert host.speed is speed
            host._address = 5
            with pytest.raises(OSError, match="does not answer"):
                host.control(0x80, 6, 0x0100, 0, 18)
            host._address = 0
            host.control(0x00, 5, 5, 0, b"")
            host._address = 5
            host.configure(1)
            assert host.control(0x80, 6, 0x0200, 0, 255)[22:24] == speed.packet.to_bytes(2, "little")
            data = random_bytes(100, seed=speed.packet)
            host.bulk_write(ENDPOINT, data, SECONDS)
            assert read(host, 100) == data
            host.bulk_write(ENDPOINT, b"left behind", SECONDS)


def test_a_bus_that_sleeps_is_there_after_a_reset():
    """After 3 ms without a token the device has its resistor of full speed (USB 2.0, section 7.1.7.6)."""
    host = ulpi_echo()
    with host.simulation:
        host.enumerate()
        assert host.simulation.receive(4 * ULPI_CYCLES * 60_000) == b""
        host.enumerate()
        assert host.speed is HIGH_SPEED
        host.configure(1)
        host.bulk_write(ENDPOINT, b"awake", SECONDS)
        assert read(host, 5) == b"awake"
