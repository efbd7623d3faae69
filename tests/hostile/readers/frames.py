"""The host's receiver: bytes from a line become frames, and the payload of an IDENTITY an identity."""

from binascii import crc_hqx
from pathlib import Path
from random import Random

from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.protocol import (
    PAYLOAD,
    SYNC,
    Decoder,
    ErrorCode,
    Frame,
    FrameType,
    ProtocolError,
    encode,
)
from tests.hostile.engine import Reader, Wrong

_IDENTITY = Identity(0x12345678, 12_000_000, (Memory("weights", 12, 512), Memory("pixels", 8, 128)))
_HEADER, _CRC = 10, 2


def crc(data: bytes) -> int:
    """CRC-16/IBM-3740."""
    return crc_hqx(data, 0xFFFF)


def _corpus(folder: Path) -> list[bytes]:
    alone = [
        Frame(FrameType.IDENTIFY, 1),
        Frame(FrameType.IDENTITY, 1, payload=_IDENTITY.encode()),
        Frame(FrameType.LOAD, 2, 1, 0x10203, bytes([0xBC, 0x0A, SYNC, 0x01])),
        Frame(FrameType.ACK, 2),
        Frame(FrameType.READ, 3, 0, 0x10203, asked=4),
        Frame(FrameType.DATA, 3, payload=bytes(range(9))),
        Frame(FrameType.IMAGE, 5, payload=bytes([SYNC, 0x55, 0xAA, 0xFF])),
        Frame(FrameType.RESULT, 5, payload=bytes(8)),
        Frame(FrameType.RESULT, 5),
        Frame(FrameType.ERROR, 7, ErrorCode.CRC),
    ]
    line = b"".join(map(encode, alone))
    within = encode(Frame(FrameType.DATA, 9, payload=encode(Frame(FrameType.ACK, 4))))
    return [*map(encode, alone), line, b"\xa5" * 5 + line[:60], within]


def expected(data: bytes) -> list[bytes]:
    """The bytes of every frame that a receiver finds in ``data``, if nothing comes after it."""
    found, at = [], 0
    kinds = {int(kind) for kind in FrameType}
    while (at := data.find(SYNC, at)) >= 0:
        end = at + _HEADER + _CRC
        whole = end <= len(data) and crc(data[at + 1 : end - _CRC]) == int.from_bytes(data[end - _CRC : end])
        if whole and data[at + 1] & PAYLOAD:
            start, end = end, end + int.from_bytes(data[at + 7 : at + 10], "little") + _CRC
            whole = end <= len(data) and crc(data[start : end - _CRC]) == int.from_bytes(
                data[end - _CRC : end]
            )
        if whole and data[at + 1] in kinds:
            found.append(data[at:end])
            at = end
        else:
            at += 1
    return found


def mend(data: bytes) -> bytes:
    """``data`` with right CRCs in what may be frames, as far as their lengths lead to places within it."""
    mended, at = bytearray(data), 0
    while (at := mended.find(SYNC, at)) >= 0:
        end = at + _HEADER
        if end + _CRC > len(mended):
            break
        mended[end : end + _CRC] = crc(mended[at + 1 : end]).to_bytes(2)
        end += _CRC
        if mended[at + 1] & PAYLOAD:
            start, end = end, end + int.from_bytes(mended[at + 7 : at + 10], "little")
            if end + _CRC > len(mended):
                at += 1
                continue
            mended[end : end + _CRC] = crc(mended[start:end]).to_bytes(2)
            end += _CRC
        at = end
    return bytes(mended)


def _read(data: bytes, folder: Path) -> None:
    """Bytes come in pieces. The frames must be those that `expected` finds."""
    random, decoder, at = Random(len(data)), Decoder(), 0
    frames = []
    while at < len(data):
        size = random.choice((1, 3, 12, 64, len(data)))
        frames += decoder.feed(data[at : at + size])
        at += size
    frames += decoder.give_up()
    if [encode(frame) for frame in frames] != expected(data):
        raise Wrong(f"{frames} in {data.hex()}")
    if decoder.feed(encode(Frame(FrameType.ACK, 99))) != [Frame(FrameType.ACK, 99)]:
        raise Wrong("a frame after it is lost")
    if not frames:
        raise ProtocolError("no frame")
    for frame in frames:
        if frame.type == FrameType.IDENTITY:
            identity = Identity.decode(frame.payload)
            if identity.encode() != frame.payload:
                raise Wrong(f"{identity} of {frame.payload.hex()}")


READER = Reader("frames", (ProtocolError,), _corpus, _read, mend=mend, seconds=1, megabytes=256)
