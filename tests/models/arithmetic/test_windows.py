import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference


@st.composite
def windowed_grids(draw):
    """(grid, size of a window, shift), the shift less than the size."""
    size = draw(st.integers(1, 4))
    grid = draw(st.integers(1, 3)) * size, draw(st.integers(1, 3)) * size
    return grid, size, draw(st.integers(0, size - 1))


@given(windowed_grids(), st.integers(1, 3))
def test_windows_go_row_by_row_in_and_between(drawn, channels):
    grid, size, shift = drawn
    x = torch.arange(2 * grid[0] * grid[1] * channels).reshape(2, -1, channels)
    result = arithmetic.to_windows(x, grid, size, shift)
    images = [reference.to_windows(image, grid, size, shift) for image in x.tolist()]
    assert result.tolist() == [window for image in images for window in image]


@given(windowed_grids(), st.integers(1, 3))
def test_from_windows_puts_every_token_back(drawn, channels):
    grid, size, shift = drawn
    windows = torch.arange(2 * grid[0] * grid[1] * channels).reshape(-1, size**2, channels)
    result = arithmetic.from_windows(windows, grid, size, shift)
    images = windows.unflatten(0, (2, -1)).tolist()
    assert result.tolist() == [reference.from_windows(image, grid, size, shift) for image in images]
    assert torch.equal(arithmetic.to_windows(result, grid, size, shift), windows)


@given(windowed_grids())
def test_pairs_are_allowed_within_one_tile_of_the_grid(drawn):
    grid, size, shift = drawn
    assert arithmetic.allowed_pairs(grid, size, shift) == reference.allowed_pairs(grid, size, shift)


def test_windows_of_a_numbered_grid():
    x = torch.arange(16).reshape(1, 16, 1)
    assert arithmetic.to_windows(x, (2, 8), 2).flatten(1).tolist() == [
        [0, 1, 8, 9],
        [2, 3, 10, 11],
        [4, 5, 12, 13],
        [6, 7, 14, 15],
    ]
    assert arithmetic.to_windows(x, (4, 4), 2, 1).flatten(1).tolist() == [
        [5, 6, 9, 10],
        [7, 4, 11, 8],
        [13, 14, 1, 2],
        [15, 12, 3, 0],
    ]


def test_shifted_windows_keep_apart_what_wraps_around():
    first, right, below, corner = arithmetic.allowed_pairs((4, 4), 2, 1)
    assert first == [[1] * 4] * 4
    assert right == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert below == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert corner == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_window_as_large_as_the_grid_is_the_grid(size):
    x = torch.arange(2 * size * size * 3).reshape(2, size * size, 3)
    assert torch.equal(arithmetic.to_windows(x, (size, size), size), x)
    assert torch.equal(arithmetic.from_windows(x, (size, size), size), x)
    assert arithmetic.allowed_pairs((size, size), size, 0) == [[[1] * size**2] * size**2]
