"""The protocol between host and accelerator, for both sides: types, codes and layout of the frames.

docs/protocol.md describes every byte that travels, and what either side may rely on.
"""

import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum

from haarlequin.models.common.errors import OneLine

VERSION = 2
SYNC = 0xA5
"""The first byte of every frame."""

PAYLOAD = 0x80
"""The bit of a frame type that is 1 if its frames have a payload of ``length`` bytes, and its CRC."""

ADDRESS_BITS = 24
LENGTH_BITS = 24
"""Bits of a header for the address of the first word, and for the number of bytes of the payload."""

MAX_PAYLOAD = (1 << LENGTH_BITS) - 1
MAX_MEMORIES = 16
MAX_DEPTH = 1 << ADDRESS_BITS
MAX_WIDTH = 0xFFFF

PROTECTED = 4093
"""The most bytes of a payload that its CRC protects well: it then notices up to three flipped bits."""

RESULT_BYTES = 4
"""Bytes of a word of an image's result."""
COUNT_BITS = 16
"""Bits of how many times a BENCH may compute an image."""
BENCHED = struct.Struct("<II")
"""The payload of BENCHED: the cycles, and the sum of the words of all answers, both modulo 2³²."""
WAITS = 1
"""The detail of an IMAGE that waits for room, and holds up what comes after it, instead of getting FULL. On a
line without flow control that is lost.
"""
CLASS_BITS = 8
"""Bits of a class that is the answer of a token. Several are in a word of a result, the first one lowest."""
LOGIT_BITS = 16
"""Bits of a logit, signed, where a token answers with all of them."""

SETTINGS_MEMORY = "settings"
"""The name of the memory of settings, which belong to the whole model."""
PIXELS_MEMORY = "pixels"
"""The name of the memory into which the words of an IMAGE go."""
COUNTERS_MEMORY = "counters"
"""The name of the memory of cycles counted for each operation. It can only be read."""

_ADDRESS_BYTES, _LENGTH_BYTES = ADDRESS_BITS // 8, LENGTH_BITS // 8
# Sync, type, sequence, detail, address and length. The last two have their lowest byte first.
_HEADER = struct.Struct(f"<BBBB{_ADDRESS_BYTES}s{_LENGTH_BYTES}s")
_CRC = struct.Struct(">H")

HEADER_BYTES = _HEADER.size
CRC_BYTES = _CRC.size


class FrameType(IntEnum):
    """The type of a frame: a request of the host, or an answer of the accelerator."""

    IDENTIFY = 0x01
    READ = 0x02
    RESET = 0x03
    SEAL = 0x04
    BENCH = 0x05
    LOAD = PAYLOAD | 0x01
    IMAGE = PAYLOAD | 0x02

    ACK = 0x41
    ERROR = 0x42
    IDENTITY = PAYLOAD | 0x41
    DATA = PAYLOAD | 0x42
    RESULT = PAYLOAD | 0x43
    BENCHED = PAYLOAD | 0x44


class ErrorCode(IntEnum):
    """The reason why a frame was refused or given up. It is the detail of an ERROR frame."""

    TYPE = 1
    LENGTH = 2
    RANGE = 3
    BUSY = 4
    FULL = 5
    TABLES_DAMAGED = 6
    CRC = 7
    TIMEOUT = 8


class ProtocolError(OneLine, ValueError):
    """A frame or an identity that cannot be encoded, or bytes that cannot be decoded as one."""


@dataclass(frozen=True)
class Frame:
    """One frame. ``asked`` is the number of bytes that a READ asks for; a READ has no payload itself."""

    type: FrameType
    sequence: int = 0
    detail: int = 0
    """The number of the memory of a LOAD or READ, `WAITS` of an IMAGE, or the code of an ERROR."""
    address: int = 0
    """The first word of a LOAD or READ; how many times a BENCH computes the image."""
    payload: bytes = b""
    asked: int = 0

    def __post_init__(self):
        limits = {"sequence": 0xFF, "detail": 0xFF, "address": MAX_DEPTH - 1, "asked": MAX_PAYLOAD}
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ProtocolError(f"{self.type.name}: {name} must be 0 to {limit}, not {value}")
        if len(self.payload) > MAX_PAYLOAD:
            raise ProtocolError(
                f"{self.type.name}: payload must be at most {MAX_PAYLOAD} bytes, not {len(self.payload)}"
            )
        if self.payload and not self.type & PAYLOAD:
            raise ProtocolError(f"{self.type.name} takes no payload, not {len(self.payload)} bytes")
        if self.asked and self.type & PAYLOAD:
            raise ProtocolError(f"{self.type.name} asks for nothing, not {self.asked} bytes")


def crc(data: bytes) -> int:
    """CRC-16/IBM-3740, of a header without its sync byte, or of a payload."""
    return binascii.crc_hqx(data, 0xFFFF)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    length = len(frame.payload) if frame.type & PAYLOAD else frame.asked
    header = _HEADER.pack(
        SYNC,
        frame.type,
        frame.sequence,
        frame.detail,
        frame.address.to_bytes(_ADDRESS_BYTES, "little"),
        length.to_bytes(_LENGTH_BYTES, "little"),
    )
    whole = header + _CRC.pack(crc(header[1:]))
    return whole + frame.payload + _CRC.pack(crc(frame.payload)) if frame.type & PAYLOAD else whole


class Decoder:
    """Finds the frames in bytes that come in pieces of any size.

    If the bytes at some place are not an intact frame of a known type, the search goes on one byte later. So
    every intact frame is found, unless it lies within the payload of another. After a frame that was cut
    off, frames are found only when as many bytes have come as its header announced, or after `give_up`.
    """

    def __init__(self):
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        self._buffer += data
        return self._search(final=False)

    def give_up(self) -> list[Frame]:
        """The frames after the start of an incomplete one. Call it when no more bytes come."""
        return self._search(final=True)

    def _search(self, final: bool) -> list[Frame]:
        frames, at = [], 0
        while (at := self._buffer.find(SYNC, at)) >= 0:
            size = self._size(at)
            if at + size > len(self._buffer):
                if not final:
                    break
                at += 1
            elif frame := self._frame(at, size):
                frames.append(frame)
                at += size
            else:
                at += 1
        del self._buffer[: at if at >= 0 else len(self._buffer)]
        return frames

    def _size(self, at: int) -> int:
        """The size of the frame at that place, or of a header alone while it is incomplete or damaged."""
        size = HEADER_BYTES + CRC_BYTES
        if at + size > len(self._buffer) or not self._intact(at + 1, HEADER_BYTES - 1):
            return size
        type_, *_, length = self._header(at)
        return size + length + CRC_BYTES if type_ & PAYLOAD else size

    def _frame(self, at: int, size: int) -> Frame | None:
        type_, sequence, detail, address, length = self._header(at)
        if type_ not in FrameType.__members__.values() or not self._intact(at + 1, HEADER_BYTES - 1):
            return None
        if not type_ & PAYLOAD:
            return Frame(FrameType(type_), sequence, detail, address, asked=length)
        start = at + HEADER_BYTES + CRC_BYTES
        if not self._intact(start, length):
            return None
        payload = bytes(self._buffer[start : start + length])
        return Frame(FrameType(type_), sequence, detail, address, payload)

    def _header(self, at: int) -> tuple[int, int, int, int, int]:
        _, type_, sequence, detail, address, length = _HEADER.unpack_from(self._buffer, at)
        return type_, sequence, detail, int.from_bytes(address, "little"), int.from_bytes(length, "little")

    def _intact(self, start: int, length: int) -> bool:
        end = start + length
        return _CRC.unpack_from(self._buffer, end)[0] == crc(self._buffer[start:end])
