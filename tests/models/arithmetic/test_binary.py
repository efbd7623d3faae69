import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, row, signed, signs


@given(st.data(), st.integers(1, 6))
def test_sign_is_plus_one_from_minus_the_move_upwards(data, channels):
    value, move = data.draw(matrix(3, channels, signed(12))), data.draw(row(channels, signed(9)))
    result = arithmetic.sign(torch.tensor(value), torch.tensor(move))
    assert result.tolist() == [
        [reference.sign(v, m) for v, m in zip(token, move, strict=True)] for token in value
    ]


@pytest.mark.parametrize("move", [-256, -1, 0, 1, 255])
def test_sign_exactly_at_its_threshold_is_plus_one(move):
    value = torch.tensor([-move - 1, -move, -move + 1])
    assert arithmetic.sign(value, move).tolist() == [-1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_sign_without_a_move_has_the_dtype_of_its_value(dtype):
    result = arithmetic.sign(torch.tensor([-1, 0, 1], dtype=dtype))
    assert result.dtype == dtype
    assert result.tolist() == [-1, 1, 1]


@given(st.data(), st.integers(1, 3), st.sampled_from((1, 2, 7, 63, 64, 65, 127, 130)), st.integers(1, 5))
def test_binary_linear_is_twice_the_popcount_less_k(data, tokens, inputs, outputs):
    s, weight = data.draw(matrix(tokens, inputs, signs)), data.draw(matrix(outputs, inputs, signs))
    result = arithmetic.binary_linear(torch.tensor([s, s]), torch.tensor(weight))
    assert result.tolist() == [reference.binary_linear(s, weight)] * 2


@given(st.data(), st.integers(2, 5))
def test_a_square_weight_has_a_row_per_output(data, size):
    s, weight = data.draw(matrix(1, size, signs)), data.draw(matrix(size, size, signs))
    result = arithmetic.binary_linear(torch.tensor(s), torch.tensor(weight))
    assert result.tolist() == reference.binary_linear(s, weight)


@pytest.mark.parametrize("inputs", [1, 64, 1536])
def test_binary_linear_reaches_plus_and_minus_k(inputs):
    s = torch.ones(1, inputs, dtype=torch.int64)
    weight = torch.stack([s[0], -s[0]])
    assert arithmetic.binary_linear(s, weight).tolist() == [[inputs, -inputs]]
