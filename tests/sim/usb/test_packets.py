import pytest

from haarlequin.sim.usb import packets
from haarlequin.sim.usb.packets import Pid


@pytest.mark.parametrize(
    ("address", "endpoint", "bits"), [(0x15, 0xE, "10111"), (0x3A, 0xA, "11100"), (0x70, 0x4, "01110")]
)
def test_the_checksum_of_a_token(address, endpoint, bits):
    """Examples of "CRC in USB", a white paper of the USB Implementers Forum; the first bit is sent first."""
    checksum = packets.crc5(address | endpoint << 7)
    assert [checksum >> i & 1 for i in range(5)] == [int(bit) for bit in bits]


@pytest.mark.parametrize(
    ("body", "bits"), [("00010203", "1111011101011110"), ("23456789", "0111000000111000")]
)
def test_the_checksum_of_a_payload(body, bits):
    """Examples of the same paper."""
    checksum = packets.crc16(bytes.fromhex(body))
    assert [checksum >> i & 1 for i in range(16)] == [int(bit) for bit in bits]


def test_a_payload_comes_back_unless_a_bit_of_it_is_another():
    packet = packets.data(Pid.DATA1, b"\x00\xff\x80")
    assert packets.kind(packet) == Pid.DATA1
    assert packets.payload(packet) == b"\x00\xff\x80"
    for bit in range(8, 8 * len(packet)):
        damaged = bytes(byte ^ (1 << bit % 8 if i == bit // 8 else 0) for i, byte in enumerate(packet))
        assert packets.payload(damaged) is None


def test_a_packet_whose_kind_is_damaged_has_none():
    assert [packets.kind(packet) for packet in (b"", b"\xd3", b"\xff\0\0")] == [None] * 3
    assert packets.kind(bytes([Pid.NAK.byte])) == Pid.NAK
    assert Pid.ACK.byte == 0xD2


def test_tokens():
    assert packets.token(Pid.SETUP, 0, 0) == bytes.fromhex("2d0010")
    assert packets.start_of_frame(2048 + 1) == packets.start_of_frame(1) == bytes.fromhex("a501e8")
    assert packets.payload(packets.data(Pid.DATA0, b"")) == b""
    assert packets.payload(b"\xc3\0") is None
