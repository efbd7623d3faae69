"""Tokens on the grid of a pass, against loops over rows and columns."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.arithmetic import merge_tokens, to_windows
from haarlequin.sw.compiler.grid import (
    EDGES,
    accumulated,
    at_edges,
    beyond,
    inside,
    merged_chunks,
    merged_places,
    outside,
    window_places,
)

SIDES = st.integers(1, 7)
MACHINES = [
    replace(CONFIGS["2x64"], lanes=lanes, width=width, windows=windows)
    for lanes, width in ((4, 16), (3, 24), (6, 18), (8, 8))
    for windows in (0, 1)
]


def grid(rows, columns, **fields):
    return {"stop": rows * columns, "columns": columns, **fields}


def places(rows, columns):
    return [(row, column) for row in range(rows) for column in range(columns)]


@given(SIDES, SIDES)
def test_tokens_at_the_edges(rows, columns):
    expected = [
        (row == 0, row == rows - 1, column == 0, column == columns - 1)
        for row, column in places(rows, columns)
    ]
    assert at_edges(grid(rows, columns)).T.tolist() == [list(edges) for edges in expected]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.lanes}x{m.width} {m.windows}")
@given(SIDES, SIDES, st.data())
def test_chunks_beyond_an_edge(machine, rows, columns, data):
    """Rows count for halves of a word; columns for chunks where there are windows, and else for halves."""
    chunks = machine.chunks
    parts = chunks if machine.windows else 2
    sizes = {"above": 2, "below": 2, "left": parts, "right": parts}
    fields = grid(rows, columns) | {
        name: data.draw(st.integers(0, (1 << bits) - 1), name) for name, bits in sizes.items()
    }
    found = []
    for row, column in places(rows, columns):
        edges = row == 0, row == rows - 1, column == 0, column == columns - 1
        word = []
        for chunk in range(chunks):
            half = int(chunk >= chunks // 2)
            bits = half, half, *(chunk if machine.windows else half for _ in range(2))
            word.append(any(e and fields[n] >> b & 1 for e, n, b in zip(edges, EDGES, bits, strict=True)))
        found.append(word)
    assert beyond(fields, machine).tolist() == found
    assert outside(fields) == any(fields[name] for name in EDGES)
    some = data.draw(st.sampled_from([slice(None), slice(chunks // 2), slice(chunks // 2, None)]), "chunks")
    assert inside(fields, machine, some).tolist() == [
        i for i, word in enumerate(found) if not all(word[some])
    ]


def test_a_merge_that_says_nothing_of_moves_has_none():
    assert merged_chunks(grid(2, 4)).tolist() == [0] * 8
    assert merged_places(grid(2, 4)).tolist() == [0, 0, 1, 1] * 2


def test_a_pass_that_says_nothing_of_edges_has_none():
    assert not outside(grid(2, 3))
    assert not beyond(grid(2, 3), MACHINES[0]).any()


@given(SIDES, SIDES, st.integers(1, 4))
def test_places_of_a_window_on_the_whole_grid(across, down, size):
    """As `to_windows` has them."""
    whole = down * size, across * size
    numbers = to_windows(np.arange(whole[0] * whole[1])[None, :, None], whole, size)
    fields = {"columns": size, "jump": whole[1] - size}
    for window in numbers[..., 0]:
        assert (window[0] + window_places(fields, size * size)).tolist() == window.tolist()


def test_tokens_of_the_whole_grid_are_in_their_own_places():
    assert window_places({"columns": 5}, 12).tolist() == list(range(12))


@given(SIDES, SIDES, st.integers(1, 3))
def test_the_four_tokens_of_a_merge_lie_side_by_side(rows, columns, words):
    """As `merge_tokens` has them, each of the four in a region of its own."""
    whole, merged = (2 * rows, 2 * columns), rows * columns
    fields = grid(*whole, odd_row=2 * words * merged, odd_column=words * merged)
    sides = merge_tokens(np.arange(4 * merged)[None, :, None], whole)[0]
    found = merged_places(fields)
    for number, tokens in enumerate(sides):
        assert found[tokens].tolist() == [number + side * words * merged for side in range(4)]


@given(SIDES, SIDES, st.integers(0, 5), st.integers(0, 5))
def test_chunks_and_sums_of_a_merge(rows, columns, of_rows, of_columns):
    fields = grid(2 * rows, 2 * columns, chunk_row=of_rows, chunk_column=of_columns)
    odd = [(row % 2, column % 2) for row, column in places(2 * rows, 2 * columns)]
    assert merged_chunks(fields).tolist() == [row * of_rows + column * of_columns for row, column in odd]
    assert accumulated(fields).tolist() == [number for number, (row, _) in enumerate(odd) if row]
