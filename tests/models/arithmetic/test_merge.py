import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, signed


@given(*[st.integers(1, 4)] * 3)
def test_four_tokens_are_put_side_by_side(rows, columns, channels):
    grid = 2 * rows, 2 * columns
    x = torch.arange(2 * grid[0] * grid[1] * channels).reshape(2, -1, channels)
    assert arithmetic.merge_tokens(x, grid).tolist() == [reference.merge_tokens(y, grid) for y in x.tolist()]


def test_a_numbered_grid():
    x = torch.arange(16).reshape(1, 8, 2)
    assert arithmetic.merge_tokens(x, (2, 4)).tolist() == [
        [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]
    ]
    assert arithmetic.merge_tokens(x, (4, 2)).tolist() == [[[*range(8)], [*range(8, 16)]]]


@given(st.data(), st.integers(1, 3), st.integers(0, 3), st.sampled_from((1, 3, 4)), st.booleans())
def test_the_shortcut_to_fewer_as_many_and_more_channels(data, tokens, power, channels, fewer):
    """From 2^power times as many channels to so many, or the other way."""
    inputs, outputs = (channels << power, channels) if fewer else (channels, channels << power)
    merged = [data.draw(matrix(tokens, inputs, signed(12))) for _ in range(2)]
    result = arithmetic.merge_shortcut(torch.tensor(merged), outputs)
    assert result.tolist() == [reference.merge_shortcut(image, outputs) for image in merged]


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (4, [-1, 1, -3, 2047]),
        (2, [-1 - 2, 0 + 1023]),  # each is halved before the sum, downwards
        (1, [-1 + 0 - 1 + 511]),
        (8, [-1, 1, -3, 2047, -1, 1, -3, 2047]),
        (12, [-1, 1, -3, 2047] * 3),  # more channels may be three times as many
    ],
)
def test_the_shortcut_at_its_corners(outputs, expected):
    result = arithmetic.merge_shortcut(torch.tensor([[[-1, 1, -3, 2047]]]), outputs)
    assert result.tolist() == [[expected]]


@pytest.mark.parametrize("value", [-2048, 2047])
def test_the_shortcut_never_leaves_the_range_of_its_inputs(value):
    for outputs in (1, 2, 4, 8, 16):
        shortcut = arithmetic.merge_shortcut(torch.full((1, 1, 8), value), outputs)
        assert -2048 <= int(shortcut.min()) <= int(shortcut.max()) <= 2047
