"""The device at its wires, Verilated, with a simulated host on the other end."""

import contextlib
import random

import pytest

from haarlequin.hw.link.usb import IO_HZ, USB_HZ
from haarlequin.hw.link.usb_descriptors import descriptors
from haarlequin.hw.link.usb_ids import ENDPOINT, MANUFACTURER, PACKET, PRODUCT, PRODUCT_ID, VENDOR_ID
from haarlequin.sim.usb import packets
from haarlequin.sim.usb.packets import Pid
from haarlequin.sim.usb.transactor import Order
from tests.sim.usb.echo import HELD, SERIAL, echo

pytestmark = pytest.mark.slow

SECONDS = 0.01
"""How long a transfer may take: ten frames."""

ROOM = 2 * (PACKET - 1) + HELD + 2 * 16 + 2 * PACKET
"""Bytes that the device and what echoes them hold, about."""


@pytest.fixture
def host():
    """One whose device has an address and a configuration."""
    found = echo()
    with found.simulation:
        found.enumerate()
        found.configure(1)
        yield found


def random_bytes(count, seed=0):
    """With many bytes of ones, which are stuffed."""
    dice = random.Random(seed)
    return bytes(dice.choice((0xFF, dice.randrange(256))) for _ in range(count))


def read(host, count):
    came = b""
    while len(came) < count:
        came += host.bulk_read(ENDPOINT, 4096, SECONDS)
    return came


def test_clocks():
    assert IO_HZ == 4 * USB_HZ


def test_what_it_says_of_itself(host):
    found = {(kind, index): bytes(raw) for kind, index, raw in descriptors(SERIAL)}
    for (kind, index), raw in found.items():
        came = host.control(0x80, 6, int(kind) << 8 | index, 0, 255)
        assert came == raw, (kind, index)
    device = found[1, 0]
    assert int.from_bytes(device[8:10], "little") == VENDOR_ID
    assert int.from_bytes(device[10:12], "little") == PRODUCT_ID
    texts = [raw[2:].decode("utf-16le") for (kind, index), raw in found.items() if kind == 3 and index]
    assert texts == [MANUFACTURER, PRODUCT, SERIAL, "MSFT100\xee"]


def test_windows_finds_its_driver(host):
    """By the two descriptors of "Microsoft OS Descriptors", version 1.0."""
    compatible = host.control(0xC0, 0xEE, 0, 4, 255)
    assert len(compatible) == int.from_bytes(compatible[:4], "little") == 40
    assert compatible[18:26] == b"WINUSB\0\0"
    properties = host.control(0xC1, 0xEE, 0, 5, 255)
    assert len(properties) == int.from_bytes(properties[:4], "little")
    assert "DeviceInterfaceGUID\0".encode("utf-16le") in properties
    assert "{8d0b4d9e-5f0a-4f57-9a55-0f4c3b3e1d63}\0".encode("utf-16le") in properties
    # Windows asks for the first bytes alone, to learn how many there are.
    assert host.control(0xC0, 0xEE, 0, 4, 16) == compatible[:16]


@pytest.mark.parametrize("request_", [(0xC0, 0x12), (0xA1, 0x21), (0x80, 99)])
def test_a_request_that_it_does_not_know_is_refused_and_the_next_one_is_not(host, request_):
    with pytest.raises(BrokenPipeError):
        host.control(*request_, 0, 0, 8)
    assert host.control(0x80, 8, 0, 0, 1) == b"\1"  # its configuration


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 127, 128, 129, 200])
def test_bytes_come_back(host, count):
    data = random_bytes(count)
    assert host.bulk_write(ENDPOINT, data, SECONDS) == count
    assert read(host, count) == data


def test_an_empty_packet_is_none(host):
    assert out(host, Pid.DATA0, b"") == Pid.ACK
    assert out(host, Pid.DATA1, b"abc") == Pid.ACK
    assert read(host, 3) == b"abc"
    with pytest.raises(TimeoutError):
        host.bulk_read(ENDPOINT, 64, 0.001)


def test_bytes_that_follow_each_other_go_out_in_full_packets(host):
    before = host.packets
    assert host.bulk_write(ENDPOINT, bytes(100), SECONDS) == 100
    assert host.packets == before + 2
    assert len(host.bulk_read(ENDPOINT, 4096, SECONDS)) == 100  # a packet of 64 bytes, and one of 36
    assert host.packets == before + 4


def test_a_full_device_refuses_and_loses_nothing(host):
    data = random_bytes(600)
    sent = host.bulk_write(ENDPOINT, data, 0.004)
    assert ROOM - 2 * PACKET <= sent <= ROOM
    with pytest.raises(TimeoutError):
        host.bulk_write(ENDPOINT, data[sent:], 0.001)
    came = b""
    while len(came) < len(data):
        came += host.bulk_read(ENDPOINT, 64, SECONDS)
        with contextlib.suppress(TimeoutError):
            sent += host.bulk_write(ENDPOINT, data[sent:], 0.0002)
    assert came == data


def out(host, pid, payload, address=None, damage=lambda packet: packet):
    """Send a packet to the endpoint once; returns the kind of the answer."""
    token = packets.token(Pid.OUT, host._address if address is None else address, ENDPOINT)
    answer = host._exchange([(Order(0), token), (Order.LISTEN, damage(packets.data(pid, payload)))])
    return packets.kind(answer)


def take(host, acknowledge=True):
    """Take a packet of the endpoint once; returns (its kind, its payload)."""
    order = Order.LISTEN | (Order.ACKNOWLEDGE if acknowledge else Order(0))
    answer = host._exchange([(order, packets.token(Pid.IN, host._address, ENDPOINT))])
    return packets.kind(answer), packets.payload(answer)


def settle(host):
    """Let some microseconds pass."""
    for number in range(4):
        host._exchange([(Order.LISTEN, packets.start_of_frame(number))])


def test_a_damaged_packet_is_not_taken_and_can_be_sent_again(host):
    for at in (1, 5, -1):
        bad = lambda packet, at=at: packet[:at] + bytes([packet[at] ^ 0x10]) + packet[at:][1:]  # noqa: E731
        assert out(host, Pid.DATA0, b"damaged", damage=bad) is None
    assert out(host, Pid.DATA0, b"whole") == Pid.ACK
    settle(host)
    assert take(host) == (Pid.DATA0, b"whole")


def test_a_packet_whose_acknowledgement_was_lost_is_taken_once(host):
    for _ in range(3):
        assert out(host, Pid.DATA0, b"once") == Pid.ACK
    assert out(host, Pid.DATA1, b"twice") == Pid.ACK
    settle(host)
    assert read(host, 9) == b"oncetwice"


def test_a_packet_that_was_not_acknowledged_comes_again(host):
    host.bulk_write(ENDPOINT, b"again", SECONDS)
    settle(host)
    for _ in range(3):
        assert take(host, acknowledge=False) == (Pid.DATA0, b"again")
    assert take(host) == (Pid.DATA0, b"again")
    host.bulk_write(ENDPOINT, b"next", SECONDS)
    settle(host)
    assert take(host) == (Pid.DATA1, b"next")
    assert take(host) == (Pid.NAK, None)


def test_what_is_meant_for_others_is_not_heard(host):
    assert out(host, Pid.DATA0, b"other", address=host._address + 1) is None
    token = bytearray(packets.token(Pid.OUT, host._address, ENDPOINT))
    token[2] ^= 0x20  # of its checksum
    host._exchange([(Order(0), bytes(token)), (Order.LISTEN, packets.data(Pid.DATA0, b"other"))])
    assert out(host, Pid.DATA0, b"own") == Pid.ACK
    settle(host)
    assert take(host) == (Pid.DATA0, b"own")


def test_a_packet_that_is_too_long_does_no_lasting_harm(host):
    out(host, Pid.DATA0, random_bytes(120))
    host.enumerate()
    host.configure(1)
    with_rest = b""
    host.bulk_write(ENDPOINT, b"after", SECONDS)
    while not with_rest.endswith(b"after"):
        with_rest += host.bulk_read(ENDPOINT, 4096, SECONDS)


@pytest.mark.parametrize("again", ["reset", "configure"])
def test_both_ends_count_anew(host, again):
    """An odd number of packets each way; LUNA's own endpoints go on where they were."""
    host.bulk_write(ENDPOINT, b"first", SECONDS)
    assert read(host, 5) == b"first"
    host.bulk_write(ENDPOINT, bytes(600), 0.004)  # packets are left waiting on both ways
    if again == "reset":
        host.enumerate()
    host.configure(1)
    settle(host)
    pid, _ = take(host)
    assert pid in (Pid.DATA0, Pid.NAK)
    host.enumerate()
    host.configure(1)
    came = b""
    host.bulk_write(ENDPOINT, b"anew", SECONDS)
    while not came.endswith(b"anew"):
        came += host.bulk_read(ENDPOINT, 4096, SECONDS)


def test_a_device_that_was_reset_has_no_address(host):
    host._exchange([(Order(0), b"")])
    with pytest.raises(OSError, match="does not answer"):
        host.control(0x80, 6, 0x0100, 0, 18)
    host.enumerate()
    assert len(host.control(0x80, 6, 0x0100, 0, 18)) == 18


def test_a_bus_that_sleeps_and_wakes(host):
    """After 3 ms without a token the device is to sleep (USB 2.0, section 7.1.7.6)."""
    assert host.simulation.receive(5 * 96_000) == b""
    host.bulk_write(ENDPOINT, b"awake", SECONDS)
    assert read(host, 5) == b"awake"
