import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import bits, grids, matrix, row, signs, thetas


@st.composite
def attentions(draw, tokens=None):
    """(Â, V) of one image: 1 to 3 heads of 1 to 3 channels."""
    heads, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    n = draw(st.integers(1, 9)) if tokens is None else tokens
    attention = [draw(matrix(n, n, bits)) for _ in range(heads)]
    return attention, draw(matrix(n, heads * d, signs))


def _batch(*images):
    return torch.tensor(images)


@given(attentions())
def test_context_is_the_popcount_of_the_xnor(drawn):
    attention, v = drawn
    expected = reference.context(attention, v)
    assert arithmetic.context(_batch(attention, attention), _batch(v, v)).tolist() == [expected, expected]


@given(attentions())
def test_differential_takes_v_off_once_per_token_attended_to(drawn):
    attention, v = drawn
    expected = reference.differential(attention, v)
    assert arithmetic.differential(_batch(attention, attention), _batch(v, v)).tolist() == [
        expected,
        expected,
    ]


@given(st.data(), grids, thetas, st.integers(1, 4))
def test_local_convolution_pads_with_nothing(data, grid, theta, channels):
    v = [data.draw(matrix(grid[0] * grid[1], channels, signs)) for _ in range(2)]
    weight = [data.draw(matrix(theta, theta, signs)) for _ in range(channels)]
    result = arithmetic.local_convolution(_batch(*v), torch.tensor(weight), grid)
    assert result.tolist() == [reference.local_convolution(image, weight, grid) for image in v]


@given(st.data(), grids, thetas)
def test_diba_is_v_and_its_differences_and_the_scaled_convolution(data, grid, theta):
    attention, v = data.draw(attentions(tokens=grid[0] * grid[1]))
    channels = len(v[0])
    weight = [data.draw(matrix(theta, theta, signs)) for _ in range(channels)]
    shift = data.draw(row(channels, st.integers(0, 7)))
    result = arithmetic.diba(_batch(attention), _batch(v), torch.tensor(weight), torch.tensor(shift), grid)
    assert result.tolist() == [reference.diba(attention, v, weight, shift, grid)]


@given(st.data(), attentions())
def test_a_shift_of_the_own_term_rounds_halves_up(data, drawn):
    attention, v = drawn
    shift = data.draw(row(len(v[0]), st.integers(0, 7)))
    result = arithmetic.differential(_batch(attention, attention), _batch(v, v), torch.tensor(shift))
    assert result.tolist() == [reference.differential(attention, v, shift)] * 2


@pytest.mark.parametrize(
    ("k", "v", "shift", "expected"),
    [
        *((k, 1, 0, 1 - k) for k in (0, 1, 2, 8)),
        *((k, -1, 0, k - 1) for k in (0, 1, 2, 8)),
        # (1 − k)·V = −1, 1, −3, 3 over 2: halves go up
        (2, 1, 1, 0),
        (2, -1, 1, 1),
        (4, 1, 1, -1),
        (4, -1, 1, 2),
        # −7 over 4 and over 8, 7 over 16
        (8, 1, 2, -2),
        (8, 1, 3, -1),
        (8, -1, 4, 0),
        (8, -1, 3, 1),
        # 1 over 2 where nothing is attended to, −1 over 2
        (0, 1, 1, 1),
        (0, -1, 1, 0),
    ],
)
def test_the_own_term_at_its_corners(k, v, shift, expected):
    attention = torch.tensor([[[[1] * k + [0] * (8 - k)] * 8]])
    result = arithmetic.differential(attention, torch.full((1, 8, 1), v), torch.tensor([shift]))
    assert result.tolist() == [[[expected]] * 8]


@settings(max_examples=50)
@given(st.data(), grids, thetas, st.booleans())
def test_diba_with_its_own_term_scaled_and_without_it(data, grid, theta, own):
    attention, v = data.draw(attentions(tokens=grid[0] * grid[1]))
    channels = len(v[0])
    weight = [data.draw(matrix(theta, theta, signs)) for _ in range(channels)]
    shift, own_shift = (data.draw(row(channels, st.integers(0, 7))) for _ in range(2))
    tensors = _batch(attention), _batch(v), torch.tensor(weight), torch.tensor(shift)
    result = arithmetic.diba(*tensors, grid, own, torch.tensor(own_shift))
    assert result.tolist() == [reference.diba(attention, v, weight, shift, grid, own, own_shift)]
    if not own:
        assert torch.equal(result, arithmetic.diba(*tensors, grid, own=False))


@pytest.mark.parametrize("tokens", [1, 7, 64])
@pytest.mark.parametrize("v", [-1, 1])
def test_attending_to_every_token_and_to_none(tokens, v):
    values = torch.full((1, tokens, 2), v)
    everything = torch.ones(1, 2, tokens, tokens, dtype=torch.int64)
    assert (arithmetic.context(everything, values) == tokens * v).all()
    assert (arithmetic.differential(everything, values) == (1 - tokens) * v).all()
    assert (arithmetic.context(0 * everything, values) == 0).all()
    assert (arithmetic.differential(0 * everything, values) == v).all()


@pytest.mark.parametrize("theta", [1, 3, 5])
def test_local_convolution_of_one_token_is_the_centre_tap_alone(theta):
    weight = -torch.ones(1, theta, theta, dtype=torch.int64)
    weight[0, theta // 2, theta // 2] = 1
    assert arithmetic.local_convolution(torch.tensor([[[-1]]]), weight, (1, 1)).tolist() == [[[-1]]]


def test_local_convolution_is_a_correlation():
    """The tap right of the centre meets the token to the right."""
    weight = torch.tensor([[[1, 1, 1], [1, 1, -1], [1, 1, 1]]])
    v = torch.tensor([[[1], [-1], [1]]])
    assert arithmetic.local_convolution(v, weight, (1, 3)).tolist() == [[[2], [-1], [0]]]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int64])
def test_the_dtype_stays_that_of_v(dtype):
    v, attention = torch.ones(1, 4, 2, dtype=dtype), torch.ones(1, 1, 4, 4, dtype=dtype)
    weight, shift = torch.ones(2, 3, 3, dtype=dtype), torch.tensor([0, 3], dtype=dtype)
    result = arithmetic.diba(attention, v, weight, shift, (2, 2))
    assert result.dtype == dtype
    assert result.tolist() == [[[5, 33]] * 4]
    result = arithmetic.diba(attention, v, weight, shift, (2, 2), own_shift=shift)
    assert result.dtype == dtype
    assert result.tolist() == [[[5, 36]] * 4]  # −3 stays −3, and over 8 it is 0
