"""The host's end of the link: an accelerator answers with anything at all, and no wrong logits come out."""

from pathlib import Path
from random import Random

import numpy as np

from haarlequin.hw.link.protocol import FrameType, encode
from haarlequin.sw.devices.device import DeviceError
from haarlequin.sw.devices.link import LinkDevice
from tests.hostile.engine import Reader, Wrong
from tests.hostile.readers.frames import mend
from tests.sw.devices.fake import MODEL, RIGHT_WORDS, FakeLine, logits

_IMAGES = [np.full((8, 8, 1), value, np.uint8) for value in (3, 200)]


def _corpus(folder: Path) -> list[bytes]:
    """All that an accelerator says while it is identified, loaded and asked."""
    line, said = FakeLine(), []
    line.twist = lambda frame, honest: said.extend(map(encode, honest)) or honest
    _talk(line)
    return [b"".join(said), b"".join(said[-4:]), *said[:3], *said[-3:]]


def _talk(line: FakeLine) -> list[list[int]]:
    with LinkDevice(line) as device:
        device.load(MODEL)
        return [result.logits.tolist() for result in device.run(iter(_IMAGES))]


class _Strange(FakeLine):
    """Says the bytes that it is given, part by part, in place of some of its answers."""

    def __init__(self, data: bytes):
        super().__init__()
        self._random, self._said = Random(len(data)), data
        self.twist = self._instead

    def _instead(self, frame, honest):
        if not self._said or self._random.random() < 0.5:
            return honest
        size = self._random.choice((12, 22, 64, len(self._said)))
        part, self._said = self._said[:size], self._said[size:]
        # With the number that the host waits for, in the place where a frame has it.
        numbered = part[:2] + bytes([frame.sequence]) + part[3:]
        return [mend(numbered) if self._random.random() < 0.7 else part, *honest[: self._random.randrange(2)]]


def _read(data: bytes, folder: Path) -> None:
    line = _Strange(data)
    came = _talk(line)
    forged = FrameType.RESULT in data or FrameType.ACK in data or FrameType.DATA in data
    if not forged and came != [logits(image.tobytes(), RIGHT_WORDS) for image in _IMAGES]:
        raise Wrong(f"{came}")
    if [len(each) for each in came] != [3, 3]:
        raise Wrong(f"{came}")


READER = Reader("answers", (DeviceError,), _corpus, _read, seconds=2, megabytes=256)
