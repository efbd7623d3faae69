import random
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.lanes.local_convolution import convolution_latency
from haarlequin.hw.lanes.local_unit import LocalUnit
from haarlequin.hw.presets import CONFIGS
from haarlequin.models import arithmetic
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow


def image(config, grid, generator):
    """V (N, lanes), weights (lanes, θ²) and shifts (lanes), and whether the sum joins, token by token."""
    n, size = grid[0] * grid[1], config.theta**2
    bits = np.array([[generator.getrandbits(1) for _ in range(config.lanes)] for _ in range(n)])
    weights = np.array([[generator.getrandbits(1) for _ in range(size)] for _ in range(config.lanes)])
    shifts = [generator.getrandbits(config.widths.local_shift) for _ in range(config.lanes)]
    return grid, bits, weights, shifts, [generator.random() < 0.7 for _ in range(n)]


def golden(config, one):
    """(centre, extra) of each token."""
    grid, bits, weights, shifts, joins = one
    v = 2 * bits - 1
    signed = (2 * weights - 1).reshape(-1, config.theta, config.theta)
    total = (arithmetic.local_convolution(v[None], signed, grid)[0] << np.array(shifts)) + v
    return [
        (tuple(row), tuple(extra * join))
        for row, extra, join in zip(bits.tolist(), total, joins, strict=True)
    ]


def rtl(config, wait, images):
    """The same of the unit: images one behind the other, each one's weights as late as they may come."""
    unit, lanes = LocalUnit(config, wait), config.lanes
    enables, firsts, v, takes, loads, joins, due = {}, set(), {}, set(), {}, {}, []
    start = lanes + 2
    for grid, bits, weights, shifts, joined in images:
        lead = config.theta // 2 * (grid[1] + 1)
        tokens = len(bits) + lead
        takes.add(start)
        firsts |= {start - 1, start - 1 + len(bits)}
        for lane in range(lanes):
            loads[start - lanes + lane] = weights[lane], shifts[lane]
        for token in range(tokens):
            enables[start + token] = grid[1]
            if token < len(bits):
                v[start + token + 1] = bits[token]
        for token, join in enumerate(joined):
            centre = start + token + lead + 1 + unit.latency + wait
            due.append(centre)
            joins[centre - 1] = join
        start += max(tokens, lanes)
    found, centres = [], {}

    async def testbench(context):
        context.set(unit.taps, (1 << config.theta**2) - 1)
        for now in range(due[-1] + 2):
            context.set(unit.enable, now in enables)
            if now + 1 in enables:
                context.set(unit.columns, enables[now + 1])
            context.set(unit.first, now in firsts)
            context.set(unit.v, sum(int(bit) << lane for lane, bit in enumerate(v.get(now, []))))
            context.set(unit.take, now in takes)
            context.set(unit.load, now in loads)
            weights, shift = loads.get(now, ([1] * config.theta**2, 1))
            context.set(
                unit.local, {"weights": sum(int(bit) << i for i, bit in enumerate(weights)), "shift": shift}
            )
            context.set(unit.joins, joins.get(now, True))
            bits = context.get(unit.centre)
            centres[now] = tuple(bits >> lane & 1 for lane in range(lanes))
            if now - 1 in due:
                extra = context.get(unit.extra)
                found.append((centres[now - 1], tuple(extra[lane] for lane in range(lanes))))
            await context.tick()

    simulate(unit, testbench)
    return found


@pytest.mark.parametrize("wait", [0, 3])
@pytest.mark.parametrize(("lanes", "theta"), [(1, 1), (3, 3), (9, 3), (2, 5)])
def test_images_one_behind_the_other(lanes, theta, wait):
    """Each with weights of its own, which come while those of the image before are in use."""
    generator = random.Random(lanes)
    config = replace(CONFIGS["2x64"], lanes=lanes, width=2 * lanes, theta=theta, max_columns=8)
    images = [image(config, grid, generator) for grid in [(4, 4), (3, 8), (4, 4), (2, 5)]]
    expected = [token for one in images for token in golden(config, one)]
    assert rtl(config, wait, images) == expected


@pytest.mark.parametrize("theta", [1, 3, 5])
def test_latency(theta):
    config = replace(CONFIGS["2x64"], theta=theta)
    assert LocalUnit(config, 0).latency == convolution_latency(theta)
