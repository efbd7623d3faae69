"""Plain functions equal Brevitas' quantisers in every bit, of values and of gradients."""

from copy import deepcopy

import pytest
import torch
from brevitas import nn as qnn
from brevitas.quant import Int8WeightPerTensorFloat
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.quant import BinaryActivation, BinaryWeight, Int8Weight
from haarlequin.models.presets import preset
from haarlequin.models.training.plain import use_plain_functions

CORNERS = [
    -2.0,
    -1.0,
    -1.0 - 2**-23,
    -0.99609375,
    -0.5,
    -1e-30,
    -0.0,
    0.0,
    2**-8,
    3 * 2**-8,
    1.0,
    1.0 + 2**-23,
    7.0,
]


def conv(channels, outputs, quantiser=BinaryWeight, **options):
    return qnn.QuantConv2d(channels, outputs, weight_quant=quantiser, **options)


LAYERS = {
    "signs": (lambda: qnn.QuantIdentity(act_quant=BinaryActivation), (2, 3, 7)),
    "binary linear": (lambda: qnn.QuantLinear(7, 5, bias=False, weight_quant=BinaryWeight), (2, 3, 7)),
    "binary linear with a bias": (
        lambda: qnn.QuantLinear(7, 1, bias=True, weight_quant=BinaryWeight),
        (1, 7),
    ),
    "int8 linear": (lambda: qnn.QuantLinear(7, 5, bias=False, weight_quant=Int8Weight), (2, 3, 7)),
    "int8 linear with a bias": (lambda: qnn.QuantLinear(7, 3, bias=True, weight_quant=Int8Weight), (4, 7)),
    "depthwise": (lambda: conv(5, 5, kernel_size=3, padding=1, groups=5, bias=False), (2, 5, 3, 4)),
    "3×3, stride 2": (lambda: conv(3, 5, kernel_size=3, stride=2, bias=False), (2, 3, 7, 5)),
    "int8 3×3": (lambda: conv(3, 5, Int8Weight, kernel_size=3, bias=False), (2, 3, 7, 5)),
}


def bits(tensor):
    return tensor.detach().contiguous().view(torch.int32)


def assert_equal_in_every_bit(ours, theirs, x, out_grad):
    """Equal values, equal gradients of x and of all parameters."""
    results = []
    for layer in (ours, theirs):
        layer.zero_grad()
        given_x = x.clone().requires_grad_()
        y = layer(given_x)
        y.backward(out_grad)
        results.append([y, given_x.grad, *(p.grad for p in layer.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(bits(one), bits(other))


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_a_plain_layer_equals_brevitas(name, seed):
    make, shape = LAYERS[name]
    torch.manual_seed(seed)
    theirs = make()
    for parameter in theirs.parameters():
        values = torch.empty(parameter.shape).uniform_(-1.2, 1.2)
        corners = torch.tensor(CORNERS)[torch.randint(len(CORNERS), parameter.shape)]
        parameter.data.copy_(torch.where(torch.rand(parameter.shape) < 0.5, values, corners))
    ours = use_plain_functions(deepcopy(theirs))
    assert type(ours) is not type(theirs)
    x = torch.randn(shape)
    x.view(-1)[: len(CORNERS)] = torch.tensor(CORNERS)[: x.numel()]
    out_grad = torch.randn(theirs(x).shape)
    assert_equal_in_every_bit(ours, theirs, x, out_grad)
    if name.startswith("int8"):
        assert torch.equal(ours.quant_weight().int(), theirs.quant_weight().int())


OTHERS = {
    "another quantiser": lambda: qnn.QuantLinear(3, 2, bias=False, weight_quant=Int8WeightPerTensorFloat),
    "two quantisers": lambda: qnn.QuantLinear(
        3, 2, bias=False, weight_quant=BinaryWeight, input_quant=BinaryActivation
    ),
    "no plain result": lambda: qnn.QuantIdentity(act_quant=BinaryActivation, return_quant_tensor=True),
    "no quantiser": lambda: torch.nn.Linear(3, 2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_layers_stay_as_they_are(name):
    made = OTHERS[name]()
    before = type(made)
    assert type(use_plain_functions(made)) is before


@pytest.mark.parametrize("deployed", [False, True])
def test_a_plain_network_learns_as_brevitas_does(deployed):
    torch.manual_seed(0)
    theirs = DIDBViT(preset("digits").with_(dim=8, layers=2, mlp_ratio=2))
    pixels = torch.randint(0, 256, (5, 8, 8, 1), dtype=torch.uint8)
    theirs.train()(pixels)
    if deployed:
        theirs.deploy()
    ours = use_plain_functions(deepcopy(theirs))
    plain = [m for m in ours.modules() if type(m).__module__.endswith("training.plain")]
    assert len(plain) == sum(
        isinstance(m, qnn.QuantIdentity | qnn.QuantLinear | qnn.QuantConv2d) for m in theirs.modules()
    )
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for model in (ours, theirs):
        F.cross_entropy(model(pixels).float(), torch.arange(5)).backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert (parameter.grad is None) == (expected[name].grad is None), name
        assert parameter.grad is None or torch.equal(bits(parameter.grad), bits(expected[name].grad)), name
    assert torch.equal(ours.eval()(pixels), theirs.eval()(pixels))
