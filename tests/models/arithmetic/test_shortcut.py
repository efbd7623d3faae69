import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, signed

repeats = st.sampled_from((1, 2, 4, 8))


@given(st.data(), st.integers(1, 4), repeats)
def test_repeat_channels_lays_the_channels_end_to_end(data, channels, r):
    x = [data.draw(matrix(3, channels, signed(12))) for _ in range(2)]
    result = arithmetic.repeat_channels(torch.tensor(x), r)
    assert result.tolist() == [reference.repeat_channels(image, r) for image in x]


@given(st.data(), st.integers(1, 4), repeats)
def test_mean_of_repeats_adds_the_floored_shares(data, channels, r):
    u = [data.draw(matrix(3, r * channels, signed(16))) for _ in range(2)]
    result = arithmetic.mean_of_repeats(torch.tensor(u), r)
    assert result.tolist() == [reference.mean_of_repeats(image, r) for image in u]


@pytest.mark.parametrize(
    ("u", "r", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 4, [0 + 0 + 1 + 1, 0 + 1 + 1 + 2]),
        ([1, 2, 3, 4, 5, 6, 7, 8], 2, [0 + 2, 1 + 3, 1 + 3, 2 + 4]),
        ([5, -6], 1, [5, -6]),
        ([0, -1], 2, [-1]),
        ([3, 3, 3, -1], 4, [-1]),
        ([2047] * 4, 4, [4 * 511]),
        ([-2048] * 4, 4, [-2048]),
    ],
)
def test_mean_of_repeats_at_its_corners(u, r, expected):
    assert arithmetic.mean_of_repeats(torch.tensor([u]), r).tolist() == [expected]


@given(st.data(), st.integers(1, 4), repeats)
def test_the_mean_of_repeats_stays_in_the_range_of_u(data, channels, r):
    u = torch.tensor(data.draw(matrix(3, r * channels, signed(12))), dtype=torch.int32)
    mean = arithmetic.mean_of_repeats(u, r)
    assert mean.dtype == torch.int32
    assert mean.min() >= -2048
    assert mean.max() <= 2047
