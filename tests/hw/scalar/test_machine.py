import random

import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring

from haarlequin.hw.config import ScalarConfig
from haarlequin.hw.scalar.core import ScalarCore
from haarlequin.hw.scalar.isa import Alu, Control, Instruction, Saturation, Source, memories
from haarlequin.hw.scalar.machine import ScalarMachine
from haarlequin.sw.scalar.emulate import Emulator
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

CONFIG = ScalarConfig("bench", pixels=128)
BYTES = CONFIG.pixels // 2
"""Of an image."""
MEMORIES = memories(CONFIG.data, CONFIG.pixels)
NUMBERS = {memory.name: number for number, memory in enumerate(MEMORIES)}
LONGEST = 10_000
"""Cycles of an image, at most."""


def firmware(pixels, classes):
    """Stores each pixel's square behind the image, clipped, and gives the sums of all up to each class."""
    to, at, left, total = range(4)

    def load(register, number):
        return [Instruction(Alu.LD, Source.IMM, 0, number), Instruction(Control.STR, r=register)]

    code = [*load(to, pixels), *load(at, 0), *load(total, 0)]
    for share in range(classes):
        code += load(left, pixels // classes)
        start = len(code)
        code += [
            Instruction(Alu.LDT, Source.MEM, at, 0),
            Instruction(Alu.LD, Source.IMM, 0, share),
            Instruction(Alu.MAC, Source.MEM, at, 1),
            Instruction(Control.SAT, immediate=Saturation.WIDE),
            Instruction(Control.ST, r=to, immediate=1),
            Instruction(Alu.ADD, Source.REG, total),
            Instruction(Control.STR, r=total),
            Instruction(Control.DJNZ, r=left, immediate=start),
        ]
        code += [Instruction(Alu.LD, Source.REG, total), Instruction(Control.OUT)]
    return [one.encode() for one in [*code, Instruction(Control.HALT)]]


class Resettable(wiring.Component):
    """A machine as the accelerator has it."""

    def __init__(self):
        self.machine, self.reset = ScalarMachine(CONFIG), Signal()
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.machine = ResetInserter(self.reset)(self.machine)
        return m


class Host:
    """The link's side of the bus."""

    def __init__(self, context, rig, generator):
        self.context, self.rig, self.machine, self.generator = context, rig, rig.machine, generator

    async def write(self, name, words, first=0):
        context, machine = self.context, self.machine
        context.set(machine.select, NUMBERS[name])
        count = MEMORIES[NUMBERS[name]].word_bytes
        for address, word in enumerate(words, first):
            context.set(machine.take, 1)
            for byte in word.to_bytes(count, "little"):
                context.set(machine.byte, byte)
                await context.tick()
            context.set(machine.take, 0)
            context.set(machine.byte, self.generator.getrandbits(8))
            context.set(machine.address, address)
            context.set(machine.write, 1)
            await context.tick()
            context.set(machine.write, 0)

    async def read(self, name, addresses):
        context, machine, words = self.context, self.machine, []
        context.set(machine.select, NUMBERS[name])
        for address in addresses:
            context.set(machine.address, address)
            context.set(machine.read, 1)
            word, memory = 0, MEMORIES[NUMBERS[name]]
            for position in range(memory.word_bytes):
                context.set(machine.position, position)
                await context.tick()
                context.set(machine.read, 0)
                for _ in range(self.generator.randrange(3)):  # it stays
                    await context.tick()
                word |= context.get(machine.answer) << 8 * position
            words.append(word & (1 << memory.width) - 1)
        return words

    async def load(self, code, classes):
        await self.write("settings", [BYTES, classes])
        await self.write("code", code)

    async def commit(self, pixels):
        context, machine = self.context, self.machine
        assert context.get(machine.room)
        await self.write("pixels", pixels)
        context.set(machine.commit, 1)
        await context.tick()
        context.set(machine.commit, 0)

    async def results(self, stalls):
        """Words and marks until the machine is idle, and what it has stored."""
        context, machine, words, stores = self.context, self.machine, [], []
        answers = context.get(machine.result_words) - 2
        for _ in range(LONGEST):
            # The host's side moves, but does not write.
            context.set(machine.select, self.generator.randrange(len(NUMBERS)))
            context.set(machine.address, self.generator.getrandbits(24))
            context.set(machine.byte, self.generator.getrandbits(8))
            ready = self.generator.random() >= stalls
            context.set(machine.results.ready, ready)
            if context.get(machine.trace.store_valid):
                stores.append((context.get(machine.trace.store_address), context.get(machine.trace.store)))
            if context.get(machine.idle):
                assert not context.get(machine.results.valid)
                return words, stores
            if ready and context.get(machine.results.valid):
                word = machine.results.p
                assert context.get(word.answer) == (len(words) % context.get(machine.result_words) < answers)
                words.append((context.get(word.word), context.get(word.last)))
            await context.tick()
        raise AssertionError(f"the image did not end within {LONGEST} cycles")


def run(testbench):
    rig = Resettable()

    async def hosted(context):
        await testbench(context, Host(context, rig, random.Random(1)))

    simulate(rig, hosted)


def drawn_image(generator):
    return [generator.choice([0, 1, 255, generator.getrandbits(8)]) for _ in range(BYTES)]


def expected(emulator, pixels):
    """Result words with their marks, and the stores."""
    emulator.data[: len(pixels)] = pixels
    emulator.run()
    words = [word & 0xFFFFFFFF for word in (*emulator.results, emulator.cycles, emulator.saturations)]
    return [(word, number == len(words) - 1) for number, word in enumerate(words)], emulator.stores


@pytest.mark.parametrize("stalls", [0, 0.5])
def test_images(stalls):
    async def testbench(context, host):
        generator, code = random.Random(2), firmware(BYTES, 4)
        await host.load(code, 4)
        assert context.get(host.machine.image_bytes) == BYTES
        assert context.get(host.machine.result_words) == 6
        emulator, seen = Emulator(code, []), set()
        cycles = 0
        for count in (1, 2, 1, 2, 2):
            want = [], []
            for _ in range(count):
                image = drawn_image(generator)
                await host.commit(image)  # the second one while the first is computed
                assert not context.get(host.machine.idle)
                for part, more in zip(want, expected(emulator, image), strict=True):
                    part.extend(more)
                cycles += emulator.cycles
            assert context.get(host.machine.room) == (count < 2)
            words, stores = await host.results(stalls)
            assert words == want[0]
            assert len(words) == 6 * count
            assert stores == want[1][-len(stores) :]  # those from when the last image had come
            seen.add(words[-1][0])
            stored = range(BYTES, 2 * BYTES)
            assert await host.read("data", stored) == [emulator.data[address] for address in stored]
        assert len(seen) > 1, "images saturate alike"
        assert await host.read("counters", [0]) == [cycles]

    run(testbench)


def test_an_image_again_and_again():
    """The one of the last commit, and then another one."""

    async def testbench(context, host):
        generator, machine, code = random.Random(4), host.machine, firmware(BYTES, 2)
        await host.load(code, 2)
        for count in (1, 2, 3):
            for _ in range(count):
                image = drawn_image(generator)
                await host.commit(image)
                words, _ = await host.results(0)
                assert words == expected(Emulator(code, []), image)[0]
            context.set(machine.again, 1)
            context.set(machine.commit, 1)
            await context.tick().repeat(2)
            context.set(machine.commit, 0)
            assert not context.get(machine.room)
            assert (await host.results(0.2))[0] == 2 * words
            context.set(machine.again, 0)

    run(testbench)


def test_the_counter_is_read_with_all_its_bits(monkeypatch):
    """From a core that counts the cycles of minutes in one."""
    counted = Signal(32)

    class Hasty(ScalarCore):
        def __init__(self):
            super().__init__()
            self.counted = counted

        def elaborate(self, platform):
            return Module()

    monkeypatch.setattr("haarlequin.hw.scalar.machine.ScalarCore", Hasty)

    async def testbench(context, host):
        context.set(counted, 0xFEDCBA98)
        await context.tick()
        context.set(counted, 0)
        assert await host.read("counters", [0]) == [0xFEDCBA98]

    run(testbench)


def test_what_is_loaded_is_read_back():
    async def testbench(context, host):
        generator = random.Random(3)
        loaded = {}
        for memory in MEMORIES[:3]:
            last = memory.depth - 2
            for first in dict.fromkeys([0, last // 2 + 1 & ~1, last]):
                words = [generator.getrandbits(memory.width) for _ in range(2)]
                loaded[memory.name, first] = words
                await host.write(memory.name, words, first)
        for (name, first), words in reversed(loaded.items()):
            assert await host.read(name, range(first, first + 2)) == words
        image = drawn_image(generator)
        await host.write("data", [0xFFFF])
        await host.write("pixels", image)
        assert await host.read("pixels", range(BYTES)) == image
        assert await host.read("data", [0]) == [0xFFFF]

    run(testbench)


@pytest.mark.parametrize("seed", range(3))
def test_reset_in_the_middle(seed):
    """Nothing of the image comes then, the memories stay, and the next image is a whole one."""

    async def testbench(context, host):
        generator, code = random.Random(seed), firmware(BYTES, 2)
        await host.load(code, 2)
        for _ in range(6):
            await host.commit(drawn_image(generator))
            # Results are taken, or wait when the reset comes.
            context.set(host.machine.results.ready, generator.getrandbits(1))
            await context.tick().repeat(generator.choice([1, 2, 3, generator.randrange(1, 1500)]))
            context.set(host.rig.reset, 1)
            await context.tick()
            context.set(host.rig.reset, 0)
            assert context.get(host.machine.idle)
            assert await host.results(0) == ([], [])
            image = drawn_image(generator)
            await host.commit(image)
            assert await host.results(0.2) == expected(Emulator(code, []), image)
        assert await host.read("code", range(len(code))) == code
        assert await host.read("settings", range(2)) == [BYTES, 2]

    run(testbench)
