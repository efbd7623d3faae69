import random
from dataclasses import replace

import pytest
from amaranth.hdl import Value

from haarlequin.hw.lanes.banks import Banks
from haarlequin.hw.presets import CONFIGS
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

CYCLES = 500
WORDS = ("partial_word", "mean_word", "shortcut_word", "residual_word", "scores", "x", "x_ready")


def machine(lanes, bank_c):
    return replace(CONFIGS["2x64"], lanes=lanes, width=4 * lanes, bank_a=11, bank_b=16, bank_c=bank_c)


def drawn(config, generator, before):
    """A cycle's inputs, given those of the cycle before: no port has two users."""

    def access(words, valid):
        return {"valid": int(valid), "address": generator.randrange(words)}

    a, b, sums = config.bank_a, config.bank_b, config.partial_sums
    bits = config.lanes * config.widths.wide
    of_a = generator.choice(["mean", "shortcut", "partial", ""])
    of_b = generator.choice(["residual", "shortcut", ""])
    from_a = of_a == "shortcut"
    from_b = of_b == "shortcut" and not from_a
    partial = of_a == "partial" if not config.bank_c else generator.getrandbits(1)
    into_a = generator.choice(["write_a", "write_c", ""])
    idle_a = not (
        before["mean"]["valid"]
        or before["shortcut"]["from_a"]
        or (before["partial"]["valid"] and not config.bank_c)
    )
    idle_b = not (before["residual"]["valid"] or before["shortcut"]["from_b"])
    splits = before["splits"]
    # The unit's word comes a cycle after its strobe, in the same cycle as the passes' words.
    next_splits = into_a == "" and generator.random() < 0.4
    return {
        "partial": access(sums, partial),
        "mean": access(a, of_a == "mean"),
        "shortcut": {
            "from_a": int(from_a),
            "from_b": int(from_b),
            "address": generator.randrange(min(a, b // 2)),
        },
        "residual": access(b // 2, of_b == "residual"),
        "attention": access(a, idle_a and generator.getrandbits(1)),
        "haar": access(b // 2, idle_b and generator.getrandbits(1)),
        "write_a": access(a, into_a == "write_a"),
        "write_b": access(b // 2, generator.getrandbits(1)),
        "write_c": access(
            sums, into_a == "write_c" or (config.bank_c and not next_splits and generator.getrandbits(1))
        ),
        "stored": generator.getrandbits(bits),
        "splits": int(next_splits),
        "split": access(a, splits),
        "band": generator.getrandbits(bits),
        "x_valid": generator.getrandbits(1),
        "x_address": generator.randrange(b),
        "x_word": generator.getrandbits(bits),
    }


def golden(config, cycles, region):
    """By (cycle, output), its value, wherever one is meant."""
    a, b = [0] * config.bank_a, [0] * config.bank_b
    sums = [0] * config.bank_c if config.bank_c else a
    half, seen = region * config.bank_b // 2, {}
    for now, cycle in enumerate(cycles):
        before = cycles[now - 1] if now else None
        if cycle["attention"]["valid"]:
            seen[now + 2, "scores"] = a[cycle["attention"]["address"]]
        if cycle["haar"]["valid"]:
            seen[now + 2, "x"] = b[half + cycle["haar"]["address"]]
        writes_b = bool(before and before["write_b"]["valid"])
        seen[now, "x_ready"] = int(not writes_b)
        if before:
            for name, bank, first in (("partial", sums, 0), ("mean", a, 0), ("residual", b, half)):
                place = before[name]
                seen[now + 3, f"{name}_word"] = bank[first + place["address"]] if place["valid"] else 0
            place = before["shortcut"]
            either = a[place["address"]] if place["from_a"] else b[half + place["address"]]
            seen[now + 3, "shortcut_word"] = either if place["from_a"] or place["from_b"] else 0
            for name, bank, first in (("write_a", a, 0), ("write_c", sums, 0), ("write_b", b, half)):
                if before[name]["valid"]:
                    bank[first + before[name]["address"]] = cycle["stored"]
        if cycle["split"]["valid"]:
            a[cycle["split"]["address"]] = cycle["band"]
        if cycle["x_valid"] and not writes_b:
            b[cycle["x_address"]] = cycle["x_word"]
    return seen


def rtl(config, cycles, region, expected):
    """The same of the block."""
    block, found = Banks(config), {}

    async def testbench(context):
        context.set(block.region, region)
        for now in range(len(cycles) + 4):
            for name, value in (cycles[now] if now < len(cycles) else {}).items():
                port = getattr(block, name)
                if isinstance(value, dict):
                    for part, bits in value.items():
                        context.set(getattr(port, part), bits)
                else:
                    context.set(Value.cast(port), value)
            for name in WORDS:
                if (now, name) in expected:
                    found[now, name] = context.get(Value.cast(getattr(block, name)))
            await context.tick()

    simulate(block, testbench)
    return found


@pytest.mark.parametrize("region", [0, 1])
@pytest.mark.parametrize(("lanes", "bank_c"), [(1, 0), (3, 0), (3, 5), (9, 7)])
def test_look_ups_and_writes_of_every_cycle(lanes, bank_c, region):
    generator = random.Random(lanes)
    config = machine(lanes, bank_c)
    nothing = {"mean": {"valid": 0}, "shortcut": {"from_a": 0, "from_b": 0}, "residual": {"valid": 0}}
    cycles = [nothing | {"partial": {"valid": 0}, "splits": 0}]
    for _ in range(CYCLES):
        cycles.append(drawn(config, generator, cycles[-1]))
    expected = golden(config, cycles[1:], region)
    assert rtl(config, cycles[1:], region, expected) == expected
