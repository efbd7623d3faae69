import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import grids, matrix, signs


@given(st.data(), grids, st.integers(1, 5), st.integers(1, 4))
def test_it_is_the_popcount_of_nine_tokens_with_plus_one_outside(data, grid, inputs, outputs):
    tokens = grid[0] * grid[1]
    s = [data.draw(matrix(tokens, inputs, signs)) for _ in range(2)]
    weight = [[data.draw(matrix(3, 3, signs)) for _ in range(inputs)] for _ in range(outputs)]
    result = arithmetic.binary_convolution(torch.tensor(s), torch.tensor(weight), grid)
    assert result.tolist() == [reference.binary_convolution(image, weight, grid) for image in s]


def test_it_is_a_correlation_row_by_row():
    """Only the tap of the token itself and that of the token below it are −1."""
    weight = torch.ones(1, 1, 3, 3, dtype=torch.int64)
    weight[0, 0, 1, 1] = weight[0, 0, 2, 1] = -1
    s = torch.tensor([[[1], [-1], [1], [1], [1], [-1]]])  # rows + −, + +, + −
    acc = arithmetic.binary_convolution(s, weight, (3, 2))
    sums = [7, 7, 5, 5, 7, 7]  # of what each token sees
    negative = [2, 0, 2, 0, 2, 0]  # of what its two taps of −1 see
    assert acc.flatten().tolist() == [a - 2 * b for a, b in zip(sums, negative, strict=True)]


@pytest.mark.parametrize("channels", [1, 5, 227])
def test_it_reaches_plus_and_minus_nine_c(channels):
    weight = torch.ones(2, channels, 3, 3, dtype=torch.int64)
    weight[1] = -1
    ones = torch.ones(1, 9, channels, dtype=torch.int64)
    acc = arithmetic.binary_convolution(ones, weight, (3, 3))
    assert acc.tolist() == [[[9 * channels, -9 * channels]] * 9]
    # Of a token alone, eight taps see +1 whatever it is.
    acc = arithmetic.binary_convolution(-ones[:, :1], weight, (1, 1))
    assert acc.tolist() == [[[7 * channels, -7 * channels]]]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_the_dtype_stays_that_of_the_signs(dtype):
    s, weight = torch.ones(1, 2, 3, dtype=dtype), torch.ones(4, 3, 3, 3, dtype=dtype)
    assert arithmetic.binary_convolution(s, weight, (1, 2)).dtype == dtype
