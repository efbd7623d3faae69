import random
from collections import deque

import pytest
from amaranth.sim import SimulatorContext

from haarlequin.hw.link import protocol
from haarlequin.hw.link.frames import CRC
from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.link import Link
from haarlequin.hw.link.ports import machine_ports
from haarlequin.hw.link.protocol import WAITS, Decoder, ErrorCode, Frame, FrameType, encode
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

TIMEOUT = 30
ACK_BYTES = len(encode(Frame(FrameType.ACK)))
SILENCE = 40
"""Cycles without anything after which nothing more is to come; more than the timeout."""
READ_LATENCY = 5

NARROW, WIDE, PIXELS, DEEP = range(4)
IDENTITY = Identity(
    0x89ABCDEF,
    48_000_000,
    (
        Memory("narrow", 5, 40),
        Memory("wide", 61, 7),
        Memory("pixels", 16, 10),
        Memory("deep", 8, protocol.MAX_DEPTH),
    ),
)
IMAGE_BYTES = 20
RESULT_WORDS, COUNTERS = 3, 2
HEADER = protocol.HEADER_BYTES + protocol.CRC_BYTES
GAPS_AND_STALLS = [(0, 0), (0.5, 0), (0, 0.7), (0.5, 0.5)]


def link(read_latency=READ_LATENCY):
    return Link(IDENTITY, "pixels", TIMEOUT, read_latency)


def little(word):
    return word.to_bytes(4, "little")


def image(generator):
    return generator.randbytes(IMAGE_BYTES)


def golden(pixels):
    """What the stub of a machine makes of an image, and the payload of its result."""
    words = [sum(pixels), protocol.crc(pixels) * 0x10001, 0xFFFFFFFF - pixels[0]]
    return words, b"".join(map(little, words))


class Bench:
    """A host on the one side of the link, a stub of a machine on the other, a cycle at a time.

    Gaps and stalls are probabilities of each cycle. The machine takes ``capacity`` images, and gives the
    first's result ``compute`` cycles after it came; None lets it wait, and so does ``hung`` between words.
    One ``out_of_step`` marks the wrong word as a result's last.
    """

    def __init__(self, context: SimulatorContext, block: Link, seed=0, gaps=0.0, stalls=0.0):
        self.context, self.link, self.generator = context, block, random.Random(seed)
        self.gaps, self.stalls, self.stuck = gaps, stalls, False
        self.repeating = 0
        """Cycles in which images were to be computed again."""
        self.memories = [{} for _ in IDENTITY.memories]
        self.writes, self.images, self.resets, self.cycle = [], [], 0, 0
        self.capacity, self.compute, self.image_bytes, self.result_words = 2, 10, IMAGE_BYTES, RESULT_WORDS
        self.busy = self.hung = self.out_of_step = False
        self._in_flight, self._words, self._reads = deque(), deque(), deque([None] * block.read_latency)
        self._line, self._offered, self._waiting, self._held = deque(), None, False, None
        self._decoder, self._frames, self.sent = Decoder(), deque(), bytearray()
        self._new_pixels, self._bytes = False, bytearray()

    def put(self, *parts):
        """Frames and bytes onto the line."""
        for part in parts:
            self._line.extend(part if isinstance(part, bytes) else encode(part))

    async def step(self):
        """One cycle."""
        link, get, set_ = self.link, self.context.get, self.context.set
        if self._offered is None and self._line and self.generator.random() >= self.gaps:
            self._offered = self._line.popleft()
        offered = self._offered is not None
        set_(link.rx.valid, offered)
        set_(link.rx.payload, self._offered if offered else protocol.SYNC)
        stall = self.stuck or self.generator.random() < self.stalls
        set_(link.tx.ready, not stall)
        read = self._reads.popleft()
        set_(link.answer, self.generator.getrandbits(8) if read is None else self._byte(*read))
        if not self._words and self._in_flight and self.compute is not None:
            pixels, since = self._in_flight[0]
            if self.cycle - since >= self.compute:
                self._words.extend(golden(pixels)[0])
        words = self._waiting or (
            bool(self._words) and not self.hung and self.generator.random() >= self.gaps
        )
        set_(link.results.valid, words)
        word = self._words[0] if words else self.generator.getrandbits(32)
        left = len(self._words)
        marks = {"answer": left > COUNTERS, "last": left == (2 if self.out_of_step else 1)}
        set_(link.results.payload, {"word": word} | marks)
        set_(link.idle, not self._in_flight and not self.busy)
        set_(link.room, len(self._in_flight) < self.capacity)
        set_(link.image_bytes, self.image_bytes)
        set_(link.result_words, self.result_words)

        tx = get(link.tx.valid), get(link.tx.payload)
        assert self._held in (None, tx), "a byte that was not taken moved"
        self._held = tx if tx[0] and stall else None
        if tx[0] and not stall:
            self.sent.append(tx[1])
            self._frames.extend(self._decoder.feed(bytes([tx[1]])))
        select, address = get(link.select), get(link.address)
        self._reads.append((select, address, get(link.position)) if get(link.read) else None)
        if get(link.write):
            memory = IDENTITY.memories[select]
            assert address < memory.depth
            word = int.from_bytes(self._bytes[-memory.word_bytes :], "little") & (1 << memory.width) - 1
            self.memories[select][address] = word
            self._new_pixels |= select == PIXELS
            self.writes.append((select, address, word))
        if get(link.take):
            self._bytes.append(get(link.byte))
        self.repeating += get(link.again)
        self._waiting = words and not get(link.results.ready)
        if words and not self._waiting:
            self._words.popleft()
            if not self._words:
                self._in_flight.popleft()
        if get(link.commit):
            assert len(self._in_flight) < self.capacity
            assert get(link.again) == (not self._new_pixels)
            self._new_pixels = False
            pixels = b"".join(self.memories[PIXELS][i].to_bytes(2, "little") for i in range(IMAGE_BYTES // 2))
            self.images.append(pixels)
            self._in_flight.append((pixels, self.cycle))
        if get(link.reset):
            self.resets += 1
            self._in_flight.clear()
            self._words.clear()
            self._waiting = False
        if offered and get(link.rx.ready):
            self._offered = None
        self.cycle += 1
        await self.context.tick()

    def _byte(self, select, address, position):
        return self.memories[select].get(address, 0) >> 8 * position & 0xFF

    async def drain(self):
        """Until the line is empty."""
        while self._line or self._offered is not None:
            await self.step()

    async def receive(self):
        """The next frame; there must be one."""
        for _ in range(5000):
            if self._frames:
                return self._frames.popleft()
            await self.step()
        raise AssertionError("no frame came")

    async def silence(self):
        """All frames that still come; then nothing does, no write, no image and no byte."""
        await self.drain()
        state, quiet = None, 0
        while quiet < SILENCE:
            await self.step()
            now = len(self.sent), len(self.writes), len(self.images), self.resets
            quiet = quiet + 1 if now == state else 0
            state = now
        frames = [*self._frames, *self._decoder.give_up()]
        self._frames.clear()
        return frames

    async def ask(self, *parts):
        """One frame there, one back, and nothing else."""
        self.put(*parts)
        answer = await self.receive()
        assert await self.silence() == []
        return answer

    async def works(self):
        """A LOAD, a READ and an image, all as they should be."""
        memory = IDENTITY.memories[WIDE]
        words = [self.generator.getrandbits(61) for _ in range(3)]
        payload = memory.pack(words)
        assert await self.ask(Frame(FrameType.LOAD, 7, WIDE, 4, payload)) == Frame(FrameType.ACK, 7)
        data = await self.ask(Frame(FrameType.READ, 8, WIDE, 4, asked=len(payload)))
        assert (data.type, data.sequence, memory.unpack(data.payload)) == (FrameType.DATA, 8, words)
        assert await self.ask(Frame(FrameType.SEAL, 9)) == Frame(FrameType.ACK, 9)
        await self.infers()

    async def infers(self):
        """An image with its result."""
        pixels = image(self.generator)
        result = await self.ask(Frame(FrameType.IMAGE, 200, payload=pixels))
        assert result == Frame(FrameType.RESULT, 200, payload=golden(pixels)[1])
        assert self.images[-1] == pixels


def run(script, cycles=100_000, block=None, **options):
    """A script against a link."""

    async def testbench(context):
        await script(Bench(context, block, **options))

    block = block or link()
    simulate(block, testbench, cycles)


def error(code, sequence):
    return Frame(FrameType.ERROR, sequence, code)


def flip(data, bit):
    return bytes(byte ^ ((1 << bit % 8) if i == bit // 8 else 0) for i, byte in enumerate(data))


def with_length(frame, length):
    """The frame with a header that announces another payload."""
    header = encode(frame)[: protocol.HEADER_BYTES - 3] + length.to_bytes(3, "little")
    return header + protocol.crc(header[1:]).to_bytes(2, "big") + encode(frame)[HEADER:]


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
def test_every_frame_is_answered(gaps, stalls):
    async def script(bench):
        answer = await bench.ask(Frame(FrameType.IDENTIFY, 255))
        assert (answer.type, answer.sequence) == (FrameType.IDENTITY, 255)
        assert Identity.decode(answer.payload) == IDENTITY
        await bench.works()
        assert await bench.ask(Frame(FrameType.RESET, 3)) == Frame(FrameType.ACK, 3)
        assert bench.resets == 1
        await bench.infers()

    run(script, gaps=gaps, stalls=stalls)


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
@pytest.mark.parametrize("number", range(len(IDENTITY.memories)))
def test_words_of_every_width_come_back(number, gaps, stalls):
    memory = IDENTITY.memories[number]

    async def script(bench):
        for first, count in ((0, min(memory.depth, 40)), (memory.depth - 1, 1)):
            words = [bench.generator.getrandbits(memory.width) for _ in range(count)]
            bench.writes.clear()
            payload = memory.pack(words)
            answer = await bench.ask(Frame(FrameType.LOAD, 1, number, first, payload))
            assert answer == Frame(FrameType.ACK, 1)
            assert bench.writes == [(number, first + i, word) for i, word in enumerate(words)]
            answer = await bench.ask(Frame(FrameType.READ, 2, number, first, asked=len(payload)))
            assert (answer.type, answer.sequence) == (FrameType.DATA, 2)
            assert memory.unpack(answer.payload) == words

    run(script, gaps=gaps, stalls=stalls)


def test_a_part_of_a_word_is_read():
    async def script(bench):
        bench.memories[WIDE] = {2: 0x1122334455667788, 3: 0x0A0B0C0D0E0F0102}
        answer = await bench.ask(Frame(FrameType.READ, 2, WIDE, 2, asked=11))
        assert answer.payload[:7] == bytes.fromhex("88776655443322")
        assert answer.payload[8:] == bytes.fromhex("02010f")

    run(script)


@pytest.mark.parametrize("read_latency", [1, 2, 4, 8])
def test_the_machine_answers_as_late_as_was_said(read_latency):
    async def script(bench):
        bench.memories[WIDE] = {2: 0x1122334455667788}
        answer = await bench.ask(Frame(FrameType.READ, 2, WIDE, 2, asked=7))
        assert answer.payload == bytes.fromhex("88776655443322")

    run(script, block=link(read_latency))


def test_loads_back_to_back_take_a_byte_a_cycle():
    async def script(bench):
        words = [bench.generator.randbytes(100) for _ in range(5)]
        frames = [Frame(FrameType.LOAD, i, DEEP, 100 * i, part) for i, part in enumerate(words)]
        bench.put(*frames)
        await bench.drain()
        # Two cycles behind a header, two behind a payload; an answer's bytes are within the next frame.
        assert bench.cycle == sum(len(encode(frame)) for frame in frames) + 5 * 4 - 2
        assert await bench.silence() == [Frame(FrameType.ACK, i) for i in range(5)]
        assert bench.writes == [(DEEP, i, byte) for i, byte in enumerate(b"".join(words))]

    run(script)


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
@pytest.mark.parametrize("capacity", [1, 4])
def test_images_in_flight(capacity, gaps, stalls):
    """One that finds no room is refused; the results of the others come in order, whatever their delay."""

    async def script(bench):
        bench.capacity = capacity
        await bench.ask(Frame(FrameType.SEAL))
        pixels = {sequence: image(bench.generator) for sequence in (9, 255, 0, 1, 77, 3, 4)}
        for compute in (None, 0, 25):
            bench.compute, bench.images[:] = compute, []
            bench.put(*(Frame(FrameType.IMAGE, sequence, payload=part) for sequence, part in pixels.items()))
            frames = await bench.silence() if compute is None else []
            bench.compute = compute or 0
            frames += await bench.silence()
            results = [frame for frame in frames if frame.type == FrameType.RESULT]
            refused = [frame.sequence for frame in frames if frame.type != FrameType.RESULT]
            assert [frame for frame in frames if frame not in results] == [
                error(ErrorCode.FULL, sequence) for sequence in refused
            ]
            taken = [sequence for sequence in pixels if sequence not in refused]
            assert bench.images == [pixels[sequence] for sequence in taken]
            assert [(frame.sequence, frame.payload) for frame in results] == [
                (sequence, golden(pixels[sequence])[1]) for sequence in taken
            ]
            if compute is None:
                assert taken == list(pixels)[:capacity]

    run(script, gaps=gaps, stalls=stalls)


def test_an_image_goes_where_pixels_go():
    """Whatever its header says."""

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        pixels = image(bench.generator)
        result = await bench.ask(Frame(FrameType.IMAGE, 3, NARROW, 2, pixels))
        assert result == Frame(FrameType.RESULT, 3, payload=golden(pixels)[1])

    run(script)


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
@pytest.mark.parametrize("capacity", [1, 3])
def test_an_image_again_and_again(capacity, gaps, stalls):
    async def script(bench):
        bench.capacity = capacity
        await bench.ask(Frame(FrameType.SEAL))
        await bench.infers()
        (pixels,) = bench.images
        for count in (1, 2, 9):
            bench.images.clear()
            bench.repeating = 0
            answer = await bench.ask(Frame(FrameType.BENCH, 6, address=count))
            payload = protocol.BENCHED.pack(bench.repeating, count * golden(pixels)[0][0])
            assert answer == Frame(FrameType.BENCHED, 6, payload=payload)
            assert bench.images == [pixels] * count
        await bench.works()

    run(script, gaps=gaps, stalls=stalls)


def test_the_sum_of_the_answers_wraps_around(monkeypatch):
    words = [0xFFFF0001, 5, 6]
    monkeypatch.setattr(f"{__name__}.golden", lambda pixels: (words, b"".join(map(little, words))))

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        await bench.infers()
        answer = await bench.ask(Frame(FrameType.BENCH, 6, address=300))
        assert answer.payload[4:] == little(300 * 0xFFFF0001 % (1 << 32))

    run(script)


def test_answers_may_still_be_on_their_way_when_its_image_is_computed_again():
    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        before = len(bench.sent)
        bench.put(IMAGE)
        while len(bench.sent) < before + HEADER + 4 * RESULT_WORDS:
            await bench.step()
        bench.stuck = True
        counts = {6: 2, 7: 3, 8: 1}
        bench.put(*(Frame(FrameType.BENCH, number, address=count) for number, count in counts.items()))
        for _ in range(100):
            await bench.step()
        bench.stuck, bench.repeating = False, 0
        result, *benched = await bench.silence()
        assert result == Frame(FrameType.RESULT, 5, payload=golden(IMAGE.payload)[1])
        assert bench.images == [IMAGE.payload] * 7
        assert [(frame.type, frame.sequence) for frame in benched] == [(FrameType.BENCHED, i) for i in counts]
        found = [protocol.BENCHED.unpack(frame.payload) for frame in benched]
        assert sum(cycles for cycles, _ in found) == bench.repeating
        assert [total for _, total in found] == [
            count * golden(IMAGE.payload)[0][0] for count in counts.values()
        ]

    run(script, stalls=0.8)


def test_no_more_images_than_sequence_numbers():
    async def script(bench):
        bench.capacity, bench.compute = 9, None
        await bench.ask(Frame(FrameType.SEAL))
        bench.put(*(Frame(FrameType.IMAGE, i, payload=image(bench.generator)) for i in range(6)))
        assert await bench.silence() == [error(ErrorCode.FULL, 4), error(ErrorCode.FULL, 5)]
        bench.compute = 0
        assert [frame.sequence for frame in await bench.silence()] == [0, 1, 2, 3]

    run(script)


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
@pytest.mark.parametrize("capacity", [1, 2, 9])
def test_images_that_wait_for_room(capacity, gaps, stalls):
    """None is refused. One that waits holds up all bytes after its header."""

    async def script(bench):
        bench.capacity, bench.compute = capacity, None
        await bench.ask(Frame(FrameType.SEAL))
        pixels = {sequence: image(bench.generator) for sequence in (9, 255, 0, 1, 77, 3, 4)}
        frames = (Frame(FrameType.IMAGE, number, WAITS, payload=part) for number, part in pixels.items())
        bench.put(*frames, Frame(FrameType.SEAL, 8))
        for _ in range(1500):
            await bench.step()
        assert not bench.sent[ACK_BYTES:]
        assert len(bench.images) == min(capacity, 4)
        bench.compute = 0
        *results, _ = sorted(await bench.silence(), key=lambda frame: frame.type == FrameType.ACK)
        assert [(frame.sequence, frame.payload) for frame in results] == [
            (number, golden(part)[1]) for number, part in pixels.items()
        ]
        assert bench.images == [*pixels.values()]

    run(script, gaps=gaps, stalls=stalls)


def test_an_image_that_would_be_refused_anyway_waits_for_nothing():
    async def script(bench):
        bench.capacity, bench.compute = 1, None
        unsealed = Frame(FrameType.IMAGE, 1, WAITS, payload=IMAGE.payload)
        assert await bench.ask(unsealed) == error(ErrorCode.TABLES_DAMAGED, 1)
        await bench.ask(Frame(FrameType.SEAL))
        bench.put(IMAGE, Frame(FrameType.IMAGE, 2, WAITS, payload=IMAGE.payload[1:]))
        assert await bench.silence() == [error(ErrorCode.LENGTH, 2)]

    run(script)


LOAD = Frame(FrameType.LOAD, 5, NARROW, 1, bytes(range(6)))
IMAGE = Frame(FrameType.IMAGE, 5, payload=bytes(range(IMAGE_BYTES)))


@pytest.mark.parametrize(
    ("code", "frame"),
    [
        (ErrorCode.TYPE, Frame(FrameType.ACK, 5)),
        (ErrorCode.TYPE, Frame(FrameType.DATA, 5, payload=bytes(9))),
        (ErrorCode.TYPE, Frame(FrameType.RESULT, 5)),
        (ErrorCode.LENGTH, Frame(FrameType.LOAD, 5, WIDE)),
        (ErrorCode.LENGTH, Frame(FrameType.READ, 5, WIDE)),
        (ErrorCode.LENGTH, Frame(FrameType.LOAD, 5, WIDE, 0, bytes(15))),
        (ErrorCode.LENGTH, Frame(FrameType.IMAGE, 5, payload=bytes(IMAGE_BYTES - 1))),
        (ErrorCode.LENGTH, Frame(FrameType.IMAGE, 5, payload=bytes(IMAGE_BYTES + 1))),
        (ErrorCode.LENGTH, Frame(FrameType.IMAGE, 5)),
        (ErrorCode.LENGTH, Frame(FrameType.BENCH, 5)),
        (ErrorCode.LENGTH, Frame(FrameType.BENCH, 5, address=1 << 16 | 1)),
        (ErrorCode.LENGTH, Frame(FrameType.BENCH, 5, address=1 << 23 | 1)),
        (ErrorCode.RANGE, Frame(FrameType.LOAD, 5, 4, 0, bytes(8))),
        (ErrorCode.RANGE, Frame(FrameType.LOAD, 5, 16, 0, bytes(8))),
        (ErrorCode.RANGE, Frame(FrameType.READ, 5, 128 + WIDE, 0, asked=8)),
        (ErrorCode.RANGE, Frame(FrameType.READ, 5, WIDE, 7, asked=8)),
        (ErrorCode.RANGE, Frame(FrameType.LOAD, 5, NARROW, 40, bytes(1))),
        (ErrorCode.RANGE, Frame(FrameType.LOAD, 5, NARROW, 1 << 23, bytes(1))),
        (ErrorCode.RANGE, Frame(FrameType.LOAD, 5, NARROW, 39, bytes(2))),
        (ErrorCode.RANGE, Frame(FrameType.LOAD, 5, DEEP, protocol.MAX_DEPTH - 1, bytes(2))),
    ],
)
def test_a_frame_that_is_refused(code, frame):
    """Nothing is written beyond the memory's end, and the next frame is taken."""

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        bench.put(frame, Frame(FrameType.IDENTIFY, 6))
        first, second = await bench.silence()
        assert first == error(code, 5)
        assert (second.type, second.sequence) == (FrameType.IDENTITY, 6)
        memory = IDENTITY.memories[frame.detail] if frame.detail < len(IDENTITY.memories) else None
        partly = frame.type == FrameType.LOAD and memory and frame.payload and frame.address < memory.depth
        assert len(bench.writes) == (1 if partly else 0)
        assert bench.images == []
        await bench.works()

    run(script)


@pytest.mark.parametrize("bit", [16, 23])
def test_a_length_counts_in_full(bit):
    """Of a LOAD, an image and a READ: its bits beyond the 16th are as good as the others."""

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        assert await bench.ask(with_length(IMAGE, (1 << bit) + IMAGE_BYTES)) == error(ErrorCode.LENGTH, 5)
        bench.image_bytes += 1 << bit
        assert await bench.ask(IMAGE) == error(ErrorCode.LENGTH, 5)
        bench.image_bytes = IMAGE_BYTES
        assert await bench.ask(with_length(LOAD, (1 << bit) + 6)) == error(ErrorCode.TIMEOUT, 5)
        await bench.works()

        bench.memories[NARROW] = {1 + i: i for i in range(9)}
        before, asked = len(bench.sent), (1 << bit) + 1
        bench.put(Frame(FrameType.READ, 5, NARROW, 1, asked=asked))
        while len(bench.sent) < before + HEADER + 9:
            await bench.step()
        data = with_length(Frame(FrameType.DATA, 5, payload=bytes(9)), asked)
        assert bench.sent[before:-9] == data[:HEADER]
        assert [byte & 31 for byte in bench.sent[-9:]] == list(range(9))

    run(script)


def test_a_result_of_many_words():
    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        bench.result_words, before = 0xFFFF, len(bench.sent)
        bench.put(IMAGE)
        while len(bench.sent) < before + HEADER + 4 * RESULT_WORDS:
            await bench.step()
        result = Frame(FrameType.RESULT, 5, payload=golden(IMAGE.payload)[1])
        assert bench.sent[before:] == with_length(result, 4 * 0xFFFF)[: -protocol.CRC_BYTES]

    run(script)


BENCH = Frame(FrameType.BENCH, 5, address=1)


@pytest.mark.parametrize("frame", [LOAD, Frame(FrameType.READ, 5, WIDE, 0, asked=8), BENCH])
def test_memories_are_left_alone_while_an_image_is_in_the_machine(frame):
    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        bench.busy = True
        bench.put(frame, frame)
        assert await bench.silence() == [error(ErrorCode.BUSY, 5)] * 2
        assert bench.writes == []
        bench.busy = False
        await bench.works()

    run(script)


def test_images_only_with_sealed_tables():
    """Not after power-up, nor after a LOAD, damaged or not, until a SEAL; but after one that was refused."""

    async def script(bench):
        loads = [encode(LOAD), flip(encode(LOAD), 8 * HEADER), encode(LOAD)[:-3]]
        answers = [Frame(FrameType.ACK, 5), error(ErrorCode.CRC, 5), error(ErrorCode.TIMEOUT, 5)]
        for frame in (IMAGE, BENCH):
            assert await bench.ask(frame) == error(ErrorCode.TABLES_DAMAGED, 5)
        for load, answer in zip(loads, answers, strict=True):
            await bench.ask(Frame(FrameType.SEAL))
            await bench.infers()
            assert await bench.ask(load) == answer
            assert await bench.ask(Frame(FrameType.RESET, 1)) == Frame(FrameType.ACK, 1)
            assert await bench.ask(IMAGE) == error(ErrorCode.TABLES_DAMAGED, 5)
        await bench.ask(Frame(FrameType.SEAL))
        bench.busy = True
        assert await bench.ask(LOAD) == error(ErrorCode.BUSY, 5)
        await bench.infers()

    run(script)


@pytest.mark.parametrize(
    ("first", "frame"), [(0, LOAD), (1, IMAGE), (2, Frame(FrameType.READ, 5, NARROW, 1, asked=6))]
)
def test_one_flipped_bit_anywhere(first, frame):
    """No image, no write outside of the addressed run; a header that is hit does nothing at all.

    A third of the bits, which has some of every byte; in the header each frame another third.
    """

    async def script(bench):
        whole = encode(frame)
        for bit in range(first, 8 * len(whole), 3):
            bench.writes.clear()
            bench.put(Frame(FrameType.SEAL, 1), flip(whole, bit))
            seal, *answers = await bench.silence()
            assert seal == Frame(FrameType.ACK, 1)
            if bit < 8 * HEADER:
                assert answers == [] == bench.writes
            else:
                assert answers == [error(ErrorCode.CRC, 5)]
                select = frame.detail if frame.type == FrameType.LOAD else PIXELS
                words = len(frame.payload) // IDENTITY.memories[select].word_bytes
                run_ = {(select, frame.address + i) for i in range(words)}
                assert {(select, address) for select, address, _ in bench.writes} == run_
            assert bench.images == []
        await bench.works()

    run(script, cycles=200_000)


@pytest.mark.parametrize("frame", [LOAD, IMAGE, Frame(FrameType.IDENTIFY, 5)])
def test_a_frame_cut_anywhere(frame):
    async def script(bench):
        whole = encode(frame)
        for size in range(1, len(whole)):
            bench.put(Frame(FrameType.SEAL, 1), whole[:size])
            answers = [error(ErrorCode.TIMEOUT, 5)] if size >= HEADER else []
            assert await bench.silence() == [Frame(FrameType.ACK, 1), *answers]
            assert bench.images == []
        await bench.works()

    run(script, cycles=200_000)


def test_a_refused_frame_that_is_cut_is_answered_once():
    async def script(bench):
        assert await bench.ask(encode(IMAGE)[: HEADER + 10]) == error(ErrorCode.TABLES_DAMAGED, 5)
        await bench.works()

    run(script)


@pytest.mark.parametrize(("pause", "cut"), [(TIMEOUT - 1, False), (TIMEOUT, True)])
@pytest.mark.parametrize("place", [1, HEADER - 2, HEADER + 2, HEADER + 6, HEADER + 7])
def test_the_timeout_is_exact(place, pause, cut):
    """Counted is the wait for a byte, in the header, the payload or behind it."""

    async def script(bench):
        whole = encode(LOAD)
        bench.put(whole[:place])
        await bench.drain()
        for _ in range(pause):
            await bench.step()
        bench.put(whole[place:])
        frames = await bench.silence()
        assert frames == (
            [Frame(FrameType.ACK, 5)] if not cut else [error(ErrorCode.TIMEOUT, 5)][: place >= HEADER]
        )

    run(script)


def test_a_wait_for_tx_is_no_timeout():
    """The host's payload waits behind an error that cannot be sent yet."""

    async def script(bench):
        bench.stuck = True
        bench.put(Frame(FrameType.ACK, 1), Frame(FrameType.DATA, 2, payload=bytes(30)), LOAD)
        for _ in range(4 * TIMEOUT):
            await bench.step()
        assert not bench.sent
        assert not bench.writes
        bench.stuck = False
        expected = [error(ErrorCode.TYPE, 1), error(ErrorCode.TYPE, 2), Frame(FrameType.ACK, 5)]
        assert await bench.silence() == expected

    run(script)


def test_no_wait_for_tx_of_any_length_is_a_timeout():
    """The refused payload that comes a little later is still one, although it looks like a frame."""

    async def script(bench):
        payload = encode(Frame(FrameType.IDENTIFY, 9))
        whole = encode(Frame(FrameType.DATA, 2, payload=payload))
        for wait in range(TIMEOUT + 20):
            bench.stuck = True
            bench.put(Frame(FrameType.ACK, 1), whole[: -len(payload) - protocol.CRC_BYTES])
            await bench.drain()
            for _ in range(wait):
                await bench.step()
            bench.stuck = False
            for _ in range(30):
                await bench.step()
            bench.put(whole[-len(payload) - protocol.CRC_BYTES :])
            assert await bench.silence() == [error(ErrorCode.TYPE, 1), error(ErrorCode.TYPE, 2)]

    run(script)


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
def test_garbage_before_between_and_inside(gaps, stalls):
    """After a pause the next frame is always taken; without sync bytes, at once."""

    async def script(bench):
        plain = bytes(set(range(256)) - {protocol.SYNC})
        bench.put(plain, LOAD, plain, LOAD)
        assert await bench.silence() == [Frame(FrameType.ACK, 5)] * 2
        for _ in range(8):
            noise = [
                bench.generator.choice([protocol.SYNC, bench.generator.getrandbits(8)]) for _ in range(50)
            ]
            bench.put(bytes(noise))
            assert await bench.silence() == []
            assert await bench.ask(LOAD) == Frame(FrameType.ACK, 5)
            place = bench.generator.randrange(HEADER + 1, HEADER + 6)
            bench.put(encode(LOAD)[:place] + bytes(noise[:3]) + encode(LOAD)[place:])
            assert await bench.silence() == [error(ErrorCode.CRC, 5)]
        await bench.works()

    run(script, gaps=min(gaps, 0.4), stalls=stalls)


@pytest.mark.parametrize("stalls", [0, 0.7])
def test_a_reset_at_any_moment(stalls):
    """Results of before never come, one that is being sent is spoilt, and sequence numbers start anew."""

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        spoilt = 0
        for delay in range(0, 60, 3):
            bench.compute = None
            pixels = [image(bench.generator) for _ in range(2)]
            bench.put(*(Frame(FrameType.IMAGE, i, payload=part) for i, part in enumerate(pixels)))
            await bench.drain()
            bench.put(Frame(FrameType.RESET, 99))
            bench.compute = delay
            before = len(bench.sent)
            *results, last = await bench.silence()
            assert last == Frame(FrameType.ACK, 99)
            wanted = [Frame(FrameType.RESULT, i, payload=golden(part)[1]) for i, part in enumerate(pixels)]
            assert results == wanted[: len(results)]
            ends = len(encode(last)) + sum(len(encode(result)) for result in results)
            spoilt += len(bench.sent) - before > ends
            bench.compute = 0
            await bench.infers()
        assert spoilt

    run(script, stalls=stalls)


def test_a_reset_frees_a_result_that_never_ends():
    """Its frame keeps its length, so that the host finds the next one."""

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        before = len(bench.sent)
        bench.put(IMAGE)
        while len(bench.sent) < before + HEADER + 1:
            await bench.step()
        bench.hung = True
        assert await bench.silence() == []
        bench.put(Frame(FrameType.RESET, 6), Frame(FrameType.IDENTIFY, 7))
        answers = await bench.silence()
        assert [(answer.type, answer.sequence) for answer in answers] == [
            (FrameType.ACK, 6),
            (FrameType.IDENTITY, 7),
        ]
        result = Frame(FrameType.RESULT, payload=bytes(4 * RESULT_WORDS))
        assert len(bench.sent) - before == sum(len(encode(frame)) for frame in (result, *answers))
        bench.hung = False
        await bench.infers()

    run(script)


def test_a_machine_out_of_step_is_not_believed():
    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        bench.out_of_step = True
        bench.put(IMAGE, Frame(FrameType.IDENTIFY, 6))
        assert [frame.type for frame in await bench.silence()] == [FrameType.IDENTITY]
        bench.out_of_step = False
        await bench.infers()

    run(script)


@pytest.mark.parametrize(("gaps", "stalls"), GAPS_AND_STALLS)
def test_anything_at_random(gaps, stalls):
    """Frames good and damaged in any order: a pause later everything works, and what was good was done."""

    async def script(bench):
        await bench.ask(Frame(FrameType.SEAL))
        kinds = [LOAD, IMAGE, Frame(FrameType.IDENTIFY, 5), Frame(FrameType.READ, 5, WIDE, 3, asked=9)]
        for _ in range(10):
            for _ in range(4):
                whole = encode(bench.generator.choice(kinds))
                fault = bench.generator.randrange(4)
                start = bench.generator.randrange(len(whole))
                if fault == 1:
                    whole = flip(whole, bench.generator.randrange(8 * len(whole)))
                elif fault == 2:
                    whole = whole[:start] + whole[start + bench.generator.randrange(5) :]
                elif fault == 3:
                    whole = whole[:start] + bench.generator.randbytes(3) + whole[start:]
                bench.put(whole)
            await bench.silence()
            assert all(pixels == IMAGE.payload for pixels in bench.images)
            bench.images.clear()
        await bench.works()

    run(script, cycles=200_000, gaps=gaps, stalls=stalls)


def test_sixteen_memories_of_one_bit_and_of_many():
    memories = tuple(Memory(f"memory {i}", 1 + 17 * i, 3) for i in range(16))
    identity = Identity(0, 1, memories)
    block = Link(identity, "memory 15", TIMEOUT, READ_LATENCY)
    generator = random.Random(0)
    contents = [[generator.getrandbits(memory.width) for _ in range(3)] for memory in memories]

    async def testbench(context):
        line = b"".join(
            encode(Frame(FrameType.LOAD, i, i, 0, memory.pack(words)))
            for i, (memory, words) in enumerate(zip(memories, contents, strict=True))
        )
        context.set(block.idle, 1)
        context.set(block.tx.ready, 1)
        written, taken, at = [], [], 0
        while at < len(line) or len(written) < 48:
            context.set(block.rx.valid, at < len(line))
            context.set(block.rx.payload, line[min(at, len(line) - 1)])
            at += context.get(block.rx.ready) and at < len(line)
            if context.get(block.write):
                select = context.get(block.select)
                word = int.from_bytes(taken[-memories[select].word_bytes :], "little")
                written.append((select, context.get(block.address), word & (1 << memories[select].width) - 1))
            if context.get(block.take):
                taken.append(context.get(block.byte))
            await context.tick()
        assert written == [(i, k, contents[i][k]) for i in range(16) for k in range(3)]

    simulate(block, testbench)


def test_a_single_memory():
    """Its addresses have two bits: what lies far behind its end is not taken for what they wrap around to."""
    block = Link(Identity(0, 1, (Memory("only", 8, 3),)), "only", TIMEOUT, READ_LATENCY)
    loads = [(1, b"ab"), (4, b"cd"), (1 << 23, b"ef"), (2, b"ghijklmnop")]
    written, last = [], None

    async def testbench(context):
        nonlocal last
        context.set(block.idle, 1)
        context.set(block.rx.valid, 1)
        context.set(block.tx.ready, 1)
        for byte in b"".join(encode(Frame(FrameType.LOAD, 0, 0, *load)) for load in loads):
            context.set(block.rx.payload, byte)
            taken = False
            while not taken:
                taken = context.get(block.rx.ready)
                if context.get(block.write):
                    written.append((context.get(block.address), last))
                last = context.get(block.byte) if context.get(block.take) else last
                await context.tick()

    simulate(block, testbench, cycles=1000)
    assert written == [(1, ord("a")), (2, ord("b")), (2, ord("g"))]


def test_the_crc_is_the_hosts():
    generator = random.Random(0)
    for size in (1, 2, 7, 300):
        data = generator.randbytes(size)
        assert protocol.crc(data) == CRC.compute(data)


def test_pixels_that_no_memory_is_for():
    with pytest.raises(
        ValueError, match="Link pixels must be one of the memories narrow, wide, pixels, deep"
    ):
        Link(IDENTITY, "nowhere", TIMEOUT, READ_LATENCY)


@pytest.mark.parametrize("timeout", [1, 0, -5, 2.0, None])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(ValueError, match=rf"timeout must be an integer of at least 2, not {timeout!r}"):
        Link(IDENTITY, "pixels", timeout, READ_LATENCY)


def test_the_shortest_timeout():
    assert Link(IDENTITY, "pixels", 2, READ_LATENCY).signature.members["rx"].is_signature


@pytest.mark.parametrize("count", [2, 3, 5, 9, 17])
def test_every_memory_of_a_machine_can_be_selected(count):
    """One more than a power of two takes one bit more."""
    ports = machine_ports([Memory(str(i), 8, 4) for i in range(count)])
    assert len(ports["select"].shape) == count
