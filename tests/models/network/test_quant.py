import pytest
import torch
from brevitas import nn as qnn
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models.network.quant import (
    BinaryActivation,
    BinaryWeight,
    Int8Weight,
    quantise_constant,
    real_sign,
    round_constant,
    straight_through,
    to_integer,
)
from haarlequin.models.widths import INT8_UNIT

WEIGHTS = [-2.0, -1.0, -0.75, -1e-30, -0.0, 0.0, 1e-30, 0.25, 1.0, 2.0]


def _linear(weights, quantiser):
    linear = qnn.QuantLinear(len(weights), 1, bias=False, weight_quant=quantiser)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([weights]))
    return linear


def _gradient(function, values):
    x = torch.tensor(values, requires_grad=True)
    function(x).sum().backward()
    return x.grad.tolist()


def test_binary_activations_are_signs_with_a_quadratic_gradient():
    x = torch.tensor([-2.0, -1.0, -0.75, -1e-30, -0.0, 0.0, 0.25, 0.5, 1.0, 2.0], requires_grad=True)
    signs = qnn.QuantIdentity(act_quant=BinaryActivation)(x)
    assert signs.tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1, 1]
    (3 * signs).sum().backward()
    assert x.grad.tolist() == [0, 0, 1.5, 6, 6, 6, 4.5, 3, 0, 0]


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=9))
def test_the_gradient_of_a_sign_is_two_less_twice_the_distance_from_zero(values):
    gradient = _gradient(qnn.QuantIdentity(act_quant=BinaryActivation), values)
    assert gradient == pytest.approx([max(0, 2 - 2 * abs(v)) for v in values], rel=1e-6, abs=1e-7)


def test_binary_activations_stay_signs_in_evaluation():
    act = qnn.QuantIdentity(act_quant=BinaryActivation).eval()
    assert act(torch.tensor([-7.0, -0.0, 7.0])).tolist() == [-1, 1, 1]


def test_binary_weights_are_exactly_plus_and_minus_one():
    weight = _linear(WEIGHTS, BinaryWeight).quant_weight().value
    assert weight.tolist() == [[-1, -1, -1, -1, 1, 1, 1, 1, 1, 1]]


def test_the_gradient_of_a_binary_weight_is_a_clipped_identity():
    linear = _linear(WEIGHTS, BinaryWeight)
    inputs = torch.arange(1.0, 11.0)
    linear(inputs[None]).sum().backward()
    assert linear.weight.grad.tolist() == [[0, 2, 3, 4, 5, 6, 7, 8, 9, 0]]


def test_binary_weights_keep_their_trained_values():
    """Quantising must not touch the real weights behind the signs."""
    linear = _linear(WEIGHTS, BinaryWeight)
    linear(torch.ones(1, len(WEIGHTS)))
    assert linear.weight.tolist() == torch.tensor([WEIGHTS]).tolist()


@pytest.mark.parametrize(
    ("weight", "integer"),
    [
        (0.0, 0),
        (INT8_UNIT, 1),
        (-INT8_UNIT, -1),
        (0.49 * INT8_UNIT, 0),
        (0.51 * INT8_UNIT, 1),
        (-0.51 * INT8_UNIT, -1),
        (127 * INT8_UNIT, 127),
        (1.0, 127),
        (-1.0, -128),
        (5.0, 127),
        (-5.0, -128),
    ],
)
def test_int8_weights_lie_on_their_grid(weight, integer):
    quantised = _linear([weight, 0.3], Int8Weight).quant_weight()
    assert int(quantised.int()[0, 0]) == integer
    assert quantised.value[0, 0].item() == integer * INT8_UNIT


def test_the_scale_of_int8_weights_does_not_follow_the_weights():
    for largest in (1e-3, 0.9, 30.0):
        quantised = _linear([largest, -largest], Int8Weight).quant_weight()
        assert float(quantised.scale) == INT8_UNIT == 2.0**-7


def test_int8_weights_pass_their_gradient():
    linear = _linear([-0.9, 0.0, 0.4], Int8Weight)
    linear(torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert linear.weight.grad.tolist() == [[1, 2, 3]]


@given(st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=5))
def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other(pairs):
    surrogate = torch.tensor([s for s, _ in pairs], requires_grad=True)
    exact = torch.tensor([e for _, e in pairs], requires_grad=True)
    result = straight_through(surrogate, exact)
    assert torch.equal(result.view(torch.int32), exact.view(torch.int32)), "not the same bits"
    result.backward(torch.arange(float(len(pairs))))
    assert surrogate.grad.tolist() == list(range(len(pairs)))
    assert exact.grad is None


def test_straight_through_takes_integers():
    surrogate = torch.zeros(2, requires_grad=True)
    result = straight_through(surrogate, torch.tensor([5, -(2**24)]))
    assert result.dtype == torch.float32
    assert result.tolist() == [5, -(2**24)]


@given(st.integers(-(2**23), 2**23), st.integers(0, 15))
def test_to_integer_undoes_the_scale(value, fraction):
    assert to_integer(torch.tensor(value * 2.0**-fraction), fraction).tolist() == value


@pytest.mark.parametrize(
    ("value", "fraction", "bits", "signed", "expected"),
    [
        (0.3, 8, 9, True, 77),  # 76.8
        (-0.3, 8, 9, True, -77),
        (255 / 256, 8, 9, True, 255),
        (1.0, 8, 9, True, 255),
        (-1.0, 8, 9, True, -256),
        (-1e9, 8, 9, True, -256),
        (1e9, 8, 9, True, 255),
        (-0.1, 4, 8, False, 0),
        (1.0, 4, 8, False, 16),
        (1e9, 4, 8, False, 255),
        (3.4, 0, 2, False, 3),
        (200.0, -4, 8, True, 12),  # 12.5, to even
    ],
)
def test_round_constant_is_the_nearest_integer_that_fits(value, fraction, bits, signed, expected):
    result = round_constant(torch.tensor(value), fraction, bits, signed)
    assert result.dtype == torch.int64
    assert int(result) == expected


@given(st.floats(-300, 300, width=32), st.integers(0, 12), st.integers(2, 16))
def test_quantise_constant_is_round_constant_in_real_units(value, fraction, bits):
    constant = torch.tensor(value, requires_grad=True)
    result = quantise_constant(constant, fraction, bits)
    assert result.item() == int(round_constant(constant, fraction, bits)) * 2.0**-fraction
    result.backward()
    assert float(constant.grad) == 1


def test_the_sign_of_a_real_number_is_plus_one_at_both_zeros():
    signs = real_sign(torch.tensor([-1e-30, -0.0, 0.0, 5.0], dtype=torch.float64))
    assert signs.dtype == torch.float64
    assert signs.tolist() == [-1, 1, 1, 1]
