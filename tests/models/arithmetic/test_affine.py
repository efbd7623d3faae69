import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import matrix, row, signed


@given(st.data(), st.integers(1, 6), st.integers(0, 12))
def test_affine_is_the_rounded_product_plus_its_offset(data, channels, shift):
    acc = data.draw(matrix(3, channels, signed(18)))
    a, b = data.draw(row(channels, signed(12))), data.draw(row(channels, signed(20)))
    result = arithmetic.affine(torch.tensor(acc), torch.tensor(a), torch.tensor(b), shift)
    assert result.tolist() == [
        [reference.affine(v, a[c], b[c], shift) for c, v in enumerate(token)] for token in acc
    ]


@pytest.mark.parametrize(
    ("acc", "a", "b", "shift", "expected"),
    [
        (-(2**17), -(2**11), 2**19 - 1, 0, 2**28 + 2**19 - 1),  # every operand at an edge of its range
        (2**17 - 1, -(2**11), -(2**19), 0, -(2**28) + 2**11 - 2**19),
        (1, 1, 0, 1, 1),  # ½ up
        (-1, 1, 0, 1, 0),  # −½ up
        (-1, 1, 0, 8, 0),
        (-128, 1, 5, 8, 5),
        (-129, 1, 5, 8, 4),
    ],
)
def test_affine_at_its_corners(acc, a, b, shift, expected):
    operands = (torch.tensor([v]) for v in (acc, a, b))
    assert arithmetic.affine(*operands, shift).tolist() == [expected]
