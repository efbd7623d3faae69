"""Packets of USB 2.0 (sections 8.3 and 8.4), without the bits that synchronise and those stuffed in."""

from enum import IntEnum


class Pid(IntEnum):
    """The kinds of packets. A packet begins with its kind, and each bit of that inverted."""

    OUT = 0b0001
    IN = 0b1001
    SOF = 0b0101
    SETUP = 0b1101
    DATA0 = 0b0011
    DATA1 = 0b1011
    ACK = 0b0010
    NAK = 0b1010
    STALL = 0b1110
    PING = 0b0100

    @property
    def byte(self) -> int:
        """The first byte of a packet of this kind."""
        return self | (~self & 0xF) << 4


def kind(packet: bytes) -> Pid | None:
    """The kind of a packet; None where it is damaged."""
    known = {pid.byte: pid for pid in Pid}
    return known.get(packet[0]) if packet else None


def token(pid: Pid, address: int, endpoint: int) -> bytes:
    """A token, by which the host says to whom the next packet goes, or who may send one."""
    fields = address | endpoint << 7
    return bytes([pid.byte]) + (fields | crc5(fields) << 11).to_bytes(2, "little")


def start_of_frame(number: int) -> bytes:
    """The token of every millisecond; ``number`` is taken modulo 2048."""
    fields = number % 2048
    return bytes([Pid.SOF.byte]) + (fields | crc5(fields) << 11).to_bytes(2, "little")


def data(pid: Pid, payload: bytes) -> bytes:
    """A packet with a payload."""
    return bytes([pid.byte]) + payload + crc16(payload).to_bytes(2, "little")


def payload(packet: bytes) -> bytes | None:
    """The payload of a packet with data; None where it is damaged."""
    body = packet[1:-2]
    return body if len(packet) >= 3 and crc16(body).to_bytes(2, "little") == packet[-2:] else None


def crc5(fields: int) -> int:
    """The checksum of the 11 bits of a token."""
    return _crc((fields >> bit & 1 for bit in range(11)), 0x14, 0x1F)


def crc16(body: bytes) -> int:
    """The checksum of a payload."""
    return _crc((byte >> bit & 1 for byte in body for bit in range(8)), 0xA001, 0xFFFF)


def _crc(bits, polynomial: int, ones: int) -> int:
    """Bits come as on the wire, the lowest first; ``polynomial`` has its highest power lowest."""
    register = ones
    for bit in bits:
        register = register >> 1 ^ (polynomial if (register ^ bit) & 1 else 0)
    return register ^ ones
