"""The host's end of the protocol against an accelerator that fails in every way."""

import itertools
import random
import re
import struct
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.link.identity import Identity, Memory
from haarlequin.hw.link.link import Link
from haarlequin.hw.link.protocol import (
    RESULT_BYTES,
    SYNC,
    WAITS,
    Decoder,
    ErrorCode,
    Frame,
    FrameType,
    encode,
)
from haarlequin.models.common.errors import UsageError
from haarlequin.sw import answers
from haarlequin.sw.devices import CompiledModel, DeviceError
from haarlequin.sw.devices import link as link_module
from haarlequin.sw.devices.link import IN_FLIGHT, MOST_NOISE, TRIES, LinkDevice, load_frames
from haarlequin.sw.devices.serial_port import BAUD, BITS
from tests.sw.devices.fake import (
    CLOCK_HZ,
    CYCLES,
    DIGEST,
    FILL,
    MEMORIES,
    MODEL,
    PIECES,
    RIGHT_WORDS,
    TABLES,
    FakeLine,
    always,
    first,
    logits,
)

KIND = FrameType
PIXELS = [np.full((8, 8, 1), i, np.uint8) for i in range(10)]


@pytest.fixture
def line():
    return FakeLine()


def loaded(line):
    device = LinkDevice(line)
    device.load(MODEL)
    line.taken.clear()
    line.waits.clear()
    return device


def failure(action):
    """The message of its `DeviceError`: one line that begins with the device."""
    with pytest.raises(DeviceError) as caught:
        action()
    message = str(caught.value)
    assert message.startswith("fake: ")
    assert "\n" not in message
    return message.removeprefix("fake: ")


def assert_right(results, images):
    assert len(results) == len(images)
    for result, image in zip(results, images, strict=True):
        assert result.logits.tolist() == logits(image.tobytes(), RIGHT_WORDS)
        assert (result.logits.dtype, result.logits.shape) == (np.int32, (3,))
        assert (result.cycles, result.saturations) == (CYCLES, image[0, 0, 0])


def error(code):
    return lambda frame: [Frame(KIND.ERROR, frame.sequence, code)]


# What is it?


def test_it_says_what_it_is(line):
    device = LinkDevice(line)
    assert (device.name, device.digest, device.identity.clock_hz, device.predicts) == (
        "fake", DIGEST, CLOCK_HZ, False,
    )  # fmt: skip
    assert device.identity.memories == MEMORIES
    assert not line.closed
    device.close()
    assert line.closed


def test_silence(line):
    line.twist = always(KIND.IDENTIFY, [])
    assert failure(lambda: LinkDevice(line)) == f"asked what it is {TRIES} times, and nothing came"
    assert line.waits == [line.latency * 2**i for i in range(TRIES)]
    assert len({frame.sequence for frame in line.taken}) == TRIES
    assert line.closed


STRAYS = f"{TRIES} frames came and none of them an answer"
NOISE = f"{TRIES * (len(encode(Frame(KIND.ACK))) - 1)} bytes came and none of them a frame"


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        (error(ErrorCode.TYPE), "the answer is TYPE; build its bitstream with this version"),
        (error(99), "the answer is error 99"),
        (lambda frame: [Frame(KIND.ACK, frame.sequence)], "ACK came"),
        (lambda frame: [frame], "IDENTIFY came"),  # the line's ends are joined
        (lambda frame: [Frame(KIND.IDENTITY, (frame.sequence + 1) % 256)], STRAYS),
        (lambda frame: [encode(Frame(KIND.ACK, frame.sequence))[:-1]], NOISE),
    ],
    ids=["error", "unknown error", "another kind", "an echo", "another number", "cut"],
)
def test_something_else_answers(line, answers, last):
    line.twist = always(KIND.IDENTIFY, answers)
    assert failure(lambda: LinkDevice(line)) == f"asked what it is {TRIES} times, and {last}"
    assert line.closed


def test_the_last_try_counts(line):
    line.twist = first(KIND.IDENTIFY, [], TRIES - 1)
    assert LinkDevice(line).digest == DIGEST
    assert line.count(KIND.IDENTIFY) == TRIES


def test_a_late_answer_is_not_taken_for_another(line):
    """The answer to the first try comes with the second, and says something else."""
    stale = Frame(KIND.IDENTITY, 0, payload=Identity(1, 1, MEMORIES).encode())
    late = iter([[], [stale, Frame(KIND.ERROR, 0, ErrorCode.CRC), Frame(KIND.RESULT, 1, payload=bytes(20))]])
    line.twist = lambda frame, honest: [*next(late, []), *([] if frame.sequence == 0 else honest)]
    assert LinkDevice(line).digest == DIGEST


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (replace(Identity(DIGEST, 1, MEMORIES), version=1).encode(), "must begin with version 2, not '01'"),
        (b"", "must begin with version 2, not ''"),
        (Identity(DIGEST, 1, MEMORIES).encode()[:-1], "an identity of"),
        (Identity(DIGEST, 1, MEMORIES).encode()[:9], "not an identity"),
    ],
)
def test_another_version_of_the_protocol(line, payload, message):
    line.twist = always(KIND.IDENTIFY, lambda frame: [Frame(KIND.IDENTITY, frame.sequence, payload=payload)])
    said = failure(lambda: LinkDevice(line))
    assert message in said
    assert said.endswith("; build its bitstream with this version")
    assert line.closed


@pytest.mark.parametrize("noise", [b"\x00", bytes([SYNC]), bytes([SYNC, 0xC1, 0])])
def test_nothing_but_noise(line, noise):
    pieces = iter([noise * (1 << 14)] * 100)
    line.receive = lambda seconds: next(pieces)
    line.noise_hint = ": try it"
    assert re.fullmatch(r"\d+ bytes came and none of them a frame: try it", failure(lambda: LinkDevice(line)))


def test_frames_that_answer_nothing(line):
    """Whatever they are, they are no reason to listen for ever."""
    line.receive = lambda seconds: encode(Frame(KIND.ACK, 77))
    assert failure(lambda: LinkDevice(line)) == "1024 frames came and none of them an answer"
    assert line.closed


def test_noise_before_an_answer(line):
    """As much as there may be, with what looks like frames in it."""
    random_bytes = random.Random(1).randbytes(1 << 12)
    header = encode(Frame(KIND.RESULT, payload=bytes(2000)))[:40]
    line.twist = lambda frame, honest: [random_bytes, bytes([SYNC]) * 30, header, *honest]
    device = LinkDevice(line)
    assert device.digest == DIGEST
    line.twist = lambda frame, honest: [bytes(MOST_NOISE - 1000), *honest]
    device.reset()


def test_as_much_noise_as_there_may_be(line):
    """Before each frame, whose own bytes count as well until all of it is there."""
    device = loaded(line)

    def noise(frame, size):
        return [bytes(size - len(encode(frame))), frame]

    def twist(frame, honest):
        return noise(Frame(KIND.ACK, frame.sequence ^ 1), MOST_NOISE) + noise(honest[0], MOST_NOISE)

    line.twist = twist
    device.reset()
    line.twist = lambda frame, honest: [bytes(MOST_NOISE), bytes(1), *honest]
    assert failure(device.reset) == f"{MOST_NOISE + 1} bytes came and none of them a frame"


def test_noise_is_told_within_a_second():
    """A person waits for it. No payload is taken for noise: a result has at most 65,535 words."""
    assert MOST_NOISE * BITS / BAUD < 1
    assert MOST_NOISE > 65_535 * RESULT_BYTES


# Tables


@pytest.mark.parametrize("exact", [False, True])
def test_loading(exact):
    line, progress = FakeLine(exact), []
    device = LinkDevice(line)
    device.load(MODEL, lambda done, total: progress.append((done, total)))
    assert line.words[:2] == RIGHT_WORDS
    assert line.sealed
    kinds = [frame.type for frame in line.taken]
    reads = [] if exact else [KIND.READ] * PIECES
    assert kinds == [KIND.IDENTIFY, KIND.RESET, *[KIND.LOAD] * PIECES, *reads, KIND.SEAL]
    sizes = [len(frame.payload) for frame in line.taken if frame.type == KIND.LOAD]
    assert sizes == [6, 4088, 5600 - 4088]  # whole words of 8 bytes, within what a CRC protects
    assert progress == [(done, sum(sizes)) for done in itertools.accumulate(sizes)]


def test_the_same_frames_for_a_bench():
    frames = load_frames(TABLES)
    line = FakeLine()
    line.send(b"".join(map(encode, frames)))
    assert line.words[:2] == RIGHT_WORDS
    assert line.sealed
    assert [frame.sequence for frame in frames] == list(range(PIECES + 1))


@pytest.mark.parametrize(("protected", "loads"), [(8, 701), (4, 702)])
def test_a_bench_gets_more_frames_than_there_are_numbers(monkeypatch, protected, loads):
    """A word of the weights has eight bytes, and goes alone even where less are protected."""
    monkeypatch.setattr(link_module, "PROTECTED", protected)
    frames = load_frames(TABLES)
    assert [frame.type for frame in frames] == [KIND.LOAD] * loads + [KIND.SEAL]
    assert [frame.sequence for frame in frames] == [i % 256 for i in range(loads + 1)]


@pytest.mark.parametrize("memory", [0, 1])
def test_tables_of_another_accelerator(memory):
    """They are refused before anything is written, and the model that was there stays."""
    line = FakeLine()
    device = loaded(line)
    said = failure(lambda: device.load(CompiledModel(replace(TABLES, digest=0xABCD))))
    assert said == (
        "the tables are for mine (0x0000abcd), the accelerator is another (0x12345678): compile for it"
    )
    larger = replace(MEMORIES[memory], depth=MEMORIES[memory].depth + 1)
    others = tuple(larger if i == memory else each for i, each in enumerate(MEMORIES))
    for memories in (others, MEMORIES[::-1], (*MEMORIES, Memory("more", 1, 1))):
        wrong = CompiledModel(replace(TABLES, memories=memories))
        said = failure(lambda wrong=wrong: device.load(wrong))
        assert said == "the accelerator has other memories than the tables: build it anew"
    assert line.taken == []
    assert_right(list(device.run(PIXELS[:2])), PIXELS[:2])


@pytest.mark.parametrize("kind", [KIND.RESET, KIND.LOAD, KIND.READ, KIND.SEAL])
@pytest.mark.parametrize(
    "answers",
    [[], error(ErrorCode.CRC), error(ErrorCode.BUSY), lambda frame: [Frame(KIND.IDENTITY, frame.sequence)]],
    ids=["silence", "damaged", "busy", "another kind"],
)
def test_what_fails_while_loading_is_done_again(line, kind, answers):
    device = LinkDevice(line)
    line.twist = first(kind, answers, TRIES - 1)
    device.load(MODEL)
    assert line.words[:2] == RIGHT_WORDS
    assert line.sealed
    once = {KIND.RESET: 1, KIND.LOAD: PIECES, KIND.READ: PIECES, KIND.SEAL: 1}[kind]
    assert line.count(kind) == once + TRIES - 1
    assert_right(list(device.run(PIXELS[:1])), PIXELS[:1])


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (KIND.RESET, "to reset"),
        (KIND.LOAD, "to take its tables"),
        (KIND.READ, "for its words"),
        (KIND.SEAL, "to seal them"),
    ],
)
def test_what_fails_again_and_again(line, kind, what):
    device = LinkDevice(line)
    line.twist = always(kind, error(ErrorCode.BUSY))
    said = failure(lambda: device.load(MODEL))
    assert said == f"asked {what} {TRIES} times, and the answer is BUSY"
    assert line.count(kind) == TRIES


def test_memories_that_do_not_hold_what_was_written(line):
    line.stuck = lambda memory, word: word | (memory == "weights") << 63
    device = LinkDevice(line)
    said = failure(lambda: device.load(MODEL))
    assert said == f"its memories do not hold what was written, {TRIES} times"
    assert line.count(KIND.SEAL) == 0
    assert line.count(KIND.LOAD) == TRIES * PIECES
    said = failure(lambda: list(device.run(PIXELS[:1])))
    assert "its memories do not hold what was written" in said or "TABLES_DAMAGED" in said


def test_a_damaged_word_is_written_again(line):
    """Its CRC was right by chance."""
    wrong = itertools.chain([1 << 40], itertools.repeat(0))
    line.stuck = lambda memory, word: word ^ next(wrong) if memory == "weights" else word
    device = LinkDevice(line)
    device.load(MODEL)
    assert line.words[:2] == RIGHT_WORDS
    assert line.count(KIND.LOAD) == 2 * PIECES
    assert line.count(KIND.SEAL) == 1


@pytest.mark.parametrize("payload", [b"", bytes(8), bytes(8000)])
def test_words_of_another_number(line, payload):
    device = LinkDevice(line)
    line.twist = always(KIND.READ, lambda frame: [Frame(KIND.DATA, frame.sequence, payload=payload)])
    failure(lambda: device.load(MODEL))
    assert not line.sealed


@pytest.mark.parametrize("later", [0, 1, PIECES, 2 * PIECES, 2 * PIECES + 1])
def test_tables_that_did_not_arrive_are_loaded_before_an_image(line, later):
    """The accelerator may have those of the model before, and would answer by them."""
    device = loaded(line)
    line.words = [[*part] for part in line.words]
    other = replace(TABLES, words={**TABLES.words, "settings": [7, 7, 7]})
    deaf = [later]

    def twist(frame, honest):
        deaf[0] -= 1
        return honest if deaf[0] >= 0 else []

    line.twist = twist
    failure(lambda: device.load(CompiledModel(other)))
    line.twist = lambda frame, honest: honest
    (result,) = device.run(PIXELS[:1])
    assert result.logits.tolist() == logits(PIXELS[0].tobytes(), [[7, 7, 7, 0], RIGHT_WORDS[1]])


def test_nothing_runs_before_a_model_is_there(line):
    device = LinkDevice(line)
    assert failure(lambda: next(device.run(PIXELS))) == "load a model first"
    assert failure(device.counters) == "load a model first"


def test_counters(line):
    device = loaded(line)
    line.words[3][:3] = [5, 0xFFFFFFFF, 7]
    assert device.counters() == {"signs": 5, "scores": 0xFFFFFFFF}


def test_counters_are_found_by_their_name():
    memories = MEMORIES[-1:] + MEMORIES[:-1]
    line = FakeLine(identity=Identity(DIGEST, CLOCK_HZ, memories))
    device = LinkDevice(line)
    device.load(CompiledModel(replace(TABLES, memories=memories)))
    line.words[0][:2] = [5, 7]
    assert device.counters() == {"signs": 5, "scores": 7}


def test_counters_that_are_too_few(line):
    device = loaded(line)
    line.twist = always(KIND.READ, lambda frame: [Frame(KIND.DATA, frame.sequence, payload=bytes(4))])
    failure(device.counters)


# Images


@pytest.mark.parametrize("flow_control", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_images_are_answered_in_order(exact, flow_control):
    line = FakeLine(exact)
    line.flow_control = flow_control
    device = loaded(line)
    for images in (PIXELS, PIXELS[:1], [], PIXELS[::-1]):
        assert_right(list(device.run(images)), images)
    assert {(frame.type, frame.detail) for frame in line.taken} == {(KIND.IMAGE, WAITS * flow_control)}
    assert line.most_in_flight == IN_FLIGHT[flow_control] <= Link.IN_FLIGHT
    assert line.waits == []


def test_more_images_than_there_are_numbers(line):
    images = PIXELS * 60
    assert_right(list(loaded(line).run(images)), images)
    begin = line.taken[0].sequence
    assert [frame.sequence for frame in line.taken] == [(begin + i) % 256 for i in range(len(images))]


def test_images_are_taken_as_they_are_needed(line):
    taken = []
    device = loaded(line)
    results = device.run(taken.append(i) or image for i, image in enumerate(PIXELS))
    assert taken == []
    for i, _ in enumerate(results):
        assert len(taken) == min(i + IN_FLIGHT[False], len(PIXELS))


@pytest.mark.parametrize("times", [1, TRIES - 1])
@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        (KIND.IMAGE, [b""]),
        (KIND.IMAGE, error(ErrorCode.CRC)),
        (KIND.IMAGE, error(ErrorCode.FULL)),
        (KIND.IMAGE, error(ErrorCode.TIMEOUT)),
        (KIND.IMAGE, error(77)),
        (KIND.RESULT, []),
        (KIND.RESULT, lambda frame: [Frame(KIND.RESULT, frame.sequence ^ 1, payload=bytes(20))]),
        (KIND.RESULT, lambda frame: [Frame(KIND.RESULT, frame.sequence ^ 128, payload=bytes(20))]),
        (KIND.RESULT, lambda frame: [encode(Frame(KIND.RESULT, frame.sequence, payload=bytes(20)))[:-1]]),
        (KIND.RESULT, lambda frame: [encode(Frame(KIND.RESULT, frame.sequence, payload=bytes(20)))[1:]]),
    ],
    ids=[
        "lost",
        "damaged",
        "full",
        "cut",
        "unknown error",
        "no result",
        "of another",
        "of nobody",
        "end lost",
        "begin lost",
    ],
)
def test_images_that_fail_are_computed_again(line, kind, answers, times):
    device = loaded(line)
    device_side = first(kind, answers, times)

    def twist(frame, honest):
        # An image that got an error or was damaged is not computed.
        if (came := device_side(frame, honest)) is not honest and kind == KIND.IMAGE:
            line._computing.pop()
        return came

    line.twist = twist
    assert_right(list(device.run(PIXELS)), PIXELS)
    assert 1 <= line.count(KIND.RESET) <= times
    assert line.count(KIND.LOAD) == 0


def test_an_image_that_never_works(line):
    """What was answered before has come, and nothing is left in the machine."""
    device = loaded(line)
    bad = PIXELS[3].tobytes()
    working = line._honest

    def honest(frame):
        if frame.type == KIND.IMAGE and frame.payload == bad:
            return [Frame(KIND.ERROR, frame.sequence, ErrorCode.LENGTH)]
        return working(frame)

    line._honest = honest
    came, results = [], device.run(PIXELS)
    said = failure(lambda: came.extend(results))
    assert said == f"tried an image {TRIES} times, and the answer is LENGTH"
    assert_right(came, PIXELS[: len(came)])
    assert len(came) >= 2
    assert line.taken[-1].type == KIND.RESET
    assert_right(list(device.run(PIXELS[4:])), PIXELS[4:])


def test_every_image_has_all_the_tries(line):
    """Failures that were mended do not add up."""
    device = loaded(line)
    seen = {}

    def twist(frame, honest):
        if frame.type == KIND.RESULT:
            pixels = honest[0].payload[-4:]
            seen[pixels] = seen.get(pixels, 0) + 1
            if seen[pixels] < TRIES:
                return []
        return honest

    line.twist = twist
    assert_right(list(device.run(PIXELS[1:])), PIXELS[1:])
    waits = [4 * CYCLES / CLOCK_HZ + line.latency * 2**i for i in range(TRIES - 1)]
    assert line.waits == pytest.approx(waits * len(PIXELS[1:]))


def test_patience_grows(line):
    device = loaded(line)
    line.twist = always(KIND.RESULT, [])
    assert failure(lambda: list(device.run(PIXELS[:1]))) == f"tried an image {TRIES} times, and nothing came"
    computing = 4 * CYCLES / CLOCK_HZ
    assert line.waits == pytest.approx([computing + line.latency * 2**i for i in range(TRIES)])


def test_power_lost_is_made_good(line):
    device = loaded(line)
    results = device.run(PIXELS)
    came = [next(results)]
    line.power_up()
    came += results
    assert_right(came, PIXELS)
    assert line.words[:2] == RIGHT_WORDS
    assert line.count(KIND.LOAD) == PIECES
    assert line.count(KIND.SEAL) == 1


def test_tables_that_are_damaged_for_ever(line):
    device = loaded(line)
    line.twist = always(KIND.IMAGE, error(ErrorCode.TABLES_DAMAGED))
    said = failure(lambda: list(device.run(PIXELS)))
    assert said == f"tried an image {TRIES} times, and the answer is TABLES_DAMAGED"
    assert line.count(KIND.SEAL) == TRIES - 1


def test_it_falls_silent_for_ever(line):
    device = loaded(line)
    results = device.run(PIXELS)
    came = [next(results)]
    line.twist = lambda frame, honest: []
    said = failure(lambda: came.extend(results))
    assert said.endswith(f"{TRIES} times, and nothing came")
    assert_right(came, PIXELS[: len(came)])


@pytest.mark.parametrize("size", [0, 3, 4, 8, 16, 21, 24])
def test_a_result_of_another_size(line, size):
    device = loaded(line)
    line.twist = always(KIND.RESULT, lambda frame: [Frame(KIND.RESULT, frame.sequence, payload=bytes(size))])
    said = failure(lambda: list(device.run(PIXELS)))
    assert said == f"a result of {size} bytes is not one of this model"


# Benchmarks


def test_an_image_is_computed_many_times(line):
    """A thousand in a second, by this clock; then the accelerator listens again."""
    device, seen = loaded(line), []
    found = device.benchmark(PIXELS[3], 2500, lambda done, total: seen.append((done, total)))
    assert_right([found.result], PIXELS[3:4])
    assert [frame.address for frame in line.taken if frame.type == KIND.BENCH] == [1000, 1000, 500]
    assert seen == [(1000, 2500), (2000, 2500), (2500, 2500)]
    assert (found.images, found.cycles, found.clock_hz) == (2500, 2500 * CYCLES + 3 * FILL, CLOCK_HZ)
    assert found.images_per_second == pytest.approx(999.6, abs=0.1)
    assert_right(list(device.run(PIXELS)), PIXELS)


def test_no_more_images_than_a_frame_can_ask_for():
    line = FakeLine(identity=Identity(DIGEST, 0xFFFFFFFF, MEMORIES))
    loaded(line).benchmark(PIXELS[0], 70_000)
    assert [frame.address for frame in line.taken if frame.type == KIND.BENCH] == [65_535, 4465]


@pytest.mark.parametrize(
    "answers",
    [[], error(ErrorCode.CRC), lambda frame: [encode(frame)[:-1]]],
    ids=["nothing", "an error", "noise"],
)
def test_a_benchmark_that_fails_is_begun_again(line, answers):
    device = loaded(line)
    line.twist = first(KIND.BENCH, answers, TRIES - 1)
    assert device.benchmark(PIXELS[3], 50).cycles == 50 * CYCLES + FILL
    assert line.count(KIND.BENCH) == TRIES


def test_the_accelerator_gets_the_time_to_compute_all(line):
    device = loaded(line)
    line.twist = first(KIND.BENCH, [])
    device.benchmark(PIXELS[3], 50)
    assert max(line.waits) >= 50 * CYCLES / CLOCK_HZ


def test_another_answer_among_equal_images(line):
    def wrong(frame):
        return [Frame(KIND.BENCHED, frame.sequence, payload=struct.pack("<II", 50_000, 1))]

    device = loaded(line)
    line.twist = always(KIND.BENCH, wrong)
    said = failure(lambda: device.benchmark(PIXELS[3], 50))
    assert said == "computed an image 50 times, and not with the same answer each time"


@pytest.mark.parametrize("size", [0, 7, 9])
def test_the_answer_to_a_benchmark_of_another_size(line, size):
    device = loaded(line)
    line.twist = always(KIND.BENCH, lambda frame: [Frame(KIND.BENCHED, frame.sequence, payload=bytes(size))])
    assert failure(lambda: device.benchmark(PIXELS[3], 5)) == f"{size} bytes are not the answer to a BENCH"


def test_a_bitstream_from_before_there_were_benchmarks(line):
    device = loaded(line)
    line.twist = always(KIND.BENCH, error(ErrorCode.TYPE))
    said = failure(lambda: device.benchmark(PIXELS[3], 5))
    assert said.endswith("the answer is TYPE; build its bitstream with this version")


# A segmentation model


def of_masks(whole):
    """Tables of a network with 2×3 tokens and three classes; they ask for logits if ``whole``."""
    config = TABLES.model.with_(name="net", image=(4, 6), patch=2, segmentation=True)
    memories = (Memory("settings", 32, 4), *MEMORIES[1:])
    words = {**TABLES.words, "settings": [answers.first_word(config, whole), 3]}
    return replace(TABLES, model=config, memories=memories, words=words)


def answered(tables, payload):
    """The only result of a device that answers every image with these bytes."""
    line = FakeLine(identity=Identity(DIGEST, CLOCK_HZ, tables.memories))
    device = LinkDevice(line)
    device.load(CompiledModel(tables))
    line.twist = always(KIND.RESULT, lambda frame: [Frame(KIND.RESULT, frame.sequence, payload=payload)])
    (result,) = device.run(PIXELS[:1])
    return result


COUNTS = struct.pack("<ii", 77, 5)


def test_labels_of_tokens():
    result = answered(of_masks(whole=False), bytes([2, 0, 1, 1, 0, 2, 0xFF, 0xEE]) + COUNTS)
    assert result.labels_only
    assert (result.labels.tolist(), result.labels.dtype) == ([2, 0, 1, 1, 0, 2], np.int64)
    assert (result.cycles, result.saturations) == (77, 5)
    with pytest.raises(UsageError, match="only the labels came: ask for the logits"):
        result.logits  # noqa: B018


def test_logits_of_tokens():
    logits = [[1, 2, 3], [-5, -5, -6], [-32768, 32767, 0], [0, 0, 0], [9, 9, 9], [7, 8, 8]]
    result = answered(of_masks(whole=True), struct.pack("<18h", *itertools.chain(*logits)) + COUNTS)
    assert not result.labels_only
    assert (result.logits.tolist(), result.logits.dtype) == (logits, np.int32)
    assert result.labels.tolist() == [2, 0, 1, 0, 0, 1]
    assert (result.cycles, result.saturations) == (77, 5)


@pytest.mark.parametrize(("whole", "right"), [(False, 16), (True, 44)])
def test_answers_of_another_size(whole, right):
    for size in (0, 8, right - 4, right - 1, right + 4, 60 - right):
        said = failure(lambda size=size: answered(of_masks(whole), bytes(size)))
        assert said == f"a result of {size} bytes is not one of this model"
    assert answered(of_masks(whole), bytes(right)).labels.tolist() == [0] * 6


def test_a_class_that_there_is_not():
    said = failure(lambda: answered(of_masks(whole=False), bytes([2, 0, 3, 1, 0, 2, 0, 0]) + COUNTS))
    assert said == "a token has class 3, the model has 3 of them"


def test_other_frames_between_are_passed_over(line):
    device = loaded(line)
    line.twist = lambda frame, honest: [Frame(KIND.ACK, frame.sequence), *honest, Frame(KIND.DATA, 3)]
    assert_right(list(device.run(PIXELS)), PIXELS)


@pytest.mark.parametrize("taken", [0, 1, 2, 9])
def test_an_iterator_that_is_dropped(line, taken):
    device = loaded(line)
    results = device.run(PIXELS)
    for _ in range(taken):
        next(results)
    results.close()
    if taken:
        assert line.taken[-1].type == KIND.RESET
    assert_right(list(device.run(PIXELS[5:])), PIXELS[5:])


def test_a_dropped_iterator_and_a_dead_line(line):
    """Nobody asked, so nobody hears of it."""
    device = loaded(line)
    results = device.run(PIXELS)
    next(results)
    line.twist = lambda frame, honest: []
    results.close()


def test_two_iterators_at_once(line):
    """They would take each other's images away: the second one of a thread waits for the first to end."""
    device = loaded(line)
    one, two = device.run(PIXELS[:5]), device.run(PIXELS[5:])
    came = [next(one)]
    with pytest.raises(RuntimeError, match="fake: this thread has not finished a run"):
        next(two)
    came.extend(one)
    assert_right(came, PIXELS[:5])
    assert_right(list(device.run(PIXELS[5:])), PIXELS[5:])


def test_an_image_that_cannot_be_made(line):
    """What the caller's iterator raises comes out, and nothing is left behind."""

    def images():
        yield from PIXELS[:3]
        raise KeyError("no more")

    device = loaded(line)
    came = []
    with pytest.raises(KeyError, match="no more"):
        came.extend(device.run(images()))
    assert_right(came, PIXELS[: len(came)])
    assert line.taken[-1].type == KIND.RESET
    assert_right(list(device.run(PIXELS)), PIXELS)


def damaged(stream, dice):
    at = dice.randrange(len(stream))
    match dice.randrange(5):
        case 0:
            return stream[:at]
        case 1:
            return stream[:at] + stream[at + dice.randint(1, 7) :]
        case 2:
            return stream[:at] + stream[at : at + 5] + stream[at:]
        case 3:
            return stream[:at] + bytes(dice.choice((SYNC, 0, 0xC3, 0x42)) for _ in range(9)) + stream[at:]
    return stream[:at] + bytes([stream[at] ^ 1 << dice.randrange(8)]) + stream[at + 1 :]


def test_no_wrong_logits_whatever_the_line_does():
    """A seventh of what travels is damaged in either direction, and power is lost now and then."""
    answered = reported = 0
    for seed in range(60):
        dice = random.Random(seed)
        line = FakeLine()
        device = loaded(line)
        send, receive = line.send, line.receive

        def noisy_send(stream, send=send, dice=dice, line=line):
            if dice.random() < 0.01:
                line.power_up()
            send(damaged(stream, dice) if dice.random() < 1 / 7 else stream)

        def noisy_receive(seconds, receive=receive, dice=dice):
            stream = receive(seconds)
            while stream and dice.random() < 1 / 7:
                stream = damaged(stream, dice) or receive(seconds)
            return stream

        line.send, line.receive = noisy_send, noisy_receive
        came = []
        try:
            came.extend(device.run(PIXELS))
        except DeviceError:
            reported += 1
        assert_right(came, PIXELS[: len(came)])
        answered += len(came)
    assert answered > 500
    assert reported < 10


def test_the_fake_is_as_the_page_says():
    """It answers with the number asked with, and does not take a fifth image."""
    line = FakeLine()
    device = loaded(line)
    device.close()
    for i in range(5):
        line.send(encode(Frame(KIND.IMAGE, i, payload=PIXELS[i].tobytes())))
    frames, decoder = [], Decoder()
    while data := line.receive(1):
        frames += decoder.feed(data)
    assert [(frame.type, frame.sequence) for frame in frames] == [
        (KIND.ERROR, 4), *((KIND.RESULT, i) for i in range(4)),
    ]  # fmt: skip
