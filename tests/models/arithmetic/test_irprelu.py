import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, row, signed


@given(
    st.data(), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10), st.integers(12, 16), st.booleans()
)
def test_irprelu_is_its_formula(data, tokens, channels, shift, bits, with_residual):
    value = data.draw(matrix(tokens, channels, signed(bits + 4)))
    positive, negative = (data.draw(row(channels, signed(6))) for _ in range(2))
    offset, token = data.draw(row(channels, signed(9))), data.draw(row(tokens, signed(9)))
    residual = data.draw(matrix(tokens, channels, signed(bits))) if with_residual else None
    added = {"residual": torch.tensor(residual)} if with_residual else {}
    parts = (torch.tensor(v) for v in (positive, negative, offset, token))
    result = arithmetic.irprelu(torch.tensor([value, value]), *parts, shift, bits, **added)
    expected = [
        [
            reference.irprelu(
                value[n][c],
                positive[c],
                negative[c],
                offset[c],
                token[n],
                shift,
                bits,
                residual[n][c] if with_residual else 0,
            )
            for c in range(channels)
        ]
        for n in range(tokens)
    ]
    assert result.tolist() == [expected, expected]


def _one(value, positive=1, negative=1, offset=0, token=0, shift=0, residual=0):
    """IRPReLU of one value, 12 bits wide."""
    parts = (torch.tensor([v]) for v in (positive, negative, offset, token))
    return int(arithmetic.irprelu(torch.tensor([[value]]), *parts, shift, 12, residual))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # the slope changes between −1 and 0; slopes of either sign
        ({"value": 1, "positive": 3, "negative": 5}, 3),
        ({"value": -1, "positive": 3, "negative": 5}, -5),
        ({"value": 7, "positive": -3, "negative": 5}, -21),
        ({"value": -7, "positive": 3, "negative": -5}, 35),
        ({"value": 0, "positive": 3, "negative": 5, "offset": 9}, 9),
        # the input saturates before the slope
        ({"value": 2048, "positive": 1}, 2047),
        ({"value": 5000, "positive": -1}, -2047),
        ({"value": -5000, "negative": -1, "offset": -1}, 2047),
        ({"value": -5000, "negative": -1, "offset": -2}, 2046),
        ({"value": 5000, "positive": 1, "shift": 1}, 1024),
        # halves up, in both branches
        ({"value": 1, "positive": 1, "shift": 1}, 1),
        ({"value": -1, "negative": 1, "shift": 1}, 0),
        ({"value": -3, "negative": 1, "shift": 1}, -1),
        ({"value": 1, "positive": -1, "shift": 1}, 0),
        # the output saturates once, behind offset, token and residual
        ({"value": 2047, "offset": 1}, 2047),
        ({"value": 2000, "offset": 100, "token": 100, "residual": -300}, 1900),
        ({"value": -2000, "offset": -100, "token": -100, "residual": 300}, -1900),
        ({"value": 0, "residual": 2047, "token": 1}, 2047),
        ({"value": 0, "residual": -2048, "offset": -1}, -2048),
    ],
)
def test_irprelu_at_its_corners(arguments, expected):
    assert _one(**arguments) == expected


def test_irprelu_counts_the_saturations_of_its_input_and_of_its_output():
    with arithmetic.count_saturations() as counter:
        _one(value=5000, offset=1)
    assert counter.clipped == 2


def test_the_token_offset_runs_along_the_tokens():
    zero = torch.zeros(2, dtype=torch.int64)
    result = arithmetic.irprelu(
        torch.zeros(3, 2, dtype=torch.int64), zero, zero, zero, torch.tensor([1, 2, 3]), 2, 12
    )
    assert result.tolist() == [[1, 1], [2, 2], [3, 3]]
