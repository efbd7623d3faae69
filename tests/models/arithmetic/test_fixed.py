import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, signed

both = pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "PyTorch"])


@both
@given(bits=st.integers(2, 16), values=st.lists(signed(20), min_size=1, max_size=9))
def test_sat_clips_to_twos_complement_and_counts_what_it_clipped(array, bits, values):
    expected = [reference.saturate(v, bits) for v in values]
    with arithmetic.count_saturations() as counter:
        assert arithmetic.sat(array(values), bits).tolist() == expected
    assert counter.clipped == sum(v != e for v, e in zip(values, expected, strict=True))


@both
@pytest.mark.parametrize("bits", [2, 8, 12, 16])
def test_sat_leaves_its_two_limits_and_clips_one_beyond(array, bits):
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    with arithmetic.count_saturations() as counter:
        assert arithmetic.sat(array([low, high]), bits).tolist() == [low, high]
        assert counter.clipped == 0
        assert arithmetic.sat(array([low - 1, high + 1]), bits).tolist() == [low, high]
    assert counter.clipped == 2


def test_each_counter_counts_what_happens_while_it_is_active():
    too_large = torch.full((3, 5), 128, dtype=torch.int16)
    arithmetic.sat(too_large, 8)
    with arithmetic.count_saturations() as outer:
        arithmetic.sat(too_large[0], 8)
        with arithmetic.count_saturations() as inner:
            arithmetic.sat(too_large, 8)
        arithmetic.sat(too_large[:, 0], 8)
    arithmetic.sat(too_large, 8)
    assert (inner.clipped, outer.clipped) == (15, 23)


def _fail(counters):
    with arithmetic.count_saturations() as counter:
        counters.append(counter)
        raise RuntimeError("inside the block")


def test_a_counter_stops_counting_when_its_block_fails():
    counters = []
    with pytest.raises(RuntimeError, match="inside the block"):
        _fail(counters)
    arithmetic.sat(torch.tensor([100]), 4)
    assert counters[0].clipped == 0


@given(value=signed(48), shift=st.integers(0, 40))
def test_shift_right_is_the_floor_of_the_quotient(value, shift):
    assert int(arithmetic.shift_right(torch.tensor(value), shift)) == value // 2**shift


@given(value=signed(48), shift=st.integers(0, 40))
def test_round_shift_is_the_nearest_integer(value, shift):
    assert int(arithmetic.round_shift(torch.tensor(value), shift)) == reference.halves_up(value, shift)


@pytest.mark.parametrize(
    ("value", "shift", "expected"),
    [
        (7, 0, 7),
        (-7, 0, -7),
        (0, 5, 0),
        # ±½ and ±1½ exactly: towards +∞
        (1, 1, 1),
        (-1, 1, 0),
        (3, 1, 2),
        (-3, 1, -1),
        (128, 8, 1),
        (-128, 8, 0),
        (384, 8, 2),
        (-384, 8, -1),
        # one beside them
        (127, 8, 0),
        (-127, 8, 0),
        (-129, 8, -1),
        (383, 8, 1),
        (-385, 8, -2),
    ],
)
def test_round_shift_takes_halves_up(value, shift, expected):
    assert int(arithmetic.round_shift(torch.tensor(value), shift)) == expected


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_the_dtype_stays(dtype):
    value = torch.tensor([[-300, 299], [5, -6]], dtype=dtype)
    for result in (
        arithmetic.sat(value, 8),
        arithmetic.shift_right(value, 3),
        arithmetic.round_shift(value, 3),
        arithmetic.exact_matmul(value, value, 1 << 20),
    ):
        assert result.dtype == dtype


@given(st.data(), *[st.integers(1, 7)] * 3, st.sampled_from((2, 9, 12, 24)))
def test_exact_matmul_is_the_integer_product(data, rows, inner, columns, bits):
    left = data.draw(matrix(rows, inner, signed(bits)))
    right = data.draw(matrix(inner, columns, signed(bits)))
    bound = inner << (2 * bits - 2)
    product = arithmetic.exact_matmul(torch.tensor(left), torch.tensor(right), bound)
    assert product.tolist() == reference.matmul(left, right)


@given(st.data())
def test_exact_matmul_of_a_batch_is_that_of_each(data):
    left = [data.draw(matrix(3, 5, signed(8))) for _ in range(2)]
    right = [data.draw(matrix(5, 2, signed(8))) for _ in range(2)]
    product = arithmetic.exact_matmul(torch.tensor(left), torch.tensor(right), 5 << 14)
    assert product.tolist() == [reference.matmul(a, b) for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("value", [2**24 - 1, 2**24 + 1, 2**25 + 1, 2**53 - 1])
def test_exact_matmul_keeps_every_bit_below_its_bound(value):
    for sign in (-1, 1):
        row, column = torch.tensor([[sign * value, 0]]), torch.tensor([[1], [0]])
        assert arithmetic.exact_matmul(row, column, value).tolist() == [[sign * value]]


@pytest.mark.parametrize("bound", [2**53, 2**53 + 1, 2**60])
def test_exact_matmul_refuses_what_float64_cannot_hold(bound):
    one = torch.ones(1, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match=f"a product bounded by {bound} is not exact in float64"):
        arithmetic.exact_matmul(one, one, bound)


def test_a_counter_is_of_its_own_thread():
    """Two golden models may run at once, each with its own count."""
    others = []

    def other():
        with arithmetic.count_saturations() as counter:
            arithmetic.sat(torch.tensor([1000, 1000]), 4)
        others.append(counter.clipped)

    with arithmetic.count_saturations() as counter:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        arithmetic.sat(torch.tensor([1000]), 4)
    assert (counter.clipped, others) == (1, [2])
