import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, row, signed


@given(st.data(), st.integers(1, 9), st.integers(1, 4))
def test_pool_is_the_sum_over_the_tokens(data, tokens, channels):
    x = [data.draw(matrix(tokens, channels, signed(16))) for _ in range(2)]
    assert arithmetic.pool(torch.tensor(x)).tolist() == [reference.pool(image) for image in x]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_pool_neither_saturates_nor_wraps(dtype):
    smallest = torch.iinfo(dtype).min
    pooled = arithmetic.pool(torch.full((5, 2), smallest, dtype=dtype))
    assert pooled.dtype == torch.int64
    assert pooled.tolist() == [5 * smallest] * 2


@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(0, 20), st.sampled_from((4, 8)))
def test_head_is_its_formula(data, channels, classes, shift, feature_bits):
    pooled = data.draw(matrix(2, channels, signed(22)))
    a, b = data.draw(row(channels, signed(10))), data.draw(row(channels, signed(14)))
    weight, bias = data.draw(matrix(classes, channels, signed(8))), data.draw(row(classes, signed(22)))
    m, n, w, o = (torch.tensor(v) for v in (a, b, weight, bias))
    result = arithmetic.head(torch.tensor(pooled), m, n, shift, w, o, feature_bits)
    assert result.tolist() == [reference.head(p, a, b, shift, weight, bias, feature_bits) for p in pooled]


def _one(pooled, a=1, b=0, shift=0, weight=1, bias=0):
    """The logit of one channel and one class."""
    x, m, n, w, o = (torch.tensor(v) for v in ([pooled], [a], [b], [[weight]], [bias]))
    return int(arithmetic.head(x, m, n, shift, w, o, 8))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"pooled": 127}, 127),
        ({"pooled": 128}, 127),
        ({"pooled": -128}, -128),
        ({"pooled": -129}, -128),
        ({"pooled": 2**21, "a": -512, "shift": 20}, -128),
        ({"pooled": 8, "shift": 4}, 1),
        ({"pooled": -8, "shift": 4}, 0),
        ({"pooled": -9, "shift": 4}, -1),
        ({"pooled": -128, "weight": -128, "bias": 2**21 - 1}, 2**14 + 2**21 - 1),
        ({"pooled": 127, "weight": -128, "bias": -(2**21)}, -127 * 128 - 2**21),
        ({"pooled": 100, "b": 100, "weight": 2, "bias": 1}, 255),
    ],
)
def test_head_at_its_corners(arguments, expected):
    assert _one(**arguments) == expected


def test_head_counts_its_saturations():
    with arithmetic.count_saturations() as counter:
        _one(pooled=1000)
    assert counter.clipped == 1


@pytest.mark.parametrize("channels", [1026, 2049])
def test_head_is_exact_beyond_float32(channels):
    """The products add up to an odd number beyond 2^24, for the fewest channels by a little."""
    weight = torch.full((1, channels), -128)
    weight[0, 0] = -127
    ones, zeros = torch.ones(channels, dtype=torch.int64), torch.zeros(channels, dtype=torch.int64)
    pooled = -128 * ones
    pooled[0] = 1
    result = arithmetic.head(pooled, ones, zeros, 0, weight, torch.tensor([1]), 8)
    assert result.tolist() == [((channels - 1) << 14) - 127 + 1]


@given(st.data(), *[st.integers(1, 3)] * 2, st.integers(0, 12), st.integers(12, 16))
def test_token_logits_are_the_saturated_affine(data, tokens, classes, shift, bits):
    acc = [data.draw(matrix(tokens, classes, signed(18))) for _ in range(2)]
    a, b = data.draw(row(classes, signed(12))), data.draw(row(classes, signed(20)))
    result = arithmetic.token_logits(torch.tensor(acc), torch.tensor(a), torch.tensor(b), shift, bits)
    assert result.tolist() == [reference.token_logits(image, a, b, shift, bits) for image in acc]


def test_token_logits_count_their_saturations():
    acc, one, zero = torch.tensor([[[2048], [2047], [-2048], [-2049]]]), torch.tensor([1]), torch.tensor([0])
    with arithmetic.count_saturations() as counter:
        logits = arithmetic.token_logits(acc, one, zero, 0, 12)
    assert logits.flatten().tolist() == [2047, 2047, -2048, -2048]
    assert counter.clipped == 2
