"""Images through the smallest accelerator in Amaranth's own simulator: a first look at all of it together.

`tests/sim/test_simulate.py` has what takes more models, and machines of more lanes.
"""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Value

from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.codes import OperationCode
from haarlequin.hw.link.identity import numbers
from haarlequin.hw.link.protocol import COUNTERS_MEMORY, PIXELS_MEMORY, Decoder, Frame, FrameType, encode
from haarlequin.hw.machine import Machine
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sim.simulate import expect
from haarlequin.sw.devices.link import load_frames
from haarlequin.sw.targets import compile_model
from tests.hw.bench import simulate
from tests.small_machines import SMALLEST, SMALLEST_MODEL

pytestmark = pytest.mark.slow

IMAGES = 3


@pytest.fixture(scope="module")
def program():
    return compile_model(freeze(random_model(SMALLEST_MODEL, seed=1)), SMALLEST)


@pytest.fixture(scope="module")
def pixels():
    shape = IMAGES, *SMALLEST_MODEL.image, SMALLEST_MODEL.channels
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def answers(program, pixels):
    """The frames that come back for tables, for images on the way at once, and for each table and counter."""
    accelerator, tables = Accelerator(SMALLEST, 1_000_000, 10_000), program.compiled()
    images = [Frame(FrameType.IMAGE, i, payload=image.tobytes()) for i, image in enumerate(pixels)]
    reads = [
        Frame(FrameType.READ, 0, number, 0, asked=memory.word_bytes * len(read_back(program, memory)))
        for number, memory in enumerate(tables.memories)
    ]
    frames, decoder = [], Decoder()
    valid = [name for name, _ in accelerator.trace.shape() if name.endswith("_valid")]

    async def testbench(context):
        async def receive():
            if context.get(accelerator.tx.valid):
                frames.extend(decoder.feed(bytes([context.get(accelerator.tx.payload)])))
            parts = [context.get(accelerator.trace[name]) for name in valid]
            assert context.get(accelerator.trace_valid) == any(parts)
            await context.tick()

        async def send(some, at_once):
            before = len(frames)
            for count, frame in enumerate(some, 1):
                for byte in encode(frame):
                    context.set(accelerator.rx.payload, byte)
                    context.set(accelerator.rx.valid, 1)
                    while not context.get(accelerator.rx.ready):
                        await receive()
                    await receive()
                context.set(accelerator.rx.valid, 0)
                while len(frames) < before + count - (at_once - 1) * (count < len(some)):
                    await receive()

        context.set(accelerator.tx.ready, 1)
        await send(load_frames(tables), 1)
        await send(images, 2)
        await send(reads, 1)

    simulate(accelerator, testbench, cycles=40_000)
    return frames


def read_back(program, memory):
    """The first words that a memory must hold after the images; nothing is expected of the pixels."""
    if memory.name == COUNTERS_MEMORY:
        cycles = {operation.name: operation.cycles for operation in program.operations()}
        return [IMAGES * cycles.get(code.title, 0) for code in OperationCode if code < OperationCode.WAITING]
    return program.words.get(memory.name, [0])[:64]


def test_tables_are_taken(program, answers):
    loads = load_frames(program.compiled())
    assert {frame.type for frame in answers[: len(loads)]} == {FrameType.ACK}


def test_logits_cycles_and_saturations(program, pixels, answers):
    results = [frame for frame in answers if frame.type == FrameType.RESULT]
    for frame, expected in zip(results, expect(program.model, pixels), strict=True):
        words = np.frombuffer(frame.payload, "<i4").tolist()
        assert words == [*expected.trace["logits"][0], program.cycles, expected.saturations]


def test_tables_and_counters_are_read_back(program, answers):
    memories = program.compiled().memories
    for memory, frame in zip(memories, answers[-len(memories) :], strict=True):
        assert frame.type == FrameType.DATA
        if memory.name in {COUNTERS_MEMORY, *program.words}:
            assert memory.unpack(frame.payload) == read_back(program, memory), memory.name


async def write(context, machine, number, packed, tick):
    """Write all words of a memory, one after the other."""
    context.set(machine.select, number)
    word_bytes = machine.memories[number].word_bytes
    for first in range(0, len(packed), word_bytes):
        context.set(machine.address, first // word_bytes)
        context.set(machine.take, 1)
        for byte in packed[first : first + word_bytes]:
            context.set(machine.byte, byte)
            await tick()
        context.set(machine.take, 0)
        context.set(machine.write, 1)
        await tick()
        context.set(machine.write, 0)


def test_results_that_nobody_takes_hold_the_next_image_back(program, pixels):
    """`idle` and the trace are watched meanwhile: they are of the cycle at hand."""
    machine, tables = Machine(SMALLEST), program.compiled()
    layers, images = machine._layers, machine._images
    traced = {name: layers.trace[name] for name, _ in layers.trace.shape()}
    traced |= {"x_valid": images.valid & images.ready, "x_address": images.address, "x": images.word}
    traced |= {"sum_valid": layers.sums.valid & layers.sums.ready, "sum": layers.sums.p}
    watched = [(Value.cast(machine.trace[name]), Value.cast(value)) for name, value in traced.items()]
    words, embeddings, in_machine = [], [], 0

    async def testbench(context):
        async def tick():
            nonlocal in_machine
            assert context.get(machine.idle) == (in_machine == 0)
            for shown, there in watched:
                assert context.get(shown) == context.get(there)
            busy = context.get(images.busy)
            assert context.get(machine.trace.embed_begins) == busy
            embeddings.append(busy)
            assert context.get(machine.trace.embed_valid) == (embeddings[-2:] in ([0, 1], [1, 0]))
            in_machine += context.get(machine.commit)
            if context.get(machine.results.valid) and context.get(machine.results.ready):
                words.append(context.get(machine.results.p.word))
                in_machine -= context.get(machine.results.p.last)
            await context.tick()

        for number, memory in enumerate(machine.memories):
            await write(context, machine, number, memory.pack(tables.words.get(memory.name, [])), tick)
        number = numbers(machine.memories)[PIXELS_MEMORY]
        for image in pixels[:2]:
            await write(context, machine, number, image.tobytes(), tick)
            context.set(machine.commit, 1)
            await tick()
            context.set(machine.commit, 0)
        for _ in range(4 * program.cycles):
            await tick()
        assert not words
        context.set(machine.results.ready, 1)
        while in_machine:
            await tick()
        await tick()

    simulate(machine, testbench, cycles=20_000)
    results = np.array(words, "<u4").view("<i4").reshape(2, -1)
    for result, expected in zip(results.tolist(), expect(program.model, pixels[:2]), strict=True):
        assert result[:-2] == [*expected.trace["logits"][0]]
        assert result[-1] == expected.saturations
    assert results[0, -2] == program.cycles


def test_weights_that_come_from_outside(program, pixels):
    """Tile by tile, for passes that wait for them; tests/sim runs other models so."""
    outside, words = replace(SMALLEST, weight_interval=1), []
    machine, tables = Machine(outside), compile_model(program.model, outside).compiled()

    async def testbench(context):
        context.set(machine.results.ready, 1)
        for number, memory in enumerate(machine.memories):
            packed = memory.pack(tables.words.get(memory.name, []))
            await write(context, machine, number, packed, context.tick)
        number = numbers(machine.memories)[PIXELS_MEMORY]
        await write(context, machine, number, pixels[0].tobytes(), context.tick)
        context.set(machine.commit, 1)
        await context.tick()
        context.set(machine.commit, 0)
        await context.tick()
        while not context.get(machine.idle):
            if context.get(machine.results.valid):
                words.append(context.get(machine.results.p.word))
            await context.tick()

    simulate(machine, testbench, cycles=6_000)
    (expected,) = expect(program.model, pixels[:1])
    *logits, _, saturations = np.array(words, "<u4").view("<i4").tolist()
    assert logits == [*expected.trace["logits"][0]]
    assert saturations == expected.saturations  # weights of another tile hardly move the logits of this model
