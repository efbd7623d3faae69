import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import grids, matrix, signed


@given(st.data(), grids, st.integers(1, 3), st.integers(12, 16))
def test_haar_split_replicates_the_bottom_and_right_edges(data, grid, channels, bits):
    x = [data.draw(matrix(grid[0] * grid[1], channels, signed(bits))) for _ in range(2)]
    lo, hi = arithmetic.haar_split(torch.tensor(x), grid, bits)
    expected = [reference.haar(image, grid, bits) for image in x]
    assert lo.tolist() == [e[0] for e in expected]
    assert hi.tolist() == [e[1] for e in expected]


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (5, 1), (3, 4)])
@pytest.mark.parametrize("value", [-2048, -1, 0, 2047])
def test_a_flat_image_has_no_high_band(grid, value):
    x = torch.full((grid[0] * grid[1], 2), value)
    lo, hi = arithmetic.haar_split(x, grid, 12)
    assert lo.tolist() == x.tolist()
    assert not hi.any()


def test_a_numbered_grid():
    lo, hi = arithmetic.haar_split(torch.tensor([[1], [2], [3], [10], [20], [30]]), (2, 3), 12)
    assert lo.flatten().tolist() == [33 // 4, 55 // 4, 66 // 4, 15, 25, 30]
    assert hi.flatten().tolist() == [1 - 8, 2 - 13, 3 - 16, 10 - 15, 20 - 25, 0]


@pytest.mark.parametrize(
    ("window", "expected"), [((1, 0, 0, 0), 0), ((3, 0, 0, 0), 0), ((-1, 0, 0, 0), -1), ((-4, 0, 0, 0), -1)]
)
def test_lo_is_a_floor(window, expected):
    lo, _ = arithmetic.haar_split(torch.tensor(window)[:, None], (2, 2), 12)
    assert int(lo[0]) == expected


@pytest.mark.parametrize(("own", "others", "hi"), [(-2048, 2047, -2048), (2047, -2048, 2047)])
def test_hi_saturates_and_counts(own, others, hi):
    x = torch.full((4, 1), others)
    x[0] = own
    with arithmetic.count_saturations() as counter:
        assert int(arithmetic.haar_split(x, (2, 2), 12)[1][0]) == hi
    assert counter.clipped == 1
