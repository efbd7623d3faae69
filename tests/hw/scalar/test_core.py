import random

import pytest

from haarlequin.hw.scalar.core import ScalarCore
from haarlequin.hw.scalar.isa import (
    ADDRESS,
    CODE,
    REGISTERS,
    WORD,
    Alu,
    Control,
    Instruction,
    Saturation,
    Source,
)
from haarlequin.sw.scalar.emulate import Emulator, FirmwareError
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

IMAGES = 2
"""Runs of each program, the second on what the first has left."""
LONGEST = 1500
"""Cycles of an image of a drawn program, at most."""

HALT, OUT = Instruction(Control.HALT), Instruction(Control.OUT)
SKIPS = Control.JMP, Control.DJNZ, Control.HALT
EVERY = [(op, source) for op in Alu for source in Source if source != Source.NONE]
EVERY += [(op, Source.NONE) for op in Control if op not in SKIPS]


def of(op, immediate):
    return Instruction(op, Source.IMM, 0, immediate)


def from_register(r):
    return Instruction(Alu.LD, Source.REG, r)


def drawn_word(generator):
    """Half of the time one at an edge."""
    edges = [0, 1, 2, 0x7FFF, 0x8000, 0xFFFF]
    return generator.choice(edges) if generator.random() < 0.5 else generator.getrandbits(WORD)


def drawn_instruction(generator, op, source, untouched):
    """One that leaves the registers ``untouched`` alone."""
    few = generator.random() < 0.7  # so that instructions meet in them
    r = generator.choice([r for r in range(6 if few else REGISTERS) if r not in untouched])
    if source == Source.IMM:
        return Instruction(
            op, source, 0, drawn_word(generator) * 4 - (1 << WORD + 1) + generator.randrange(4)
        )
    immediate = generator.choice([0, 0, 1, -1, -1 << 11, (1 << 11) - 1, generator.randrange(-99, 99)])
    if op in (Control.DOT, Control.DOTA) and source == Source.NONE:
        immediate = generator.choice([0, 1, 2, 4, 12, 63]) | generator.randrange(REGISTERS) << 6
    if op in (Control.ASR, Control.ASRR) and source == Source.NONE:
        immediate = generator.choice([*range(33), 63])
    if op == Control.SAT and source == Source.NONE:
        immediate = generator.choice(list(Saturation))
    return Instruction(op, source, r, immediate)


def drawn_instructions(generator, count, untouched):
    """Each equally likely, but more of those that bring new words to the registers."""
    kinds = EVERY + [(Alu.LD, Source.IMM), (Control.STR, Source.NONE)] * (len(EVERY) // 5)
    return [drawn_instruction(generator, *generator.choice(kinds), untouched) for _ in range(count)]


def drawn_block(generator, at, untouched=(), depth=0):
    """Some instructions in a row, a loop of them, or some that are jumped over, for address ``at``."""
    kind = generator.random()
    if kind < 0.6 or depth == 2:
        return drawn_instructions(generator, generator.randint(1, 4), untouched)
    r = generator.choice([r for r in range(REGISTERS) if r not in untouched])
    if kind < 0.8:
        start = [of(Alu.LD, generator.randint(1, 4)), Instruction(Control.STR, r=r)]
        body = drawn_block(generator, at + 2, (*untouched, r), depth + 1)
        return [*start, *body, Instruction(Control.DJNZ, Source.NONE, r, at + 2)]
    op = generator.choice([Control.JMP, Control.DJNZ])
    over = drawn_instructions(generator, generator.randint(0, 2), untouched)
    over += [HALT] if op == Control.JMP else []
    return [Instruction(op, Source.NONE, r, at + 1 + len(over)), *over]


def follower(code, before):
    """An emulator that has what the one before has left in its core and its data."""
    emulator = Emulator([one.encode() for one in code], before.data)
    emulator.registers = before.registers[:]
    for name in ("acc", "t", "b"):
        setattr(emulator, name, getattr(before, name))
    return emulator


def drawn_program(generator, before, blocks):
    """Of blocks, without those by which ACC would overflow or an image take too long."""
    code = []
    for _ in range(blocks):
        longer = [*code, *drawn_block(generator, len(code))]
        emulator = follower([*longer, HALT], before)
        try:
            for _ in range(IMAGES):
                emulator.run()
        except FirmwareError:
            continue
        if emulator.cycles <= LONGEST:
            code = longer
    return [*code, HALT]


def filling(generator):
    """Words for all of the registers."""
    code = []
    for r in range(REGISTERS):
        word = drawn_word(generator)
        code += [of(Alu.LD, word), Instruction(Control.STR, r=r)]
    return [*code, HALT]


class Image:
    """What a run of the core shows from outside."""

    def __init__(self):
        self.stores, self.results = [], []
        self.cycles = self.saturations = 0


async def run(context, core, code, data, generator, stalls):
    """An image, on these memories; what is undefined comes as noise."""
    get, image, waits, waiting = context.get, Image(), 0, None
    words = [one.encode() for one in code]
    noise = generator.getrandbits
    context.set(core.start, 1)
    for cycle in range(10 * LONGEST):
        ready = generator.random() >= stalls
        context.set(core.results.ready, ready)
        running, done = get(core.running), get(core.done)
        assert running == (cycle > 0)
        if get(core.results.valid):
            offered = get(core.results.payload)
            assert waiting in (None, offered), "a result that was not taken moved"
            waiting = None if ready else offered
            waits += not ready
            image.results += [offered] if ready else []
        at, addr, write, word = (
            get(port) for port in (core.code_addr, core.addr, core.write, core.write_data)
        )
        if write:
            image.stores.append((addr, word))
            data[addr] = word
        await context.tick()
        context.set(core.start, 0)
        context.set(core.instruction, words[at] if at < len(words) else noise(24))
        context.set(core.data, noise(WORD) if write else data[addr])
        if done:
            break
    assert not get(core.running)
    image.cycles, image.saturations = get(core.cycles), get(core.saturations)
    assert image.cycles == cycle - waits
    # What its memories answer while it rests does not matter.
    for _ in range(generator.randrange(3)):
        await context.tick()
        assert not any(map(get, (core.running, core.write, core.results.valid)))
    return image


def check(programs, data=(0,) * (1 << ADDRESS), stalls=0.0):
    """Each program, a function of the emulator before, for `IMAGES` images: core against emulator."""
    core, generator = ScalarCore(), random.Random(0)

    async def testbench(context):
        emulator, own = Emulator([], list(data)), list(data)
        for program in programs:
            code = program(emulator)
            emulator = follower(code, emulator)
            for _ in range(IMAGES):
                emulator.run()
                image = await run(context, core, code, own, generator, stalls)
                listing = "\n".join(f"{at}: {one}" for at, one in enumerate(code))
                for name in ("results", "stores", "saturations", "cycles"):
                    assert getattr(image, name) == getattr(emulator, name), f"{name} of\n{listing}"
        assert own == emulator.data

    simulate(core, testbench, cycles=1_000_000)


def telling(generator):
    """ACC, T and B as results, and all registers into the data; what there was in R63 is lost."""
    code = [OUT, of(Alu.MUL, 0), of(Alu.MAC, 1), OUT, Instruction(Control.STBR, r=63), from_register(63), OUT]
    code += [of(Alu.LD, generator.getrandbits(16)), Instruction(Control.STR, r=63)]
    for r in range(REGISTERS - 1):
        code += [from_register(r), Instruction(Control.ST, r=63, immediate=1)]
    return [*code, HALT]


def words(seed):
    generator = random.Random(seed)
    return [drawn_word(generator) for _ in range(1 << ADDRESS)]


@pytest.mark.parametrize(("seed", "stalls"), [(0, 0), (1, 0.6), (2, 0.1), (3, 0)])
def test_drawn_programs(seed, stalls):
    """One behind the other on one core, whose state is seen behind every fourth."""
    generator, drawn_ones = random.Random(seed), set()

    def drawn(before):
        code = drawn_program(generator, before, blocks=24)
        drawn_ones.update((one.op, one.source) for one in code)
        return code

    some = [drawn, drawn, drawn, drawn, lambda _: telling(generator)]
    check([lambda _: filling(generator), *some * 6], words(seed), stalls)
    assert drawn_ones >= {*EVERY, *((op, Source.NONE) for op in SKIPS)}


def test_sums_beyond_32_bits_have_the_right_sign():
    """What MIN and BIT look at has a bit more than ACC."""
    lowest = [of(Alu.LDT, 32767), of(Alu.LD, -32768), of(Alu.MUL, 32767), of(Alu.MAC, -32768)]
    highest = [of(Alu.LDT, -32768), of(Alu.LD, -32768), of(Alu.MUL, -32768), of(Alu.MAC, -32767)]
    tests = [of(Alu.MIN, 131071), of(Alu.BIT, -131072), of(Alu.MIN, -131072), OUT]
    tests += [Instruction(Control.STBR, r=0), from_register(0), OUT]
    check([lambda _: [*lowest, *tests, *highest, of(Alu.BIT, 131071), *tests, HALT]])


def test_the_last_instruction_of_the_code():
    code = [Instruction(Control.JMP, immediate=CODE - 3), *[HALT] * (CODE - 4), of(Alu.LD, 5), OUT, HALT]
    assert len(code) == CODE
    check([lambda _: code])


@pytest.mark.parametrize(("kind", "bits"), [(Saturation.WIDE, 12), (Saturation.FEATURE, 8)])
def test_saturation_at_its_limits(kind, bits):
    most = 1 << bits - 1
    values = [v + d for v in (-most, 0, most) for d in (-2, -1, 0, 1, 2)] + [-131072, 131071]
    sat = Instruction(Control.SAT, immediate=kind)
    check([lambda _: [*(one for v in values for one in (of(Alu.LD, v), sat, OUT)), HALT]])


@pytest.mark.parametrize("op", [Control.ASR, Control.ASRR])
def test_shifts_by_every_count(op):
    starts = [0x155, -0x155, 131071, -131072, -1]
    pairs = [(of(Alu.LD, v), Instruction(op, immediate=n), OUT) for v in starts for n in range(64)]
    check([lambda _: [*(one for pair in pairs for one in pair), HALT]])


@pytest.mark.parametrize("op", [Control.DOT, Control.DOTA])
def test_dots_of_every_length(op):
    """The last ones go around the ends of the data and of the registers, over the pointer itself."""
    generator, code = random.Random(op), []
    for count in range(64):
        code += [of(Alu.LD, -32 if count > 50 else 999 * count), Instruction(Control.STR, r=7)]
        dot = Instruction(op, r=7, immediate=count | generator.randrange(REGISTERS) << 6)
        code += [dot, OUT, from_register(7), OUT]
    check([lambda _: filling(generator), lambda _: [*code, HALT]], words(op))
