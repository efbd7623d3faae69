import random
from dataclasses import replace

import pytest

from haarlequin.hw.lanes.sign_memories import SignMemories
from haarlequin.hw.presets import CONFIGS
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

CYCLES = 400


def machine(lanes, chunks, windows):
    width = 2 * lanes * chunks
    return replace(CONFIGS["2x64"], lanes=lanes, width=width, signs=6, windows=windows)


def drawn(config, generator):
    """A cycle's inputs. The three chunks of a window lie in the word, and in its upper half for memory 1."""
    window = generator.choice([0, 1, 2]) if config.windows else 0
    window = window if 3 * window <= config.chunks else 0
    cycle = {"window": window, "begins": generator.getrandbits(1), "ends": generator.getrandbits(1)}
    half = config.chunks // 2
    both = config.windows == 2 and 3 * window <= half and generator.random() < 0.5
    cycle["both"] = int(both)
    cycle |= {name: generator.randrange(config.signs) for name in ("following", "preceding")}
    for number in range(2):
        wide = window if number == 0 or both else 0
        first, last = half if number and wide else 0, config.chunks - 1 - 2 * wide
        cycle[f"read_{number}"] = generator.randrange(config.signs)
        cycle[f"write_{number}"] = {
            "valid": generator.getrandbits(1),
            "address": generator.randrange(config.signs),
            "chunk": generator.randint(first, last),
            "bits": generator.getrandbits(config.lanes),
        }
    return cycle | {"keys": int(generator.random() < 0.3), "key_address": generator.randrange(config.signs)}


def golden(config, cycles):
    """By cycle, what comes out: (word_0, word_1, key), None where a port does something else."""
    words = [[[0] * config.chunks for _ in range(8)] for _ in range(2)]
    seen, written = {}, []

    def read(number, address):
        return sum(bits << chunk * config.lanes for chunk, bits in enumerate(words[number][address]))

    for now in range(len(cycles)):
        # In this cycle the memories take the addresses and the bits of the cycle before.
        before = cycles[now - 1] if now else None
        if cycles[now]["keys"]:
            seen[now + 2, "key"] = read(1, cycles[now]["key_address"])
        if before:
            seen[now + 3, "word_0"] = read(0, before["read_0"])
            if not cycles[now]["keys"]:
                seen[now + 3, "word_1"] = read(1, before["read_1"])
        for number, write in enumerate([before["write_0"], before["write_1"]] if before else []):
            written.append((now, f"written_{number}", write["bits"]))
            if not write["valid"]:
                continue
            address, chunk = write["address"], write["chunk"]
            window = before["window"] if number == 0 or before["both"] else 0
            words[number][address][chunk + window] = write["bits"]
            if window and not before["ends"]:
                words[number][before["following"]][chunk] = write["bits"]
            if window and not before["begins"]:
                words[number][before["preceding"]][chunk + 2 * window] = write["bits"]
    return seen | {(now, name): bits for now, name, bits in written}


def rtl(config, cycles, expected):
    """The like of the block, where something is expected."""
    block, found = SignMemories(config), {}
    outputs = ("word_0", "word_1", "key", "written_0", "written_1")

    async def testbench(context):
        for now in range(len(cycles) + 4):
            for name, value in (cycles[now] if now < len(cycles) else {}).items():
                port = getattr(block, name)
                if isinstance(value, dict):
                    for part, bits in value.items():
                        context.set(getattr(port, part), bits)
                else:
                    context.set(port, value)
            for name in outputs:
                if (now, name) in expected:
                    found[now, name] = context.get(getattr(block, name))
            await context.tick()

    simulate(block, testbench)
    return found


@pytest.mark.parametrize(
    ("lanes", "chunks", "windows"),
    [(1, 1, 0), (3, 2, 0), (4, 4, 0), (2, 3, 1), (3, 4, 1), (2, 3, 2), (1, 7, 2)],
)
def test_reads_and_writes_of_every_cycle(lanes, chunks, windows):
    """``chunks`` are those of half a word; with windows, chunks of a cycle go to three words."""
    generator = random.Random(lanes * chunks)
    config = machine(lanes, chunks, windows)
    cycles = [drawn(config, generator) for _ in range(CYCLES)]
    expected = golden(config, cycles)
    assert sum(cycle["window"] > 0 for cycle in cycles) > (CYCLES // 10 if windows else -1)
    assert rtl(config, cycles, expected) == expected
