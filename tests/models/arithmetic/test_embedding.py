import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import integers, matrix, row, signed, unsigned


def images(rows, columns, channels):
    return row(rows, matrix(columns, channels, unsigned(8)))


@given(st.data(), *[st.integers(1, 3)] * 4)
def test_patches_go_row_by_row_in_and_between(data, rows, columns, patch, channels):
    pixels = [data.draw(images(rows * patch, columns * patch, channels)) for _ in range(2)]
    result = arithmetic.patches(torch.tensor(pixels, dtype=torch.uint8), patch)
    assert result.dtype == torch.uint8
    assert result.tolist() == [reference.patches(image, patch) for image in pixels]


def test_patches_of_a_numbered_image():
    pixels = torch.arange(48, dtype=torch.uint8).reshape(1, 4, 6, 2)
    tokens = arithmetic.patches(pixels, 2)[0]
    assert tokens[0].tolist() == [0, 1, 2, 3, 12, 13, 14, 15]
    assert tokens[1].tolist() == [4, 5, 6, 7, 16, 17, 18, 19]
    assert tokens[3].tolist() == [24, 25, 26, 27, 36, 37, 38, 39]


@given(st.data(), *[st.integers(1, 4)] * 2, st.integers(1, 2), st.integers(1, 2))
def test_neighbourhoods_see_grey_outside_the_image(data, height, width, stride, channels):
    height, width = height * stride, width * stride
    pixels = [data.draw(images(height, width, channels)) for _ in range(2)]
    result = arithmetic.neighbourhoods(torch.tensor(pixels, dtype=torch.uint8), stride)
    assert result.dtype == torch.uint8
    assert result.tolist() == [reference.neighbourhoods(image, stride) for image in pixels]


def test_neighbourhoods_of_a_numbered_image():
    pixels = torch.arange(24, dtype=torch.uint8).reshape(1, 4, 6, 1)
    tokens = arithmetic.neighbourhoods(pixels, 2)[0]
    assert tokens.shape == (6, 9)
    assert tokens[0].tolist() == [128, 128, 128, 128, 0, 1, 128, 6, 7]
    assert tokens[4].tolist() == [7, 8, 9, 13, 14, 15, 19, 20, 21]
    # A stride of 2 never reaches beyond the right edge or the lower one.
    assert tokens[5].tolist() == [9, 10, 11, 15, 16, 17, 21, 22, 23]
    assert arithmetic.neighbourhoods(pixels, 1)[0, -1].tolist() == [16, 17, 128, 22, 23, 128, 128, 128, 128]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_a_pixel_alone_is_among_eight_grey_ones(dtype):
    result = arithmetic.neighbourhoods(torch.tensor([[[[7, 9]]]], dtype=dtype), 2)
    assert result.dtype == dtype
    assert result.tolist() == [[[128] * 8 + [7, 9] + [128] * 8]]


@given(st.data(), *[st.integers(1, 3)] * 2, st.integers(1, 2), st.integers(1, 4), st.integers(0, 8))
def test_embedding_without_positions_saturates_once(data, height, width, stride, dim, acc_shift):
    pixels = data.draw(images(height * stride, width * stride, 1))
    weight, bias = data.draw(matrix(dim, 9, signed(8))), data.draw(row(dim, integers(-9 << 14, 9 << 14)))
    a, b = data.draw(row(dim, signed(10))), data.draw(row(dim, signed(14)))
    values = arithmetic.neighbourhoods(torch.tensor([pixels]), stride)
    constants = (torch.tensor(v) for v in (weight, bias))
    result = arithmetic.embedding(values, *constants, acc_shift, torch.tensor(a), torch.tensor(b), 6, 0, 12)
    seen = reference.neighbourhoods(pixels, stride)
    assert result.tolist() == [reference.embedding(seen, weight, bias, acc_shift, a, b, 6, None, 12)]


@given(st.data(), *[st.integers(1, 2)] * 4, st.integers(1, 4), st.integers(0, 8), st.integers(0, 12))
def test_embedding_is_its_formula(data, rows, columns, patch, channels, dim, acc_shift, shift):
    length = patch * patch * channels
    pixels = [data.draw(images(rows * patch, columns * patch, channels)) for _ in range(2)]
    reach = length << 14
    weight, bias = data.draw(matrix(dim, length, signed(8))), data.draw(row(dim, integers(-reach, reach)))
    a, b = data.draw(row(dim, signed(10))), data.draw(row(dim, signed(14)))
    bits = data.draw(st.integers(12, 16))
    position = data.draw(matrix(rows * columns, dim, signed(bits)))
    w, o, m, n, p = (torch.tensor(v) for v in (weight, bias, a, b, position))
    values = arithmetic.patches(torch.tensor(pixels), patch)
    result = arithmetic.embedding(values, w, o, acc_shift, m, n, shift, p, bits)
    assert result.tolist() == [
        reference.embedding(
            reference.patches(image, patch), weight, bias, acc_shift, a, b, shift, position, bits
        )
        for image in pixels
    ]


def _one(pixel, weight=1, bias=0, acc_shift=0, a=1, b=0, shift=0, position=0):
    """The embedding of one grey pixel as one token of one channel, 12 bits wide."""
    one = [torch.tensor(v) for v in ([[weight]], [bias], [a], [b], [[position]])]
    w, o, m, n, p = one
    return int(arithmetic.embedding(torch.tensor([[[pixel]]]), w, o, acc_shift, m, n, shift, p, 12))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pixel": 128}, 0),
        ({"pixel": 0}, -128),
        ({"pixel": 255}, 127),
        # acc >> e is a floor, the affine rounds
        ({"pixel": 127, "acc_shift": 1}, -1),
        ({"pixel": 129, "acc_shift": 1}, 0),
        ({"pixel": 127, "shift": 1}, 0),
        ({"pixel": 129, "shift": 1}, 1),
        # the bias joins before the shift, b after it
        ({"pixel": 128, "bias": 15, "acc_shift": 4}, 0),
        ({"pixel": 129, "bias": 15, "acc_shift": 4}, 1),
        ({"pixel": 128, "b": 15, "shift": 4}, 15),
        # saturated before the position is added, and again after it
        ({"pixel": 128, "b": 5000, "position": -100}, 1947),
        ({"pixel": 128, "b": -5000, "position": 100}, -1948),
        ({"pixel": 128, "b": 2000, "position": 100}, 2047),
        ({"pixel": 128, "b": -2000, "position": -100}, -2048),
        # −128·−128 and its negative neighbour
        ({"pixel": 0, "weight": -128, "acc_shift": 4}, 1024),
        ({"pixel": 0, "weight": 127, "acc_shift": 4}, -1016),
    ],
)
def test_embedding_at_its_corners(arguments, expected):
    assert _one(**arguments) == expected


def test_embedding_counts_both_saturations():
    with arithmetic.count_saturations() as counter:
        _one(pixel=128, b=5000, position=100)
    assert counter.clipped == 2


def test_embedding_is_exact_beyond_float32():
    """The products add up to an odd number beyond 2^24."""
    length = 16 * 16 * 6
    weight = torch.full((1, length), -128)
    weight[0, 0] = -127
    values = torch.zeros(1, 1, length, dtype=torch.int64)
    values[0, 0, 0] = 129
    zero, one = torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.int64)
    bias = torch.tensor([-((length - 1) << 14)])
    result = arithmetic.embedding(values, weight, bias, 0, one, zero, 0, zero[None], 12)
    assert result.tolist() == [[[-127]]]
