"""The accelerator's end of docs/protocol.md in a few lines, on a line that does what a test says."""

import zlib
from collections import deque
from collections.abc import Callable

import numpy as np

from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.protocol import BENCHED, Decoder, ErrorCode, Frame, FrameType, encode
from haarlequin.models.presets import preset
from haarlequin.sw.devices import CompiledModel
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.table_folder import Compiled

MEMORIES = (
    Memory("settings", 12, 4),
    Memory("weights", 64, 1000),
    Memory("pixels", 8, 64),
    Memory("counters", 32, 10),
)
CYCLES, CLOCK_HZ, DIGEST = 1000, 1_000_000, 0x1234_5678
FILL = 300
"""Cycles of a BENCH beyond those of its images."""

TABLES = Compiled(
    model=preset("digits").with_(classes=("a", "b", "c")),
    accelerator="mine",
    digest=DIGEST,
    memories=MEMORIES,
    words={"settings": [1, 0xFFF, 3], "weights": [i * 0x9E3779B97F4A7C15 % (1 << 64) for i in range(700)]},
    cycles=CYCLES,
    operations={"signs": 600, "scores": 400},
)
MODEL = CompiledModel(TABLES)
PIECES = 3
"""LOADs that these tables take."""

Twist = Callable[[Frame, list[Frame]], list[Frame | bytes]]
"""What comes in place of an honest answer."""


def logits(pixels: bytes, words: list[list[int]]) -> list[int]:
    """Other ones for all other pixels, and for all other tables."""
    tables = zlib.crc32(repr([[*part] for part in words]).encode())
    return [zlib.crc32(bytes([i]) + pixels, tables) - (1 << 31) for i in range(3)]


RIGHT_WORDS = [[*TABLES.words["settings"], 0], [*TABLES.words["weights"], *[0] * 300]]


class FakeLine(Line):
    """An accelerator that answers at once; time passes only while the host waits.

    ``taken`` are the frames it understood, ``waits`` the silences it kept, in seconds. After ``most`` calls
    it raises RuntimeError, so that a host that goes on for ever fails a test.
    """

    name, latency = "fake", 0.01

    def __init__(self, exact: bool = False, identity: Identity | None = None, most: float = 10_000):
        self.exact = exact
        self._left = most
        self.identity = identity or Identity(DIGEST, CLOCK_HZ, MEMORIES)
        self.twist: Twist = lambda frame, honest: honest
        self.stuck = lambda memory, word: word
        self.taken: list[Frame] = []
        self.waits: list[float] = []
        self.closed = False
        self.most_in_flight = 0
        self._decoder, self._out = Decoder(), deque[bytes]()
        self.power_up()

    def power_up(self) -> None:
        """Everything is forgotten."""
        self.words = [[0] * memory.depth for memory in self.identity.memories]
        self.sealed = False
        self._computing: deque[tuple[int, bytes]] = deque()
        self._last = b""

    def count(self, kind: FrameType) -> int:
        """How many of those were understood."""
        return sum(frame.type == kind for frame in self.taken)

    def send(self, data: bytes) -> None:
        self._count()
        for frame in self._decoder.feed(data):
            self.taken.append(frame)
            self.say(self.twist(frame, self._honest(frame)))

    def say(self, answers: list[Frame | bytes]) -> None:
        """Let these come to the host."""
        self._out += [encode(each) if isinstance(each, Frame) else each for each in answers]

    def receive(self, seconds: float) -> bytes:
        self._count()
        if not self._out and self._computing:
            number, pixels = self._computing.popleft()
            frame = Frame(FrameType.IMAGE, number, payload=pixels)
            self.say(self.twist(Frame(FrameType.RESULT, number), [self._result(frame)]))
        if self._out:
            return self._out.popleft()
        self._decoder.give_up()  # the link's timeout
        self.waits.append(seconds)
        return b""

    def close(self) -> None:
        self.closed = True

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("the host goes on for ever")

    def _result(self, frame: Frame) -> Frame:
        payload = np.array(
            [*logits(frame.payload, self.words[:2]), CYCLES, frame.payload[0]], "<i4"
        ).tobytes()
        return Frame(FrameType.RESULT, frame.sequence, payload=payload)

    def _honest(self, frame: Frame) -> list[Frame]:
        def error(code: ErrorCode) -> list[Frame]:
            return [Frame(FrameType.ERROR, frame.sequence, code)]

        ack = [Frame(FrameType.ACK, frame.sequence)]
        match frame.type:
            case FrameType.IDENTIFY:
                return [Frame(FrameType.IDENTITY, frame.sequence, payload=self.identity.encode())]
            case FrameType.RESET:
                self._computing.clear()
                return ack
            case FrameType.SEAL:
                self.sealed = True
                return ack
            case FrameType.IMAGE if not self.sealed:
                return error(ErrorCode.TABLES_DAMAGED)
            case FrameType.IMAGE if len(self._computing) == 4:
                return error(ErrorCode.FULL)
            case FrameType.IMAGE:
                self._computing.append((frame.sequence, frame.payload))
                self._last = frame.payload
                self.most_in_flight = max(self.most_in_flight, len(self._computing))
                return []
            case FrameType.LOAD | FrameType.READ | FrameType.BENCH if self._computing:
                return error(ErrorCode.BUSY)
            case FrameType.BENCH:
                count, answer = frame.address, sum(logits(self._last, self.words[:2]))
                payload = BENCHED.pack(count * CYCLES + FILL, count * answer % (1 << 32))
                return [Frame(FrameType.BENCHED, frame.sequence, payload=payload)]
        memory, words = self.identity.memories[frame.detail], self.words[frame.detail]
        if frame.type == FrameType.READ:
            count = frame.asked // memory.word_bytes
            payload = memory.pack(words[frame.address : frame.address + count])
            return [Frame(FrameType.DATA, frame.sequence, payload=payload)]
        self.sealed = False
        for i, word in enumerate(memory.unpack(frame.payload), frame.address):
            words[i] = self.stuck(memory.name, word)
        return ack


def first(kind: FrameType, answers: list[Frame | bytes] | Callable[[Frame], list[Frame | bytes]], times=1):
    """A twist: the first few frames of a kind get these answers, and are honest from then on."""
    left = [times]

    def twist(frame: Frame, honest: list[Frame]) -> list[Frame | bytes]:
        if frame.type != kind or not left[0]:
            return honest
        left[0] -= 1
        return answers(frame) if callable(answers) else answers

    return twist


def always(kind: FrameType, answers: list[Frame | bytes] | Callable[[Frame], list[Frame | bytes]]):
    """A twist: every frame of a kind gets these answers."""
    return first(kind, answers, times=1 << 30)
