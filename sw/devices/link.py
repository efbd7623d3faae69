"""An accelerator at the other end of a line: the host's end of docs/protocol.md.

Whatever goes wrong on the line, wrong logits never come out. A frame that gets no answer, or arrives damaged,
is sent again. Where an image gets no result, the accelerator is reset, is given its tables again if they are
no longer sealed, and all images without a result are sent once more.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.protocol import (
    BENCHED,
    COUNT_BITS,
    COUNTERS_MEMORY,
    PROTECTED,
    RESULT_BYTES,
    WAITS,
    Decoder,
    ErrorCode,
    Frame,
    FrameType,
    ProtocolError,
    encode,
)
from haarlequin.sw import answers
from haarlequin.sw.devices.byte_line import Line, Unplugged
from haarlequin.sw.devices.device import (
    Benchmark,
    CompiledModel,
    Device,
    DeviceError,
    Progress,
    Result,
)
from haarlequin.sw.table_folder import Compiled

TRIES = 6
"""How often something is tried. Each try waits twice as long as the one before. The longest pause also ends
any frame that the accelerator believes to be in the middle of."""

IN_FLIGHT = {False: 2, True: 4}
"""Images that are sent without a result yet, by whether the line has flow control. The accelerator always has
room for two: one is being computed, and one waits for it to be done. Where the next may wait on the line, one
more is being embedded and one more comes, so that neither takes time of its own."""

GONE_SECONDS = 10.0
"""How long a line that is gone is tried to be opened again."""
RETRY_SECONDS = 0.25
"""The pause between two tries."""

BENCH_SECONDS = 1.0
"""How long a BENCH may take. The accelerator hears nothing meanwhile, and a person wants to stop it."""

MOST_NOISE = 1 << 18
"""After this many bytes without a frame, more than the largest payload, a line is taken to be all noise."""

MOST_STRAYS = 1 << 10
"""After this many frames in a row that answer nothing, a line is taken to be all noise."""


@dataclass
class _Heard:
    """Counts what has come since a question was asked, and was not its answer."""

    noise: int = 0
    """Bytes without a frame in them, since the last frame if there was one."""
    frames: int = 0
    """Frames that were not the answer."""

    def __str__(self) -> str:
        if self.frames:
            return f"{self.frames} frames came and none of them an answer"
        return f"{self.noise} bytes came and none of them a frame" if self.noise else "nothing came"

    def hint(self, line: Line) -> str:
        """Say what a person should look at, if this is all that has ever come."""
        if self.frames:
            return ""
        return line.noise_hint if self.noise else line.silence_hint


class _Unanswered(Exception):
    """A question got no answer: there was silence after what was heard, or another frame ``came``."""

    def __init__(self, heard: _Heard, came: Frame | None = None):
        if came is None:
            what = str(heard)
        elif came.type == FrameType.ERROR:
            what = f"the answer is {_error(came)}"
        else:
            what = f"{came.type.name} came"
        if came is not None and _error(came) == ErrorCode.TYPE.name:
            what += "; build its bitstream with this version"
        super().__init__(what)
        self.tables_damaged = came is not None and _error(came) == ErrorCode.TABLES_DAMAGED.name


def _error(frame: Frame) -> str:
    """The name of an ERROR's code, or its number where it has no name."""
    known = frame.detail in ErrorCode.__members__.values()
    return ErrorCode(frame.detail).name if known else f"error {frame.detail}"


class _Another(Exception):
    """Another accelerator is at a line than before."""


class _Gone(Line):
    """Stands in the place of a line that is gone."""

    latency, exact = 0.0, False

    def __init__(self, gone: Unplugged):
        self._why = str(gone)

    def send(self, data: bytes) -> None:
        """Say that it is gone."""
        raise Unplugged(self._why)

    def receive(self, seconds: float) -> bytes:
        """Say that it is gone."""
        raise Unplugged(self._why)

    def close(self) -> None:
        """Do nothing."""


class LinkDevice(Device):
    """The accelerator on a line, as it identifies itself. Closing the device closes the line.

    Where the line is `Unplugged` while images are computed, and it can be opened anew, it is tried for
    `GONE_SECONDS`; then the tables are loaded again, and the run goes on. Where that fails, too, the next run
    begins with it.

    Arguments:
        line: the line, or a function that opens it.

    Raises what that function does, and `DeviceError` where nothing answers, or another thing than an
    accelerator does.
    """

    def __init__(self, line: Line | Callable[[], Line]):
        self._open = None if isinstance(line, Line) else line
        line = line if isinstance(line, Line) else line()
        super().__init__(line.name)
        self._line, self._using = line, threading.RLock()
        self._decoder, self._frames = Decoder(), deque[Frame]()
        self._sequence = itertools.count()
        self._tables: Compiled | None = None
        self._sealed = False
        self._identified = False
        try:
            self.identity: Identity = self._identify()
        except BaseException:
            self.close()
            raise
        self._identified = True
        self.digest = self.identity.config_hash

    @property
    def _loaded(self) -> Compiled:
        if self._tables is None:
            raise DeviceError(f"{self.name}: load a model first")
        return self._tables

    def _load(self, model: CompiledModel, progress: Progress) -> None:
        tables = model.placed
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
        tables, number = self._loaded, self.identity.number(COUNTERS_MEMORY)
        words = self._read(number, 0, self.identity.memories[number].depth)
        # The tables' operations are in the order of their codes. The last counter counts waiting.
        return dict(zip(tables.operations, words, strict=False))

    def _reset(self) -> None:
        self._asked("to reset", lambda: Frame(FrameType.RESET, self._number()), FrameType.ACK)

    def _close(self) -> None:
        with self._using:
            self._shut()

    def _shut(self) -> None:
        """Close the line; where it is gone, closing it may fail as everything does."""
        with suppress(OSError):
            self._line.close()

    # Frames

    def _say(self, frame: Frame) -> None:
        """Send this frame."""
        with self._using:
            self._turn.check_open()
            self._line.send(encode(frame))

    def _listen(self, wait: float) -> bytes:
        """The next bytes; empty after ``wait`` seconds of silence."""
        with self._using:
            self._turn.check_open()
            return self._line.receive(wait)

    def _number(self) -> int:
        return next(self._sequence) % 256

    def _frame(self, wait: float, heard: _Heard) -> Frame:
        """The next frame; raises `_Unanswered` after ``wait`` seconds of silence."""
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
        """Say what a person should look at; nothing, once an accelerator has answered on the line."""
        return "" if self._identified else heard.hint(self._line)

    def _babbling(self, heard: _Heard) -> DeviceError:
        return DeviceError(f"{self.name}: {heard}{self._hint(heard)}")

    def _answer(self, frame: Frame, kind: FrameType, wait: float, heard: _Heard) -> Frame:
        """Send a frame and return its answer; raises `_Unanswered` where the answer is of another kind."""
        self._say(frame)
        for _ in range(MOST_STRAYS):
            came = self._frame(wait, heard)
            if came.sequence != frame.sequence or came.type == FrameType.RESULT:
                continue  # it answers a frame that was given up
            if came.type == kind:
                return came
            raise _Unanswered(heard, came)
        raise self._babbling(heard)

    def _asked(self, what: str, frame: Callable[[], Frame], kind: FrameType, computing: float = 0.0) -> Frame:
        """Ask until there is an answer; the frame is made anew for each try, to have a new number. The answer
        may take ``computing`` seconds longer than the line itself.
        """
        heard = _Heard()
        for attempt in range(TRIES):
            try:
                return self._answer(frame(), kind, computing + self._line.latency * 2**attempt, heard)
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
        """Send the tables, and read them back where the line could have damaged them."""
        self._sealed = False  # until it is done, it may have another model's
        pieces = list(_pieces(self._loaded))
        total = sum(len(payload) for *_, payload in pieces)
        for _ in range(TRIES):
            self._reset()  # a LOAD is refused while an image is in the machine
            done = 0
            for number, _, first, payload in pieces:
                load = partial(self._load_frame, number, first, payload)
                self._asked("to take its tables", load, FrameType.ACK)
                done += len(payload)
                progress(done, total)
            if self._line.exact or all(map(self._holds, pieces)):
                self._asked("to seal them", lambda: Frame(FrameType.SEAL, self._number()), FrameType.ACK)
                self._sealed = True
                return
        raise DeviceError(f"{self.name}: its memories do not hold what was written, {TRIES} times")

    def _load_frame(self, memory: int, first: int, payload: bytes) -> Frame:
        return Frame(FrameType.LOAD, self._number(), memory, first, payload)

    def _holds(self, piece: tuple[int, Memory, int, bytes]) -> bool:
        """Read a piece back; whether it is as it was sent."""
        number, memory, first, payload = piece
        return self._read(number, first, len(payload) // memory.word_bytes) == memory.unpack(payload)

    def _read(self, number: int, first: int, count: int) -> list[int]:
        """Read ``count`` words of a memory from the word ``first`` on."""
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
        tables = self._loaded
        with closing(self._payloads(images)) as payloads:
            for payload in payloads:
                yield self._decoded(payload, tables)

    def _benchmark(self, image: np.ndarray, count: int, progress: Progress) -> Benchmark:
        tables = self._loaded
        (payload,) = self._payloads(iter([image]))
        result = self._decoded(payload, tables)
        answer = int(np.frombuffer(payload[: -answers.COUNTERS * RESULT_BYTES], "<u4").sum(dtype=np.uint64))
        at_once = int(BENCH_SECONDS * self.identity.clock_hz / max(1, tables.cycles))
        at_once = max(1, min(at_once, (1 << COUNT_BITS) - 1))
        cycles = done = 0
        while done < count:
            images = min(count - done, at_once)
            took, total = self._repeat(images, tables)
            if total != images * answer % (1 << 32):
                raise DeviceError(
                    f"{self.name}: computed an image {images} times, and not with the same answer each time"
                )
            done, cycles = done + images, cycles + took
            progress(done, count)
        return Benchmark(count, cycles, self.identity.clock_hz, result)

    def _repeat(self, images: int, tables: Compiled) -> tuple[int, int]:
        """Have the last image computed so many times: the cycles that it took, and the sum of the answers."""
        came = self._asked(
            "to repeat an image",
            lambda: Frame(FrameType.BENCH, self._number(), address=images),
            FrameType.BENCHED,
            computing=images * self._seconds(tables),
        )
        if len(came.payload) != BENCHED.size:
            raise DeviceError(f"{self.name}: {len(came.payload)} bytes are not the answer to a BENCH")
        return BENCHED.unpack(came.payload)

    def _seconds(self, tables: Compiled) -> float:
        """The most seconds for an image: its own, those of the image before it, and both embeddings, each of
        which may take as long again.
        """
        return 4 * tables.cycles / self.identity.clock_hz

    def _payloads(self, images: Iterator[np.ndarray]) -> Generator[bytes, None, None]:
        """The RESULT of each image, of which as many as `IN_FLIGHT` says are on their way."""
        tables, most = self._loaded, IN_FLIGHT[self._line.flow_control]
        flying: deque[bytes] = deque()  # the pixels of each
        numbers: deque[int] = deque()  # of those that have been sent
        failures, departures = 0, 0  # since the last result
        repair = _nothing if self._sealed else self._reload
        try:
            while True:
                try:
                    repair()
                    repair = _nothing
                    while len(numbers) < len(flying):
                        numbers.append(self._send(flying[len(numbers)]))
                    for image in itertools.islice(images, most - len(flying)):
                        flying.append(image.tobytes())
                        numbers.append(self._send(flying[-1]))
                    if not flying:
                        return
                    payload = self._result(numbers[0], 2**failures, tables)
                except _Unanswered as error:
                    failures += 1
                    if failures == TRIES:
                        raise DeviceError(f"{self.name}: tried an image {TRIES} times, and {error}") from None
                    repair = self._reload if error.tables_damaged else self._reset
                    numbers.clear()
                    continue
                except Unplugged as error:
                    if self._open is None:
                        raise
                    departures += 1
                    if departures == TRIES:
                        what = f"it went {TRIES} times before an image was computed"
                        raise DeviceError(f"{error}; {what}") from None
                    repair = partial(self._plug_in_again, self._open, error)
                    numbers.clear()
                    continue
                failures = departures = 0
                flying.popleft()
                numbers.popleft()
                yield payload
        finally:
            if flying:  # there was an error, or nobody wants the rest
                self._forget()

    def _reload(self) -> None:
        self._load_tables(lambda done, total: None)

    def _plug_in_again(self, line: Callable[[], Line], gone: Unplugged) -> None:
        """Open the line anew, once that is possible, and load the tables; raises `DeviceError` otherwise."""
        end = time.monotonic() + GONE_SECONDS
        with self._using:
            self._lose(gone)
            while True:
                self._turn.check_open()
                try:
                    self._meet(line, gone)
                    break
                except _Another:
                    raise DeviceError(
                        f"{self.name}: another accelerator was plugged in: begin again"
                    ) from None
                except DeviceError:
                    if time.monotonic() > end:
                        raise DeviceError(f"{gone}; it did not come back in {GONE_SECONDS:g} s") from None
                    time.sleep(RETRY_SECONDS)
        self._reload()

    def _meet(self, line: Callable[[], Line], gone: Unplugged) -> None:
        """Open the line, and see that the same accelerator is there; otherwise the line is closed again."""
        self._line = line()
        try:
            self._decoder, self._frames = Decoder(), deque()
            if self._identify() != self.identity:
                raise _Another
        except BaseException:
            self._lose(gone)
            raise

    def _lose(self, gone: Unplugged) -> None:
        """Close the line, so that it can be opened again, and use it no longer: whatever is there has not
        said what it is.
        """
        self._shut()
        self._line = _Gone(gone)

    def _send(self, pixels: bytes) -> int:
        number = self._number()
        self._say(Frame(FrameType.IMAGE, number, WAITS if self._line.flow_control else 0, payload=pixels))
        return number

    def _result(self, number: int, patience: int, tables: Compiled) -> bytes:
        """The RESULT of that image, the oldest under way; raises `_Unanswered`."""
        heard = _Heard()
        for _ in range(MOST_STRAYS):
            came = self._frame(self._seconds(tables) + self._line.latency * patience, heard)
            if came.type == FrameType.RESULT and came.sequence == number:
                return came.payload
            if came.type in (FrameType.RESULT, FrameType.ERROR):
                raise _Unanswered(heard, came)
        raise self._babbling(heard)

    def _decoded(self, payload: bytes, tables: Compiled) -> Result:
        config, whole = tables.model, answers.gives_logits(tables)
        if len(payload) != (answers.words(config, whole) + answers.COUNTERS) * RESULT_BYTES:
            raise DeviceError(f"{self.name}: a result of {len(payload)} bytes is not one of this model")
        answer = answers.logits_of(payload, config, whole)
        cycles, saturations = np.frombuffer(payload[-answers.COUNTERS * RESULT_BYTES :], "<i4").tolist()
        labels_only = config.segmentation and not whole
        if labels_only and answer.max() >= len(config.classes):
            raise DeviceError(
                f"{self.name}: a token has class {answer.max()}, the model has {len(config.classes)} of them"
            )
        return Result(answer, cycles, saturations, labels_only=labels_only)

    def _forget(self) -> None:
        try:
            self._reset()
        except DeviceError:
            return  # the error has been reported already, or nobody is left to hear of it


def _nothing() -> None:
    """Nothing is to be repaired."""


def load_frames(tables: Compiled) -> list[Frame]:
    """The frames that fill every memory that a model uses, and seal them."""
    loads = [
        Frame(FrameType.LOAD, i % 256, number, first, payload)
        for i, (number, _, first, payload) in enumerate(_pieces(tables))
    ]
    return [*loads, Frame(FrameType.SEAL, len(loads) % 256)]


def _pieces(tables: Compiled) -> Iterator[tuple[int, Memory, int, bytes]]:
    """Cut the tables into pieces: (number of the memory, memory, first word, payload)."""
    for number, memory in enumerate(tables.memories):
        words, count = tables.words.get(memory.name, []), max(1, PROTECTED // memory.word_bytes)
        for first in range(0, len(words), count):
            yield number, memory, first, memory.pack(words[first : first + count])
