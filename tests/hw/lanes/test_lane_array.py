import random

import pytest
import torch

from haarlequin.hw.lanes.lane_array import LaneArray
from haarlequin.hw.lanes.loader import balance, pads
from haarlequin.hw.lanes.postprocess import PostProcess
from haarlequin.models import arithmetic
from haarlequin.models.widths import Widths
from tests.hw.bench import simulate


def pack(signs: torch.Tensor) -> int:
    return sum(1 << i for i, sign in enumerate(signs.tolist()) if sign > 0)


async def load(context, array, weights, constants):
    """Weights (lanes, K) of ±1 and constants, one lane a cycle, then made current."""
    for lane in range(array.lanes):
        context.set(array.load, 1)
        context.set(array.weights, pack(weights[lane]))
        context.set(array.load_constants, 1)
        context.set(array.constants, {name: int(value[lane]) for name, value in constants.items()})
        await context.tick()
    context.set(array.load, 0)
    context.set(array.load_constants, 0)
    context.set(array.swap, 1)
    await context.tick()
    context.set(array.swap, 0)


def drawn_constants(generator, widths, lanes):
    """As they are loaded, at the largest shifts of the windows."""
    bits = {"a": widths.multiplier, "b": widths.bias, "positive": widths.slope, "negative": widths.slope}
    bits |= {"offset": widths.offset, "move": widths.offset}
    return {
        name: torch.randint(-(1 << b - 1), 1 << b - 1, (lanes,), generator=generator)
        for name, b in bits.items()
    }


@pytest.mark.parametrize("unused", [(0, 3), (0, 4), (1, 0), (1, 3), (2, 1)])
@pytest.mark.parametrize(("lanes", "width"), [(1, 4), (3, 10), (4, 64)])
def test_a_projection_over_two_steps(lanes, width, unused):
    """The first step's accumulators come back as partial sums, the second one's go through post-
    processing.
    """
    generator = torch.Generator().manual_seed(lanes)
    widths = Widths()
    array = LaneArray(lanes, width, width, widths)
    # Inputs of each step: the last word is not full. An even number of pads leaves nothing over.
    valid = [(0, width), (min(unused[0], width - 1), max(1, width - unused[1]))]
    tokens = 12
    limit = 1 << (widths.wide - 1)

    def integers(bound, *shape):
        return torch.randint(-bound, bound, shape, generator=generator)

    weights = [integers(1, lanes, width) * 2 + 1 for _ in valid]
    signs = [integers(1, tokens, width) * 2 + 1 for _ in valid]
    words = [[word.clone() for word in words] for words in (weights, signs)]
    for step, (low, high) in enumerate(valid):
        unused = torch.ones(width, dtype=torch.bool)
        unused[low:high] = False
        words[0][step][:, unused] = 2 * torch.tensor(pads(width))[unused] - 1
        words[1][step][:, unused] = -1
    constants = drawn_constants(generator, widths, lanes)
    extra, shortcut = integers(9, tokens, lanes), integers(limit, tokens, lanes)
    residual = integers(limit, tokens, lanes)
    token = integers(1 << (widths.offset - 1), tokens)
    results = {"acc": [], "y": [], "bits": [], "first": 0, "second": 0}

    async def stream(context, step, partial):
        """One pass; accumulators and results by token."""
        taken = {
            "partial": (array.operands, partial),
            "extra": (array.operands, extra if step else torch.zeros_like(extra)),
            "shortcut": (array.operands + 2 + PostProcess.SHORTCUT, shortcut),
            "residual": (array.operands + 2 + PostProcess.RESIDUAL, residual),
            "token": (array.operands + 1 + PostProcess.RESIDUAL, token),
        }
        end = array.operands + 2 + PostProcess.LATENCY
        acc = []
        for cycle in range(tokens + end):
            now = min(cycle, tokens - 1)
            context.set(array.activation, pack(words[1][step][now]))
            context.set(array.balance, balance(*valid[step]))
            context.set(array.take, cycle == array.operands + 1)
            for name, (delay, values) in taken.items():
                if 0 <= cycle - delay < tokens:
                    context.set(getattr(array, name), values[cycle - delay].tolist())
            if 0 <= cycle - array.operands - 2 < tokens:
                acc.append([context.get(array.acc[lane]) for lane in range(lanes)])
            if step and cycle >= end:
                results["y"].append([context.get(array.y[lane]) for lane in range(lanes)])
                results["bits"].append(context.get(array.bits))
                clipped = context.get(array.clipped)
                results["first"] += (clipped & ((1 << lanes) - 1)).bit_count()
                results["second"] += (clipped >> lanes).bit_count()
            await context.tick()
        return torch.tensor(acc)

    async def testbench(context):
        partial = torch.zeros(tokens, lanes, dtype=torch.int64)
        context.set(array.gate, (1 << lanes) - 1)
        for step in range(2):
            await load(context, array, words[0][step], constants)
            partial = await stream(context, step, partial)
        results["acc"] = partial

    simulate(array, testbench)

    dots = [
        arithmetic.binary_linear(s[:, slice(*used)], w[:, slice(*used)])
        for s, w, used in zip(signs, weights, valid, strict=True)
    ]
    acc = dots[0] + dots[1] + extra
    value = arithmetic.affine(acc, constants["a"], constants["b"], widths.affine_shift[1]) + shortcut
    slopes = constants["positive"], constants["negative"]
    with arithmetic.count_saturations() as counter:
        y = arithmetic.irprelu(
            value, *slopes, constants["offset"], token, widths.slope_shift[1], widths.wide, residual
        )
    assert torch.equal(results["acc"], acc)
    assert results["y"] == y.tolist()
    assert results["bits"] == [pack(row) for row in arithmetic.sign(y, constants["move"])]
    first = int(((value < -(1 << widths.wide - 1)) | (value >= 1 << widths.wide - 1)).sum())
    assert (results["first"], results["second"]) == (first, counter.clipped - first)


@pytest.mark.parametrize("length", [8, 5])
def test_values_shift_in_and_become_weights(length):
    """Each lane's own bits, token after token, and then a row of Â chooses among them: ΣÂV, less k·V_i where
    the differential term is asked for, in the lanes of the gate.
    """
    generator = random.Random(0)
    lanes, width = 3, 8
    array = LaneArray(lanes, width, length, Widths())
    low = width - length
    values = [generator.getrandbits(length) << low for _ in range(lanes)]
    one = 1 << Widths().slope_shift[1]
    identity = {"a": 0, "b": 0, "positive": one, "negative": one, "offset": 0, "move": 0}

    async def testbench(context):
        constants = {name: torch.full((lanes,), value) for name, value in identity.items()}
        await load(context, array, torch.ones(lanes, width, dtype=torch.int64), constants)
        context.set(array.take, 1)
        await context.tick().repeat(PostProcess.LATENCY)
        delay = PostProcess.LATENCY - PostProcess.SHORTCUT
        for cycle in range(length + delay):
            if cycle < length:
                context.set(array.shortcut, [(bits >> low + cycle & 1) - 1 for bits in values])
            context.set(array.shift, delay <= cycle + 1 < length + delay)
            context.set(array.begin, cycle + 1 == delay)
            await context.tick()
        context.set(array.shift, 0)
        context.set(array.swap, 1)
        await context.tick()
        context.set(array.swap, 0)
        context.set(array.context, 1)
        v = [[1 if bits >> j & 1 else -1 for j in range(width)] for bits in values]
        rows = [0b1011_0110 >> low << low, 0, ((1 << length) - 1) << low, 1 << low]
        for row, gate, centre in zip(
            rows, (0b101, 0b111, 0b011, 0b110), (0b001, 0, 0b111, 0b010), strict=True
        ):
            context.set(array.activation, row)
            context.set(array.gate, gate)
            context.set(array.centre, centre)
            sums = [sum(sign for j, sign in enumerate(signs) if row >> j & 1) for signs in v]
            for differential in (0, 1):
                context.set(array.differential, differential)
                await context.tick().repeat(array.operands + 2)
                own = [row.bit_count() * (1 if centre >> lane & 1 else -1) for lane in range(lanes)]
                expected = [
                    total - differential * k if gate >> lane & 1 else 0
                    for lane, (total, k) in enumerate(zip(sums, own, strict=True))
                ]
                assert [context.get(array.acc[lane]) for lane in range(lanes)] == expected

    simulate(array, testbench)


@pytest.mark.parametrize("lanes", [0, -2, 1.5])
def test_a_number_of_lanes_that_is_none(lanes):
    with pytest.raises(ValueError, match="LaneArray lanes must be a positive integer, not "):
        LaneArray(lanes, 8, 8, Widths())
