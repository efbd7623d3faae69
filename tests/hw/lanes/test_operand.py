import random
from dataclasses import replace

import pytest

from haarlequin.hw.codes import Activation
from haarlequin.hw.lanes.operand import SignOperand
from haarlequin.hw.presets import CONFIGS
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow


def drawn(config, generator):
    parts = config.chunks if config.windows else 2
    low, high = sorted(generator.choices(range(config.width + 1), k=2))
    return {
        "edges": generator.getrandbits(4),
        "above": generator.getrandbits(2),
        "below": generator.getrandbits(2),
        "left": generator.getrandbits(parts),
        "right": generator.getrandbits(parts),
        "inputs_low": low,
        "inputs_high": high,
        "source": generator.choice([Activation.SIGNS_0, Activation.SIGNS_1, Activation.PAIRS]),
        "word_0": generator.getrandbits(config.width),
        "word_1": generator.getrandbits(config.width),
    }


def golden(config, p):
    """Bit by bit."""
    names = "above", "below", "left", "right"
    at = {name: p["edges"] >> i & 1 for i, name in enumerate(names)}
    bits = []
    for place in range(config.width):
        chunk = place // config.lanes
        half = int(chunk >= config.chunks // 2)
        of_columns = chunk if config.windows else half
        beyond = any(at[name] and p[name] >> half & 1 for name in names[:2])
        beyond |= any(at[name] and p[name] >> of_columns & 1 for name in names[2:])
        upper = 2 * place >= config.width
        of_1 = upper if p["source"] == Activation.PAIRS else p["source"] == Activation.SIGNS_1
        bit = p["word_1" if of_1 else "word_0"] >> place & 1
        bits.append(int((bit or beyond) and p["inputs_low"] <= place < p["inputs_high"]))
    return sum(bit << i for i, bit in enumerate(bits))


@pytest.mark.parametrize("windows", [0, 1])
@pytest.mark.parametrize(("lanes", "chunks"), [(2, 1), (3, 3), (4, 4), (8, 2)])
def test_words_of_every_cycle(lanes, chunks, windows):
    generator = random.Random(lanes)
    config = replace(CONFIGS["2x64"], lanes=lanes, width=2 * lanes * chunks, windows=windows)
    block, cycles, found = SignOperand(config), [drawn(config, generator) for _ in range(150)], []
    late = ("source", "word_0", "word_1")

    async def testbench(context):
        for now in range(len(cycles) + 1):
            for name, value in (cycles[now] if now < len(cycles) else {}).items():
                if name not in late:
                    context.set(getattr(block, name), value)
            if now:
                for name in late:
                    context.set(getattr(block, name), cycles[now - 1][name])
                found.append(context.get(block.activation))
            await context.tick()

    simulate(block, testbench)
    assert found == [golden(config, cycle) for cycle in cycles]
