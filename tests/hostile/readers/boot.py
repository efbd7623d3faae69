"""Boot images, read by a model of the block that starts an accelerator from a flash (`hw/link/boot.py`)."""

from dataclasses import replace
from pathlib import Path

from haarlequin.hw.link.boot import IDENTITY_CRC_BYTES, LENGTH_BYTES, identity_crc
from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import Decoder, Frame, FrameType, ProtocolError
from haarlequin.sw.boot_image import boot_image
from tests.hostile.engine import Reader, Wrong
from tests.hostile.readers import frames
from tests.sw.devices.fake import TABLES, FakeLine

_FIRST = IDENTITY_CRC_BYTES + LENGTH_BYTES
_SMALL = replace(TABLES, words={"settings": [1, 0xFFF, 3], "weights": [0x0123456789ABCDEF, 0xA5A5A5A5]})
_IDENTITY = Identity(TABLES.digest, 1, TABLES.memories)


def _corpus(folder: Path) -> list[bytes]:
    image = boot_image(_SMALL)
    return [image, image + b"\xff" * 40]


def mend(data: bytes) -> bytes:
    """With the identity of the accelerator, right CRCs, and the length of the frames."""
    rest = frames.mend(data[_FIRST:])
    crc = identity_crc(_IDENTITY).to_bytes(IDENTITY_CRC_BYTES, "little")
    return crc + len(rest).to_bytes(LENGTH_BYTES, "little") + rest


def _honest(frame: Frame) -> bool:
    """Whether the device would take this LOAD as a whole."""
    if frame.detail >= len(TABLES.memories):
        return False
    memory = TABLES.memories[frame.detail]
    words, rest = divmod(len(frame.payload), memory.word_bytes)
    return words > 0 and not rest and frame.address + words <= memory.depth


def booted(data: bytes) -> list[list[int]]:
    """The words of every memory of an accelerator that has started from the image. Raises `ProtocolError`
    where it does not seal its tables.
    """
    if int.from_bytes(data[:IDENTITY_CRC_BYTES], "little") != identity_crc(_IDENTITY):
        raise ProtocolError("no image for this accelerator")
    length = int.from_bytes(data[IDENTITY_CRC_BYTES:_FIRST], "little")
    # Beyond the image the flash is erased.
    line, decoder = FakeLine(identity=_IDENTITY), Decoder()
    stream = data[_FIRST : _FIRST + length]
    for number, frame in enumerate(decoder.feed(stream)):
        if frame.sequence != number % 256:
            raise ProtocolError("a LOAD was missed")
        if frame.type == FrameType.SEAL:
            return line.words
        if frame.type != FrameType.LOAD or not _honest(frame):
            raise ProtocolError("refused by the link")
        line._honest(frame)
    raise ProtocolError("never sealed")


def _read(data: bytes, folder: Path) -> None:
    """An image that boots gives the words that a second reading of it gives, LOAD by LOAD."""
    words = booted(data)
    again = [[0] * memory.depth for memory in TABLES.memories]
    length = int.from_bytes(data[IDENTITY_CRC_BYTES:_FIRST], "little")
    for frame in frames.expected(data[_FIRST : _FIRST + length]):
        if frame[1] == FrameType.SEAL:
            break
        memory, first = TABLES.memories[frame[3]], int.from_bytes(frame[4:7], "little")
        size = memory.word_bytes
        for at in range(12, len(frame) - 2, size):
            word = int.from_bytes(frame[at : at + size], "little") & (1 << memory.width) - 1
            again[frame[3]][first + (at - 12) // size] = word
    if words != again:
        raise Wrong(f"{words} and {again}")


READER = Reader("boot", (ProtocolError,), _corpus, _read, mend=mend, seconds=1, megabytes=256)
