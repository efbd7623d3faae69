import random

import pytest
import torch
from amaranth.hdl import Module, Signal, signed

from haarlequin.hw.lanes.postprocess import PostProcess, saturate
from haarlequin.models import arithmetic
from haarlequin.models.widths import Widths
from tests.hw.bench import simulate


def draw(generator: random.Random, bits: int) -> int:
    """A signed number of that many bits, often at an edge."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return generator.choice([low, high, 0, generator.randint(low, high), generator.randint(low, high)])


def golden(widths, constants, operands):
    """y, bits and the number of saturations of a stream of (acc, shortcut, residual, token)."""
    acc, shortcut, residual, token = torch.tensor(operands).T
    one = {name: torch.tensor([value]) for name, value in constants.items()}
    value = arithmetic.affine(acc[:, None], one["a"], one["b"], constants["shift"]) + shortcut[:, None]
    with arithmetic.count_saturations() as counter:
        y = arithmetic.irprelu(
            value,
            one["positive"],
            one["negative"],
            one["offset"],
            token,
            constants["slope_shift"],
            widths.wide,
            residual[:, None],
        )[:, 0]
    return y.tolist(), (arithmetic.sign(y, one["move"]) > 0).tolist(), counter.clipped


def drawn_tile(generator, widths, tile):
    """Constants of a tile, its shifts going through their windows."""
    sizes = {"a": widths.multiplier, "b": widths.bias, "positive": widths.slope, "negative": widths.slope}
    sizes |= {"offset": widths.offset, "move": widths.offset}
    constants = {name: draw(generator, bits) for name, bits in sizes.items()}
    for name, (low, high) in {"shift": widths.affine_shift, "slope_shift": widths.slope_shift}.items():
        constants[name] = low + tile % (high - low + 1)
    return constants


def as_loaded(widths, constants):
    """The same as the lane holds them, shifts folded in."""
    affine = widths.affine_shift[1] - constants["shift"]
    slope = widths.slope_shift[1] - constants["slope_shift"]
    left = {"a": affine, "positive": slope, "negative": slope}
    return {
        name: value << left.get(name, 0) for name, value in constants.items() if not name.endswith("shift")
    }


@pytest.mark.parametrize("widths", [Widths(), Widths(wide=16, multiplier=12, slope=8, offset=12, bias=18)])
def test_irprelu_of_an_affine_tile_after_tile_without_a_gap(widths):
    """Each constant changes in the cycle behind the one in which it is taken, and not before."""
    generator = random.Random(0)
    acc_bits, length = 11, 5
    block = PostProcess(widths, acc_bits)
    operand_bits = {"acc": acc_bits, "shortcut": widths.wide, "residual": widths.wide, "token": widths.offset}
    delays = {"acc": 0, "shortcut": block.SHORTCUT, "residual": block.RESIDUAL, "token": block.RESIDUAL}
    tiles = [drawn_tile(generator, widths, tile) for tile in range(120)]
    loaded = [as_loaded(widths, tile) for tile in tiles]
    stream = [[draw(generator, bits) for bits in operand_bits.values()] for _ in range(length * len(tiles))]
    results, clipped = [], 0

    async def testbench(context):
        nonlocal clipped
        for cycle in range(len(stream) + block.LATENCY):
            taken = {name: (cycle - 1 - behind) // length for name, behind in block.TAKEN.items()}
            constants = {
                name: loaded[min(max(tile, 0), len(tiles) - 1)][name] for name, tile in taken.items()
            }
            context.set(block.constants, constants)
            for column, (name, delay) in enumerate(delays.items()):
                inside = 0 <= cycle - delay < len(stream)
                context.set(getattr(block, name), stream[cycle - delay][column] if inside else 0)
            if cycle >= block.LATENCY:
                results.append((context.get(block.y), bool(context.get(block.bit))))
                clipped += context.get(block.clipped).bit_count()
            await context.tick()

    simulate(block, testbench)
    expected_clipped = 0
    for tile, constants in enumerate(tiles):
        part = slice(tile * length, (tile + 1) * length)
        y, bits, count = golden(widths, constants, stream[part])
        assert results[part] == list(zip(y, bits, strict=True)), f"tile {tile}: {constants}"
        expected_clipped += count
    assert clipped == expected_clipped


def test_saturation_of_every_value():
    m, value, clipped, y = Module(), Signal(signed(6)), Signal(), Signal(signed(4))
    m.d.comb += y.eq(saturate(m, value, 4, clipped))
    m.d.sync += Signal(name="clock").eq(0)

    async def testbench(context):
        for given in range(-32, 32):
            context.set(value, given)
            await context.delay(0)
            expected = max(-8, min(given, 7))
            assert (context.get(y), context.get(clipped)) == (expected, given != expected)

    simulate(m, testbench)
