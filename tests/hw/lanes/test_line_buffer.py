import random

import pytest

from haarlequin.hw.lanes.line_buffer import LineBuffer
from tests.hw.grid_stream import GRIDS, stream


@pytest.mark.parametrize("gaps", [0, 0.4])
@pytest.mark.parametrize("max_columns", [16, 17])
def test_a_token_meets_the_one_above_it(max_columns, gaps):
    generator = random.Random(max_columns)

    def word():
        return generator.getrandbits(9)

    images = [
        (grid, [word() for _ in range(grid[0] * grid[1])])
        for grid in [*GRIDS, (3, max_columns)]
        for _ in range(3)
    ]
    design = LineBuffer(9, max_columns)
    outputs = {"above": 0, "begins_row": 0}
    results = stream(design, "word", images, outputs, lambda columns: 0, word, generator, gaps)
    for ((rows, columns), words), result in zip(images, results, strict=True):
        assert result["above"][columns:] == words[:-columns]
        assert result["begins_row"] == [1, *[0] * (columns - 1)] * rows


def test_a_single_column():
    """The narrowest memory: every token begins a row, and the one before it is above."""
    generator = random.Random(0)
    images = [((5, 1), [1, 0, 0, 1, 1])] * 3
    outputs = {"above": 0, "begins_row": 0}
    results = stream(LineBuffer(1, 1), "word", images, outputs, lambda columns: 0, int, generator, 0.3)
    assert [result["above"][1:] for result in results] == [[1, 0, 0, 1]] * 3
    assert all(result["begins_row"] == [1] * 5 for result in results)


@pytest.mark.parametrize("max_columns", [0, -1, 2.0, "8"])
def test_a_number_of_columns_that_is_none(max_columns):
    with pytest.raises(ValueError, match="LineBuffer max_columns must be a positive integer, not "):
        LineBuffer(8, max_columns)
