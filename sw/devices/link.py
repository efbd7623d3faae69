"""An accelerator behind a line: the host's end of docs/protocol.md.

Whatever goes wrong on the line, no logits come out but the right ones. A frame that has no answer, or that
came damaged, is sent again. Images have a rougher way back: the accelerator is reset, gets its tables again
where they are not sealed any more, and all images without a result are sent once more.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from haarlequin.hw.link.protocol import (
    COUNTERS_MEMORY,
    Decoder,
    ErrorCode,
    Frame,
    FrameType,
    Identity,
    Memory,
    ProtocolError,
    encode,
)
from haarlequin.sw.devices.byte_line import Line
from haarlequin.sw.devices.device import CompiledModel, Device, DeviceError, Progress, Result
from haarlequin.sw.table_folder import Compiled

TRIES = 6
"""Times that something is tried; each waits twice as long as the one before, until a pause has also ended
whatever frame the accelerator believed to be in."""

IN_FLIGHT = 2
"""Images sent without a result: one that is computed, and one that is there when it is done. For so many the
accelerator has room whatever it is at, so that a line without flow control may carry them."""

PIECE = 4096
"""Bytes of a payload, at most, that its CRC is good for."""

MOST_NOISE = 1 << 18
"""Bytes without a frame in them, beyond the largest payload, after which a line carries nothing but noise."""

MOST_STRAYS = 1 << 10
"""Frames in a row that answer nothing, likewise."""


@dataclass
class _Heard:
    """What has come since something was asked, and was no answer."""

    noise: int = 0
    """Bytes without a frame in them, since the last frame if there was one."""
    frames: int = 0

    def __str__(self) -> str:
        if self.frames:
            return f"{self.frames} frames came and none of them an answer"
        return f"{self.noise} bytes came and none of them a frame" if self.noise else "nothing came"

    def hint(self, line: Line) -> str:
        """What to look at where this is all that has ever come."""
        if self.frames:
            return ""
        return line.noise_hint if self.noise else line.silence_hint


class _Unanswered(Exception):
    """What came instead of an answer: silence, after what was heard, or that frame."""

    def __init__(self, heard: _Heard, came: Frame | None = None):
        if came is None:
            what = str(heard)
        elif came.type == FrameType.ERROR:
            what = f"the answer is {_error(came)}"
        else:
            what = f"{came.type.name} came"
        super().__init__(what)
        self.tables_damaged = came is not None and _error(came) == ErrorCode.TABLES_DAMAGED.name


def _error(frame: Frame) -> str:
    """Name of an ERROR's code, or its number."""
    known = frame.detail in ErrorCode.__members__.values()
    return ErrorCode(frame.detail).name if known else f"error {frame.detail}"


class LinkDevice(Device):
    """What is on that line, once it has said what it is; closes the line with itself.

    Raises `DeviceError` where nothing answers, or something else does.
    """

    def __init__(self, line: Line):
        super().__init__(line.name)
        self._line, self._using = line, threading.RLock()
        self._decoder, self._frames = Decoder(), deque[Frame]()
        self._sequence = itertools.count()
        self._tables: Compiled | None = None
        self.identity: Identity | None = None
        try:
            self.identity = self._identify()
        except BaseException:
            self.close()
            raise
        self.digest = self.identity.config_hash

    def _load(self, model: CompiledModel, progress: Progress) -> None:
        tables = model.tables
        if tables.digest != self.digest:
            raise DeviceError(
                f"{self.name}: the tables are for {tables.accelerator} ({tables.digest:#010x}), "
                f"the accelerator is another ({self.digest:#010x}): compile for it"
            )
        if tables.memories != self.identity.memories:
            raise DeviceError(
                f"{self.name}: the accelerator has other memories than the tables: build it anew"
            )
        self._tables = tables
        self._load_tables(progress)

    def _counters(self) -> Mapping[str, int]:
        if self._tables is None:
            raise DeviceError(f"{self.name}: load a model first")
        number = self.identity.number(COUNTERS_MEMORY)
        words = self._read(number, 0, self.identity.memories[number].depth)
        # The tables' operations are in the order of their codes; the last counter, of waiting, has none.
        return dict(zip(self._tables.operations, words, strict=False))

    def _reset(self) -> None:
        self._asked("to reset", lambda: Frame(FrameType.RESET, self._number()), FrameType.ACK)

    def _close(self) -> None:
        with self._using:
            self._line.close()

    # Frames

    def _say(self, frame: Frame) -> None:
        """Let this frame go."""
        with self._using:
            self._turn.check_open()
            self._line.send(encode(frame))

    def _listen(self, wait: float) -> bytes:
        """The next bytes, none after so many seconds of silence."""
        with self._using:
            self._turn.check_open()
            return self._line.receive(wait)

    def _number(self) -> int:
        return next(self._sequence) % 256

    def _frame(self, wait: float, heard: _Heard) -> Frame:
        """The next frame; raises `_Unanswered` where none comes for that long."""
        while not self._frames:
            data = self._listen(wait)
            heard.noise += len(data)
            self._frames += self._decoder.feed(data) if data else self._decoder.give_up()
            if not data and not self._frames:
                raise _Unanswered(heard)
            if heard.noise > MOST_NOISE:
                raise self._babbling(heard)
        heard.noise, heard.frames = 0, heard.frames + 1
        return self._frames.popleft()

    def _hint(self, heard: _Heard) -> str:
        """What to look at; nothing of the line once somebody has answered on it."""
        return "" if self.identity else heard.hint(self._line)

    def _babbling(self, heard: _Heard) -> DeviceError:
        return DeviceError(f"{self.name}: {heard}{self._hint(heard)}")

    def _answer(self, frame: Frame, kind: FrameType, wait: float, heard: _Heard) -> Frame:
        """Send a frame; its answer, which raises `_Unanswered` where it is of another kind."""
        self._say(frame)
        for _ in range(MOST_STRAYS):
            came = self._frame(wait, heard)
            if came.sequence != frame.sequence or came.type == FrameType.RESULT:
                continue  # it answers a frame that was given up
            if came.type == kind:
                return came
            raise _Unanswered(heard, came)
        raise self._babbling(heard)

    def _asked(self, what: str, frame: Callable[[], Frame], kind: FrameType) -> Frame:
        """The answer to a frame, which is made anew for each try."""
        heard = _Heard()
        for attempt in range(TRIES):
            try:
                return self._answer(frame(), kind, self._line.latency * 2**attempt, heard)
            except _Unanswered as error:
                last = error
        raise DeviceError(f"{self.name}: asked {what} {TRIES} times, and {last}{self._hint(heard)}")

    def _identify(self) -> Identity:
        came = self._asked(
            "what it is", lambda: Frame(FrameType.IDENTIFY, self._number()), FrameType.IDENTITY
        )
        try:
            return Identity.decode(came.payload)
        except ProtocolError as error:
            raise DeviceError(f"{self.name}: {error}; build its bitstream with this version") from None

    # Tables

    def _load_tables(self, progress: Progress) -> None:
        """Send them, and read them back where the line could have damaged them."""
        pieces = list(_pieces(self._tables))
        total = sum(len(payload) for *_, payload in pieces)
        for _ in range(TRIES):
            self._reset()  # a LOAD is refused while an image is in the machine
            done = 0
            for number, _, first, payload in pieces:
                self._asked(
                    "to take its tables",
                    lambda n=number, a=first, p=payload: Frame(FrameType.LOAD, self._number(), n, a, p),
                    FrameType.ACK,
                )
                done += len(payload)
                progress(done, total)
            if self._line.exact or all(map(self._holds, pieces)):
                self._asked("to seal them", lambda: Frame(FrameType.SEAL, self._number()), FrameType.ACK)
                return
        raise DeviceError(f"{self.name}: its memories do not hold what was written, {TRIES} times")

    def _holds(self, piece: tuple[int, Memory, int, bytes]) -> bool:
        number, memory, first, payload = piece
        return self._read(number, first, len(payload) // memory.word_bytes) == memory.unpack(payload)

    def _read(self, number: int, first: int, count: int) -> list[int]:
        """Words of a memory."""
        memory = self.identity.memories[number]
        size = count * memory.word_bytes
        came = self._asked(
            "for its words",
            lambda: Frame(FrameType.READ, self._number(), number, first, asked=size),
            FrameType.DATA,
        )
        if len(came.payload) != size:
            raise DeviceError(
                f"{self.name}: asked for {size} bytes of {memory.name}, {len(came.payload)} came"
            )
        return memory.unpack(came.payload)

    # Images

    def _run(self, images: Iterator[np.ndarray]) -> Generator[Result, None, None]:
        """With `IN_FLIGHT` images on their way."""
        if self._tables is None:
            raise DeviceError(f"{self.name}: load a model first")
        flying: deque[tuple[int, bytes]] = deque()  # its number, its pixels
        failures = 0
        try:
            while True:
                for image in itertools.islice(images, IN_FLIGHT - len(flying)):
                    flying.append(self._send(image.tobytes()))
                if not flying:
                    return
                try:
                    result = self._result(flying[0][0], 2**failures)
                except _Unanswered as error:
                    failures += 1
                    if failures == TRIES:
                        raise DeviceError(f"{self.name}: tried an image {TRIES} times, and {error}") from None
                    if error.tables_damaged:
                        self._load_tables(lambda done, total: None)
                    else:
                        self._reset()
                    flying = deque(self._send(pixels) for _, pixels in flying)
                    continue
                failures = 0
                flying.popleft()
                yield result
        finally:
            if flying:  # an error, or nobody wants the rest
                self._forget()

    def _send(self, pixels: bytes) -> tuple[int, bytes]:
        number = self._number()
        self._say(Frame(FrameType.IMAGE, number, payload=pixels))
        return number, pixels

    def _result(self, number: int, patience: int) -> Result:
        """The result of that image, the oldest under way; raises `_Unanswered`."""
        # Its own time, that of the one before it, and the embedding's, which may take as long.
        heard, computing = _Heard(), 4 * self._tables.cycles / self.identity.clock_hz
        for _ in range(MOST_STRAYS):
            came = self._frame(computing + self._line.latency * patience, heard)
            if came.type == FrameType.RESULT and came.sequence == number:
                return self._decoded(came.payload)
            if came.type in (FrameType.RESULT, FrameType.ERROR):
                raise _Unanswered(heard, came)
        raise self._babbling(heard)

    def _decoded(self, payload: bytes) -> Result:
        if len(payload) != 4 * (len(self._tables.model.classes) + 2):
            raise DeviceError(f"{self.name}: a result of {len(payload)} bytes is not one of this model")
        *logits, cycles, saturations = np.frombuffer(payload, "<i4").tolist()
        return Result(np.array(logits, np.int32), cycles, saturations)

    def _forget(self) -> None:
        try:
            self._reset()
        except DeviceError:
            return  # it has been said, or nobody wants to know


def load_frames(tables: Compiled) -> list[Frame]:
    """What fills every memory that a model uses, and seals them."""
    loads = [
        Frame(FrameType.LOAD, i % 256, number, first, payload)
        for i, (number, _, first, payload) in enumerate(_pieces(tables))
    ]
    return [*loads, Frame(FrameType.SEAL, len(loads) % 256)]


def _pieces(tables: Compiled) -> Iterator[tuple[int, Memory, int, bytes]]:
    """The tables as (number of the memory, memory, first word, payload)."""
    for number, memory in enumerate(tables.memories):
        words, count = tables.words.get(memory.name, []), max(1, PIECE // memory.word_bytes)
        for first in range(0, len(words), count):
            yield number, memory, first, memory.pack(words[first : first + count])
