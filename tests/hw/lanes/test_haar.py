import random

import pytest
import torch

from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.models import arithmetic
from tests.hw.grid_stream import GRIDS, stream


def rtl(design, images, counted, gaps=0.0, seed=0):
    """(lo, hi, clipped) of each image, an image being its grid and x (N, lanes)."""
    generator = random.Random(seed)
    limit = 1 << (design.wide - 1)

    def noise():
        return [generator.randrange(-limit, limit) for _ in range(design.lanes)]

    outputs = {"lo": design.LATENCY, "hi": design.LATENCY, "clipped": design.clipped_latency}
    listed = [(grid, x.tolist()) for grid, x in images]
    held = {"counted": sum(1 << lane for lane in counted)}
    results = stream(design, "x", listed, outputs, design.lead, noise, generator, gaps, held)

    def lanes(words):
        values = [design.x.shape().from_bits(word) for word in words]
        return torch.tensor([[value[lane] for lane in range(design.lanes)] for value in values])

    return [(lanes(r["lo"]), lanes(r["hi"]), torch.tensor(r["clipped"])) for r in results]


def golden(grid, x, wide, counted):
    """(lo, hi, clipped): a lane clipped where one more bit makes another hi; of those that are counted."""
    with arithmetic.count_saturations() as counter:
        lo, hi = arithmetic.haar_split(x, grid, wide)
    clipped = hi != arithmetic.haar_split(x, grid, wide + 1)[1]
    assert counter.clipped == clipped.sum()
    return lo, hi, clipped[:, counted].sum(-1)


def check(design, images, gaps=0.0, seed=0):
    lanes = range(design.lanes)
    counted = random.Random(seed).sample(lanes, -(-2 * len(lanes) // 3))
    for (grid, x), result in zip(images, rtl(design, images, counted, gaps, seed), strict=True):
        for name, got, expected in zip(
            ("lo", "hi", "clipped"), result, golden(grid, x, design.wide, counted), strict=True
        ):
            assert torch.equal(got, expected), f"{name} on a grid of {grid}"


def drawn(generator, grid, lanes, wide):
    """x of one image: of the full range or, every other time, of its two ends."""
    limit = 1 << (wide - 1)
    shape = grid[0] * grid[1], lanes
    if torch.randint(2, (), generator=generator):
        return torch.randint(-limit, limit, shape, generator=generator)
    return torch.randint(2, shape, generator=generator) * (2 * limit - 1) - limit


@pytest.mark.parametrize("gaps", [0, 0.3])
@pytest.mark.parametrize(
    ("lanes", "wide", "max_columns"), [(1, 12, 13), (3, 16, 16), (8, 12, 17), (2, 1, 13)]
)
def test_images_of_many_grids_without_a_reset(lanes, wide, max_columns, gaps):
    generator = torch.Generator().manual_seed(lanes)
    grids = [*GRIDS, (3, max_columns), (1, max_columns)]
    images = [(grid, drawn(generator, grid, lanes, wide)) for grid in grids for _ in range(3)]
    check(HaarSplit(lanes, wide, max_columns), images, gaps, seed=lanes)


def test_a_single_column():
    generator = torch.Generator().manual_seed(0)
    images = [((rows, 1), drawn(generator, (rows, 1), 2, 12)) for rows in (1, 4, 4, 5)]
    check(HaarSplit(2, 12, 1), images, gaps=0.2)


@pytest.mark.parametrize(("own", "others"), [(-2048, 2047), (2047, -2048)])
def test_hi_saturates_either_way_and_is_counted(own, others):
    x = torch.full((9, 4), others)
    x[4, :3] = own
    ((_, hi, clipped),) = rtl(HaarSplit(4, 12, 8), [((3, 3), x)], range(4))
    assert hi[4].tolist() == [own, own, own, 0]
    assert clipped.tolist() == [0, 0, 0, 0, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("value", [-2048, -1, 0, 1, 2047])
def test_a_flat_image_has_no_high_band(value):
    """Whatever was there before it."""
    flat = torch.full((6, 1), value)
    _, (lo, hi, clipped) = rtl(HaarSplit(1, 12, 8), [((2, 3), -1 - flat), ((2, 3), flat)], [0])
    assert lo.tolist() == flat.tolist()
    assert not hi.any()
    assert not clipped.any()


@pytest.mark.parametrize("name", ["lanes", "wide", "max_columns"])
@pytest.mark.parametrize("value", [0, -3, 1.5, "2"])
def test_a_size_that_is_none(name, value):
    sizes = {"lanes": 2, "wide": 12, "max_columns": 8} | {name: value}
    with pytest.raises(ValueError, match=f"HaarSplit {name} must be a positive integer, not {value!r}"):
        HaarSplit(**sizes)
