import random

import pytest
import torch

from haarlequin.hw.lanes.local_convolution import LocalConvolution
from haarlequin.models import arithmetic
from tests.hw.grid_stream import GRIDS, stream

pytestmark = pytest.mark.slow


def pack(bits):
    return sum(1 << i for i, bit in enumerate(bits) if bit > 0)


def configured(design, weight, shift):
    """What makes the design compute with ``weight`` (lanes, θ, θ), no larger than its own, and ``shift``."""
    margin = (design.theta - weight.shape[-1]) // 2
    square = torch.nn.functional.pad(weight, [margin] * 4)
    return {
        "weights": [pack(lane) for lane in square.flatten(1).tolist()],
        "taps": pack(square[0].flatten().abs().tolist()),
        "local_shift": shift.tolist(),
    }


def rtl(design, images, weight, shift, gaps=0.0, seed=0):
    """(sum, V) of each image, an image being its grid and V (N, lanes) of ±1."""
    generator = random.Random(seed)

    def noise():
        return generator.getrandbits(design.lanes)

    outputs = {"sum": design.latency, "centre": design.latency}
    listed = [(grid, [pack(token) for token in v.tolist()]) for grid, v in images]
    held = configured(design, weight, shift)
    results = stream(design, "v", listed, outputs, design.lead, noise, generator, gaps, held)

    def lanes(word):
        value = design.sum.shape().from_bits(word)
        return [value[lane] for lane in range(design.lanes)]

    return [
        (
            torch.tensor([lanes(word) for word in result["sum"]]),
            torch.tensor(
                [[2 * (word >> i & 1) - 1 for i in range(design.lanes)] for word in result["centre"]]
            ),
        )
        for result in results
    ]


def check(design, images, weight, shift, gaps=0.0, seed=0):
    results = rtl(design, images, weight, shift, gaps, seed)
    for (grid, v), (total, centre) in zip(images, results, strict=True):
        expected = arithmetic.local_convolution(v[None], weight, grid)[0] << shift
        assert torch.equal(total, expected), f"sum on a grid of {grid}"
        assert torch.equal(centre, v), f"centre on a grid of {grid}"


def signs(generator, *shape):
    return torch.randint(2, shape, generator=generator) * 2 - 1


@pytest.mark.parametrize("gaps", [0, 0.3])
@pytest.mark.parametrize(("lanes", "max_columns"), [(1, 16), (3, 13), (8, 17)])
@pytest.mark.parametrize(("built", "theta"), [(1, 1), (3, 1), (3, 3), (5, 1), (5, 3), (5, 5)])
def test_images_of_many_grids_without_a_reset(built, theta, lanes, max_columns, gaps):
    generator = torch.Generator().manual_seed(lanes)
    grids = [*GRIDS, (3, max_columns), (1, max_columns)]
    images = [(grid, signs(generator, grid[0] * grid[1], lanes)) for grid in grids for _ in range(2)]
    weight, shift = signs(generator, lanes, theta, theta), torch.randint(4, (lanes,), generator=generator)
    check(LocalConvolution(lanes, built, max_columns, 2), images, weight, shift, gaps, seed=lanes)


@pytest.mark.parametrize("theta", [3, 5])
def test_any_taps_can_be_left_out(theta):
    generator = torch.Generator().manual_seed(theta)
    images = [((4, 5), signs(generator, 20, 3)) for _ in range(3)]
    taps = torch.randint(2, (theta, theta), generator=generator)
    weight, shift = signs(generator, 3, theta, theta) * taps, torch.tensor([0, 1, 3])
    check(LocalConvolution(3, theta, 5, 2), images, weight, shift)


@pytest.mark.parametrize("theta", [1, 3, 5])
def test_a_single_column(theta):
    generator = torch.Generator().manual_seed(theta)
    images = [((rows, 1), signs(generator, rows, 2)) for rows in (1, 4, 4, 5)]
    weight, shift = signs(generator, 2, theta, theta), torch.tensor([0, 1])
    check(LocalConvolution(2, theta, 1, 1), images, weight, shift, gaps=0.2)


@pytest.mark.parametrize("theta", [1, 3, 5])
@pytest.mark.parametrize("v", [-1, 1])
def test_full_agreement_at_every_shift(theta, v):
    """The largest sums of either sign; towards the edges fewer taps."""
    shift = torch.arange(8)
    weight = torch.ones(8, theta, theta, dtype=torch.int64)
    weight[1::2] = -1
    image = (5, 6), torch.full((30, 8), v)
    check(LocalConvolution(8, theta, 6, 3), [image, image], weight, shift)
    design = LocalConvolution(8, theta, 6, 3)
    ((total, _),) = rtl(design, [image], weight, shift)
    assert total[14].tolist() == [v * theta**2 * (-1) ** lane << lane for lane in range(8)]


@pytest.mark.parametrize("name", ["lanes", "max_columns", "shift_bits"])
@pytest.mark.parametrize("value", [0, -3, 1.5, "2"])
def test_a_size_that_is_none(name, value):
    sizes = {"lanes": 2, "theta": 3, "max_columns": 8, "shift_bits": 2} | {name: value}
    message = f"LocalConvolution {name} must be a positive integer, not {value!r}"
    with pytest.raises(ValueError, match=message):
        LocalConvolution(**sizes)


@pytest.mark.parametrize("theta", [0, 2, 7, -3, 3.0, "3"])
def test_a_theta_that_is_none(theta):
    with pytest.raises(ValueError, match=f"LocalConvolution theta must be 1, 3 or 5, not {theta!r}"):
        LocalConvolution(2, theta, 8, 2)
