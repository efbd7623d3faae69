"""Masks and their score against plain loops over pixels."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models.segmentation import (
    IGNORE,
    Score,
    cell_counts,
    centre,
    confusion,
    constant,
    enlarge,
    score,
    vote,
)

small = st.integers(1, 4)


@st.composite
def cells_and_masks(draw):
    """(grid, number of classes, masks of a grid of whole cells)."""
    grid, cell, classes = (
        draw(st.tuples(small, small)),
        draw(st.tuples(small, small)),
        draw(st.integers(2, 5)),
    )
    shape = draw(st.integers(1, 3)), grid[0] * cell[0], grid[1] * cell[1]
    values = np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, classes + 1, shape)
    return grid, classes, np.where(values == classes, IGNORE, values).astype(np.uint8)


def cell(mask, grid, token):
    """The pixels of a token, as a list."""
    height, width = mask.shape[0] // grid[0], mask.shape[1] // grid[1]
    top, left = token // grid[1] * height, token % grid[1] * width
    return [int(mask[y, x]) for y in range(top, top + height) for x in range(left, left + width)]


@given(cells_and_masks())
def test_what_is_in_each_cell_and_what_it_votes(case):
    grid, classes, masks = case
    counts, votes = cell_counts(masks, grid, classes), vote(masks, grid, classes)
    assert (counts.dtype, counts.shape) == (np.int64, (len(masks), grid[0] * grid[1], classes))
    assert (votes.dtype, votes.shape) == (np.uint8, counts.shape[:2])
    for i, mask in enumerate(masks):
        for token in range(grid[0] * grid[1]):
            found = Counter(cell(mask, grid, token))
            del found[IGNORE]
            assert counts[i, token].tolist() == [found[c] for c in range(classes)]
            best = min(found, key=lambda c: (-found[c], c)) if found else IGNORE
            assert votes[i, token] == best
    of_torch = cell_counts(torch.from_numpy(masks), grid, classes)
    assert np.array_equal(of_torch.numpy(), counts)


@given(cells_and_masks())
def test_the_pixel_in_the_centre_of_each_cell(case):
    """Or what its cell votes, where it has no class."""
    grid, classes, masks = case
    (rows, columns), votes = grid, vote(masks, grid, classes)
    height, width = masks.shape[1] // rows, masks.shape[2] // columns
    found = centre(masks, grid, classes)
    assert (found.dtype, found.shape) == (np.uint8, (len(masks), rows * columns))
    for i, mask in enumerate(masks):
        for token in range(rows * columns):
            pixel = cell(mask, grid, token)[height // 2 * width + width // 2]
            assert found[i, token] == (votes[i, token] if pixel == IGNORE else pixel)


@given(cells_and_masks())
def test_no_answer_of_the_tokens_has_more_pixels_right_than_their_vote(case):
    grid, classes, masks = case
    best = score(vote(masks, grid, classes), masks, grid, classes)
    assert best.hits.sum() == cell_counts(masks, grid, classes).max(-1).sum()
    assert best.hits.sum() >= score(centre(masks, grid, classes), masks, grid, classes).hits.sum()


@given(cells_and_masks())
def test_every_pixel_of_a_cell_gets_the_tokens_class(case):
    grid, classes, masks = case
    votes = vote(masks, grid, classes)
    large = enlarge(votes.astype(np.int64), grid, masks.shape[1:])
    assert (large.dtype, large.shape) == (np.uint8, masks.shape)
    for mask, tokens in zip(large, votes, strict=True):
        for token, value in enumerate(tokens):
            assert set(cell(mask, grid, token)) == {int(value)}
    assert np.array_equal(large[0], enlarge(votes[0], grid, masks.shape[1:]))
    assert np.array_equal(vote(large, grid, classes), votes)  # they survive the way there and back


@given(cells_and_masks())
def test_the_score_is_that_of_a_plain_loop(case):
    grid, classes, masks = case
    answer = enlarge(
        np.where((votes := vote(masks, grid, classes)) == IGNORE, 0, votes), grid, masks.shape[1:]
    )
    came = Score(confusion(masks, answer, classes))
    pairs = [(t, a) for t, a in zip(masks.flat, answer.flat, strict=True) if t != IGNORE]
    assert came.cells.dtype == np.int64
    assert came.cells.sum() == len(pairs)
    found = []
    for c in range(classes):
        both = sum(t == c and a == c for t, a in pairs)
        either = sum(t == c or a == c for t, a in pairs)
        assert (came.hits[c], came.unions[c]) == (both, either)
        if any(t == c for t, _ in pairs):
            found.append(both / either)
            assert came.iou[c] == pytest.approx(both / either)
        else:
            assert np.isnan(came.iou[c])
    assert came.mean_iou == pytest.approx(np.mean(found) if found else 0)
    assert came.accuracy == pytest.approx(sum(t == a for t, a in pairs) / max(1, len(pairs)))


def test_a_score_by_hand():
    truth = np.array([[[0, 0, 1], [1, 1, IGNORE]]], np.uint8)
    answer = np.array([[[0, 1, 1], [1, 2, 2]]], np.uint8)
    came = Score(confusion(truth, answer, 4))
    assert came.cells.tolist() == [[1, 1, 0, 0], [0, 2, 1, 0], [0] * 4, [0] * 4]
    assert came.occurs.tolist() == [
        True,
        True,
        False,
        False,
    ]  # nothing is class 2, though one pixel is said to be
    assert came.iou[:2].tolist() == [1 / 2, 2 / 4]
    assert (came.mean_iou, came.accuracy) == (0.5, 3 / 5)
    assert Score(confusion(truth[:0], answer[:0], 4)).mean_iou == 0


@given(cells_and_masks())
def test_the_best_answer_that_does_not_look(case):
    """No other one has more pixels right."""
    grid, classes, masks = case
    answer = constant(masks, grid, classes)
    assert answer.shape == (grid[0] * grid[1],)
    for token, best in enumerate(answer):
        found = Counter(value for mask in masks for value in cell(mask, grid, token) if value != IGNORE)
        assert found[int(best)] == max(found.values(), default=0)
    alike = np.broadcast_to(answer, (len(masks), len(answer)))
    came = score(alike, masks, grid, classes)
    assert came.cells.tolist() == confusion(masks, enlarge(alike, grid, masks.shape[1:]), classes).tolist()


def test_the_best_answer_over_more_masks_than_are_counted_at_once():
    masks = np.zeros((130, 2, 2), np.uint8)
    masks[60:] = 1
    assert constant(masks, (1, 1), 2).tolist() == [1]
