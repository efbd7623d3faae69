"""Frames as the standards have them, made and read without anything of the gateware's.

Each function that makes something returns bytes; frames have no preamble, and their check sequence only where
`line` adds it.
"""

import socket
import struct
import zlib
from dataclasses import dataclass

ARP, IPV4 = 0x0806, 0x0800
ICMP, UDP = 1, 17
EVERYONE = b"\xff" * 6
PREAMBLE = b"\x55" * 7 + b"\xd5"
SHORTEST = 60
"""Bytes of a frame at least, without its check sequence."""


def sum16(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    return ~(total % 0xFFFF or (0xFFFF if total else 0)) & 0xFFFF


def line(frame: bytes) -> bytes:
    """The bytes on the line: preamble, the frame filled up to the shortest one, check sequence."""
    frame = frame.ljust(SHORTEST, b"\0")
    return PREAMBLE + frame + struct.pack("<I", zlib.crc32(frame))


class NoFrame(ValueError):
    """Bytes on a line that are no intact frame. The message says why."""


def frame_of(came: bytes) -> bytes:
    """The frame in the bytes of a line, without its check sequence; raises `NoFrame`."""
    if not came.startswith(PREAMBLE):
        raise NoFrame(f"no preamble: {came[:9].hex(' ')}")
    frame, check = came[len(PREAMBLE) : -4], came[-4:]
    if not SHORTEST <= len(frame) <= 1514:
        raise NoFrame(f"a frame of {len(frame)} bytes")
    if struct.pack("<I", zlib.crc32(frame)) != check:
        raise NoFrame(f"the check sequence is {check.hex()}, not {zlib.crc32(frame):08x}")
    return frame


def ethernet(to: bytes, source: bytes, kind: int, body: bytes) -> bytes:
    """A frame with a MAC address at each end."""
    return to + source + struct.pack(">H", kind) + body


def arp(operation: int, mac: bytes, ip: str, to_mac: bytes, to_ip: str) -> bytes:
    """The body of an ARP frame (RFC 826): operation 1 asks, 2 answers."""
    head = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac + socket.inet_aton(ip) + to_mac + socket.inet_aton(to_ip)


def ipv4(source: str, to: str, protocol: int, body: bytes, **fields: int | bytes) -> bytes:
    """A packet (RFC 791). ``fields`` may change ``fragment`` (flags and offset), ``length``, ``version``,
    ``checksum``, ``options`` and ``identification``.
    """
    options = fields.get("options", b"")
    assert isinstance(options, bytes)
    size = 20 + len(options)
    version = fields.get("version", 0x40 | size // 4)
    length = fields.get("length", size + len(body))
    identification, fragment = fields.get("identification", 0x1234), fields.get("fragment", 0x4000)
    parts = [version, 0, length, identification, fragment, 64, protocol, 0]
    ends = socket.inet_aton(source) + socket.inet_aton(to) + options
    checksum = fields.get("checksum", sum16(struct.pack(">BBHHHBBH", *parts) + ends))
    return struct.pack(">BBHHHBBH", *parts[:-1], checksum) + ends + body


def echo(kind: int, identifier: int, sequence: int, body: bytes) -> bytes:
    """An ICMP message (RFC 792): kind 8 asks, 0 answers."""
    head = struct.pack(">HH", identifier, sequence)
    return struct.pack(">BBH", kind, 0, sum16(struct.pack(">BBH", kind, 0, 0) + head + body)) + head + body


def udp(source: str, port: int, to: str, to_port: int, body: bytes, length: int | None = None) -> bytes:
    """A datagram with its checksum (RFC 768)."""
    size = 8 + len(body) if length is None else length
    head = struct.pack(">HHH", port, to_port, size)
    ends = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack(">BBH", 0, UDP, 8 + len(body))
    return head + struct.pack(">H", sum16(ends + head + body) or 0xFFFF) + body


@dataclass(frozen=True)
class Packet:
    """An IPv4 packet that was read."""

    source: str
    to: str
    protocol: int
    body: bytes


def read_ipv4(body: bytes) -> Packet:
    """Read a packet as a strict receiver does; raises `NoFrame` where it is none."""
    version, _, length, _, fragment, lifetime, protocol, _ = struct.unpack(">BBHHHBBH", body[:12])
    if version != 0x45 or fragment & 0xBFFF or not lifetime or not 20 <= length <= len(body):
        raise NoFrame(f"the header of a packet is {body[:20].hex(' ')}")
    if sum16(body[:20]):
        raise NoFrame("the checksum of a packet's header is wrong")
    ends = socket.inet_ntoa(body[12:16]), socket.inet_ntoa(body[16:20])
    return Packet(*ends, protocol, body[20:length])


def read_udp(packet: Packet) -> tuple[int, int, bytes]:
    """Both ports and the bytes of a datagram; raises `NoFrame` where it is none."""
    port, to_port, length, checksum = struct.unpack(">HHHH", packet.body[:8])
    if length != len(packet.body):
        raise NoFrame(f"a datagram of {length} bytes in a packet of {len(packet.body)}")
    ends = socket.inet_aton(packet.source) + socket.inet_aton(packet.to)
    if checksum and sum16(ends + struct.pack(">BBH", 0, UDP, length) + packet.body):
        raise NoFrame("the checksum of a datagram is wrong")
    return port, to_port, packet.body[8:]
