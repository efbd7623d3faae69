import copy
import math

import numpy as np
import pytest
import torch
from brevitas import nn as qnn
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from haarlequin.models.config import vit
from haarlequin.models.network import layers
from haarlequin.models.network.attention import DIBA, BinaryAttention, HaarSplit
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.head import Head
from haarlequin.models.network.layers import Affine, IRPReLU, fitting_shift
from haarlequin.models.network.patch_embed import Embedding
from haarlequin.models.network.random_model import random_model
from haarlequin.models.widths import Widths

pytestmark = pytest.mark.slow

SMALL = vit(
    name="small",
    image=(12, 8),
    channels=2,
    mean=(100.0, 50.0),
    patch=2,
    dim=12,
    heads=3,
    layers=2,
    classes=("a", "b", "c"),
    mlp_ratio=2,
)
VARIANTS = {
    "all": {},
    "no hfsc": {"hfsc": False},
    "no diba": {"diba": False},
    "no irprelu": {"irprelu": False},
    "fixed alpha": {"alpha_learned": False},
    "theta 1": {"theta": 1},
    "theta 5": {"theta": 5},
    "ratio 1": {"mlp_ratio": 1},
    "ratio 4": {"mlp_ratio": 4},
}
every_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def random_pixels(images, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, *SMALL.image, SMALL.channels)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def fresh(**changes):
    """An untrained model in the float phase."""
    torch.manual_seed(0)
    return DIDBViT(SMALL.with_(**changes))


def trained(**changes):
    """A model in the float phase, norms settled and no constant at its start any more."""
    model = fresh(**changes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            match name.rpartition(".")[2]:
                case "move" | "value_move" | "output_move" | "m1" | "m2" | "token" | "slope" | "bias":
                    parameter.add_(0.2 * noise)
                case "scale":
                    parameter.add_(0.05 * noise)
                case "local_shift":
                    parameter.copy_(4 * torch.rand(parameter.shape, generator=generator) - 0.5)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 1.0
        model.train()(random_pixels(32))
    return model.eval()


def deploy(module):
    """What the network does with each of its parts."""
    for part in list(module.modules()):
        if isinstance(part, layers.Layer):
            part.deploy()
    return module


def both_phases(**changes):
    """The same model in the float phase and in deploy mode."""
    real = trained(**changes)
    deployed = copy.deepcopy(real)
    deployed.deploy()
    return real, deployed


def _loss(model):
    logits = model(random_pixels(32))
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=logits.dtype)
    return (logits * weights).sum()


def _dead(model):
    """Parameters that a loss does not reach: no gradient, or one that is rounding noise."""
    _loss(model).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient.isfinite().all() for gradient in gradients.values() if gradient is not None)
    return {name for name, gradient in gradients.items() if gradient is None or gradient.abs().max() < 1e-5}


UNUSED = {"no hfsc": {"attention.alpha"}, "fixed alpha": {"attention.alpha"}}


@pytest.mark.parametrize(("name", "changes"), VARIANTS.items(), ids=VARIANTS)
def test_every_parameter_learns_in_both_phases(name, changes):
    """α aside where it is fixed or has only one band to weigh."""
    model = fresh(**changes).train()
    unused = {f"layers.{i}.0.{part}" for i in range(SMALL.layers) for part in UNUSED.get(name, ())}
    # The norm in front of the classifier takes off what every image has in common.
    in_common = {"layers.1.1.reduce.irprelu.m2", "layers.1.1.reduce.irprelu.token"} - (
        {"layers.1.1.reduce.irprelu.token"} if name == "no irprelu" else set()
    )
    assert _dead(model) == unused | in_common
    model.zero_grad()
    model.deploy()
    assert _dead(model) == unused


def test_alpha_learns_only_if_it_may():
    assert fresh().layers[0][0].attention.alpha.requires_grad
    assert not fresh(alpha_learned=False).layers[0][0].attention.alpha.requires_grad
    assert float(fresh(alpha=1).layers[0][0].attention.alpha.detach()) == 1.0


def test_deploying_twice_is_refused():
    model = fresh()
    assert not model.deployed
    model.deploy()
    assert model.deployed
    with pytest.raises(ValueError, match="the model is in deploy mode already"):
        model.deploy()


def test_integer_logits_are_refused_in_the_float_phase():
    with pytest.raises(ValueError, match=r"integer logits exist in deploy mode only: call deploy\(\) first"):
        fresh().integer_logits(random_pixels(1))


def test_deploying_folds_every_norm():
    model = fresh()
    assert any(isinstance(module, nn.BatchNorm1d) for module in model.modules())
    model.deploy()
    assert not any(isinstance(module, nn.BatchNorm1d) for module in model.modules())
    assert all(module.deployed for module in model.modules() if isinstance(module, layers.Layer))


@pytest.mark.parametrize("seed", range(3))
def test_deploy_mode_is_the_same_function_in_any_mode_precision_and_batch(seed):
    model, pixels = random_model(SMALL, seed), random_pixels(9)
    with torch.no_grad():
        expected = model.integer_logits(pixels)
        assert torch.equal(model.train().integer_logits(pixels), expected)
        assert torch.equal(torch.cat([model.integer_logits(image[None]) for image in pixels]), expected)
        assert torch.equal(model.double().integer_logits(pixels), expected)
    assert torch.equal(model.integer_logits(pixels), expected), "with gradients"


def _observed(model, pixels, kinds):
    """(inputs, output) of every module of these kinds in a forward pass, by name."""
    calls = {}

    def note(name):
        return lambda module, inputs, keywords, output: calls.update({name: (inputs, keywords, output)})

    handles = [
        module.register_forward_hook(note(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, kinds)
    ]
    model(pixels)
    for handle in handles:
        handle.remove()
    return calls


def _tensors(value):
    return value if isinstance(value, tuple) else (value,)


@every_variant
@pytest.mark.parametrize("source", ["trained", "random"])
def test_deploy_mode_puts_every_value_on_its_grid(source, changes):
    model = random_model(SMALL.with_(**changes), 5) if source == "random" else trained(**changes)
    if source == "trained":
        model.deploy()
    limit = 2.0 ** (SMALL.widths.wide - 1 - SMALL.widths.fraction)
    wide = (Embedding, IRPReLU, HaarSplit)
    calls = _observed(model, random_pixels(8), (*wide, BinaryAttention, DIBA, layers.SignProjection))
    assert len(calls) == 1 + SMALL.layers * (5 + 2 * len(model.config.bands) + model.config.hfsc + 2)
    for name, (_, _, output) in calls.items():
        module = model.get_submodule(name)
        for tensor in _tensors(output):
            if isinstance(module, wide):
                integer = tensor * 2**SMALL.widths.fraction
                assert torch.equal(integer, integer.round()), name
                assert -limit <= tensor.min() <= tensor.max() < limit, name
            else:
                allowed = {BinaryAttention: {0, 1}, layers.SignProjection: {-1, 1}}.get(type(module))
                assert torch.equal(tensor, tensor.round()), name
                assert allowed is None or set(tensor.unique().tolist()) <= allowed, name
    logits = model(random_pixels(8)) / model.head.logit_scale
    assert torch.equal(logits, logits.round())


UNIT = 2.0**-SMALL.widths.fraction


@every_variant
@torch.no_grad()
def test_a_layer_does_the_same_in_both_phases(changes):
    """Each layer of the float phase is given what its twin in deploy mode is given: only roundings differ.

    Rounded slopes and multipliers count for more where values are large, so half the values must be within
    two units of a wide tensor and nine in ten within 16.
    """
    real, deployed = both_phases(**changes)
    kinds = (Embedding, IRPReLU, HaarSplit, BinaryAttention, DIBA, layers.SignProjection, Head)
    for name, (inputs, keywords, output) in _observed(deployed, random_pixels(32), kinds).items():
        module = real.get_submodule(name)
        for ours, theirs in zip(_tensors(output), _tensors(module(*inputs, **keywords)), strict=True):
            distance = (ours - theirs).abs()
            match module:
                case BinaryAttention() | DIBA():
                    assert not distance.any(), name
                case HaarSplit():
                    assert distance.max() < UNIT, name
                case layers.SignProjection():
                    assert distance.count_nonzero() < 0.02 * distance.numel(), name
                case Head():
                    assert distance.max() < 0.1 * theirs.std(), name
                case _:
                    assert distance.median() < 2 * UNIT, name
                    assert distance.quantile(0.9) < 16 * UNIT, name


@every_variant
def test_a_layer_learns_the_same_in_both_phases(changes):
    """The gradient with respect to a layer's inputs points the same way in both phases."""
    real, deployed = both_phases(**changes)
    kinds = (IRPReLU, HaarSplit, DIBA, layers.BinaryLinear, layers.SignProjection, Head)
    with torch.no_grad():
        calls = _observed(deployed, random_pixels(8), kinds)
    for name, (inputs, keywords, _) in calls.items():
        ours, theirs = (_gradient(m.get_submodule(name), inputs, keywords) for m in (deployed, real))
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.95, name


def _gradient(module, inputs, keywords):
    inputs = [value if value is None else value.clone().requires_grad_() for value in inputs]
    keywords = {name: value.clone().requires_grad_() for name, value in keywords.items()}
    generator = torch.Generator().manual_seed(3)
    outputs = _tensors(module(*inputs, **keywords))
    sum((output * torch.randn(output.shape, generator=generator)).sum() for output in outputs).backward()
    return torch.cat([value.grad.flatten() for value in (*inputs, *keywords.values()) if value is not None])


@torch.no_grad()
def test_most_bits_are_the_same_in_both_phases():
    real, deployed = both_phases()
    pixels = random_pixels(64)
    bits = [_observed(model, pixels, qnn.QuantIdentity) for model in (real, deployed)]
    assert len(bits[0]) == SMALL.layers * (4 * 2 + 2 + 1 + 2)
    for name, (_, _, output) in bits[0].items():
        share = (output == bits[1][name][2]).float().mean()
        assert share > 0.85, f"{name}: {share}"
    assert (real(pixels).argmax(-1) == deployed(pixels).argmax(-1)).float().mean() > 0.85


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=4),
    st.integers(2, 12),
    st.tuples(st.integers(0, 8), st.integers(8, 24)),
)
def test_fitting_shift_is_the_largest_at_which_everything_fits(real, bits, window):
    shift = fitting_shift(torch.tensor(real), bits, window)
    largest, limit = max(abs(v) for v in real), (1 << (bits - 1)) - 1
    assert window[0] <= shift <= window[1]
    assert shift == window[0] or largest * 2**shift <= limit
    assert shift == window[1] or largest * 2 ** (shift + 1) > limit


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(0.0, 10), (1e-30, 10), (31 / 32, 5), (-31 / 32, 5), (1.0, 4), (31.0, 2), (7.75, 2), (7.8, 2), (1e9, 2)],
)
def test_fitting_shift_at_its_corners(largest, expected):
    assert fitting_shift(torch.tensor([0.0, largest]), 6, (2, 10)) == expected


def _affine(gain=(0.25, -0.125, 0.001), offset=(0.5, -1.0, 3.0)):
    """An affine with this gain and offset behind its norm, ready to deploy."""
    affine = Affine(3, Widths(), (2, 8)).eval()
    with torch.no_grad():
        affine.norm.running_mean.copy_(torch.tensor([10.0, -20.0, 5.0]))
        affine.norm.eps = 1.0
        affine.norm.running_var.fill_(3.0)
        affine.norm.weight.copy_(2 * torch.tensor(gain))
        affine.norm.bias.copy_(torch.tensor(offset) + affine.norm.running_mean * torch.tensor(gain))
    return affine


def test_an_affine_folds_its_norm():
    affine, acc = _affine(), torch.tensor([[[8.0, 8.0, 8.0]], [[-100.0, 7.0, 64.0]]])
    expected = acc * torch.tensor([0.25, -0.125, 0.001]) + torch.tensor([0.5, -1.0, 3.0])
    assert torch.allclose(affine(acc), expected, atol=1e-5)
    affine.deploy()
    constants = affine.constants(folded=torch.tensor([1.0, 0.0, -1.0]))
    shift = int(constants["shift"])
    assert shift == 2, "0.25·2^8·2^2 = 256 is the largest that fits 10 bits"
    assert constants["a"].tolist() == [256, -128, 1]
    assert constants["b"].tolist() == [384, -256, 512]
    assert torch.allclose(affine(acc)[..., :2], expected[..., :2], atol=1e-5)


@torch.no_grad()
def test_a_channel_that_hardly_varies_leaves_the_others_their_bits():
    """A saturated channel's gain is a thousand times the others': it is cut off, and its mean stays right."""
    affine = _affine()
    affine.norm.running_var[2], affine.norm.weight[2], affine.norm.bias[2] = 0.0, 250.0, 3.0
    acc = torch.tensor([[[8.0, 8.0, 5.0]], [[-100.0, 7.0, 5.0]]])
    expected = affine(acc)
    affine.deploy()
    constants = affine.constants()
    assert constants["shift"] == 2
    assert constants["a"].tolist() == [256, -128, 511]
    assert torch.allclose(affine(acc), expected, atol=2**-8)


def test_two_slopes_are_their_formula_and_its_gradient():
    generator = torch.Generator().manual_seed(0)
    d, positive, negative = (torch.randn(shape, generator=generator) for shape in ((2, 5, 3), (3,), (3,)))
    inputs = [value.double().requires_grad_() for value in (d, positive, negative)]
    y = layers.TwoSlopes.apply(*inputs)
    assert torch.allclose(y, torch.where(inputs[0] > 0, inputs[1], inputs[2]) * inputs[0])
    assert torch.autograd.gradcheck(layers.TwoSlopes.apply, inputs)


@torch.no_grad()
@pytest.mark.parametrize("scale", [None, 0.5])
def test_irprelu_is_its_float_formula(scale):
    """PReLU(BN(acc) + shortcut − m1), LayerScale on it and on m2, t_n and the residual behind."""
    module = IRPReLU(3, SMALL, scale)
    module.affine.norm = _affine().norm
    generator = torch.Generator().manual_seed(0)
    for parameter in (module.m1, module.m2, module.slope, module.token):
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    acc, shortcut, residual = (torch.randn(5, SMALL.tokens, 3, generator=generator) for _ in range(3))
    x = acc * torch.tensor([0.25, -0.125, 0.001]) + torch.tensor([0.5, -1.0, 3.0]) + shortcut - module.m1
    y = torch.where(x >= 0, x, module.slope * x) + module.m2
    y = y * (scale or 1.0) + module.token[:, None] + residual
    assert y.abs().max() < 8, "no saturation"
    assert torch.allclose(module(acc, shortcut, residual), y, atol=1e-5)
    assert torch.allclose(module(acc, shortcut), y - residual, atol=1e-5)


@torch.no_grad()
def test_irprelu_saturates_its_input_and_its_output():
    module = IRPReLU(1, SMALL.with_(image=(2, 2))).eval()
    zero = torch.zeros(1, 1, 1)
    largest = 8 - UNIT
    assert module(zero, zero + 100).item() == largest
    assert module(zero, zero - 100).item() == -8 * 0.25
    assert module(zero, zero + 100, zero - 100).item() == -8
    module.m2.fill_(5.0)
    assert module(zero, zero + 5).item() == largest


@torch.no_grad()
def test_haar_split_is_the_mean_of_its_window():
    x = torch.rand(2, 6, 1, generator=torch.Generator().manual_seed(0))
    lo, hi = HaarSplit(SMALL.with_(image=(4, 6)))(x)
    a, b, c, d, e, f = x.unbind(1)
    expected = [(a + b + d + e) / 4, (b + c + e + f) / 4, (c + f) / 2, (d + e) / 2, (e + f) / 2, f]
    assert torch.allclose(lo, torch.stack(expected, 1))
    assert torch.equal(hi, x - lo)


@torch.no_grad()
@pytest.mark.parametrize("deployed", [False, True])
def test_an_image_of_the_mean_colour_is_all_position(deployed):
    module = Embedding(SMALL).eval()
    if deployed:
        deploy(module)
    pixels = torch.tensor(SMALL.mean, dtype=torch.uint8).expand(1, *SMALL.image, 2)
    assert (module(pixels)[0] - module.position).abs().max() < UNIT


def test_the_mean_pixel_folds_into_the_nearest_bias():
    constants = deploy(Embedding(SMALL.with_(mean=(100.25, 49.625)))).constants()
    for weights, bias in zip(constants["weight"].tolist(), constants["bias"].tolist(), strict=True):
        exact = sum(w * (128 - mean) for w, mean in zip(weights, (100.25, 49.625) * 4, strict=True))
        assert abs(bias - exact) <= 0.5


@torch.no_grad()
@pytest.mark.parametrize("deployed", [False, True])
def test_features_are_cut_to_eight_bits(deployed):
    """4 fraction bits: −8 to 7.9375."""
    module = Head(SMALL).eval()
    if deployed:
        deploy(module)
    for value, feature in ((100.0, 7.9375), (-100.0, -8.0)):
        logits = module(torch.full((1, SMALL.tokens, SMALL.dim), value))
        weight, bias = module.linear.quant_weight().value, module.linear.bias
        assert torch.allclose(logits, feature * weight.sum(-1) + bias, atol=module.logit_scale)


def test_attention_constants_stay_in_their_ranges():
    module = BinaryAttention(SMALL)
    limit = (1 << SMALL.widths.score_weight) - 1
    with torch.no_grad():
        module.beta.copy_(torch.tensor([-1.0, 1.0, 5.0]))
        assert module.constants(2)["threshold"].tolist() == [1, 2**15, 2**16 - 1]
        for alpha in (0.5, 0.3, 0.77, 0.0, 1.0, -3.0, 3.0):
            low = min(max(alpha, 0.0), 1.0)
            module.alpha.fill_(alpha)
            expected = [round(low * SMALL.score_scale), round((1 - low) * SMALL.score_scale)]
            assert module.constants(2)["score_weight"].tolist() == expected
            assert max(expected) <= limit
        assert module.constants(1)["score_weight"].tolist() == [round(SMALL.score_scale)]


def _random_bands(config):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, (2, 2, 4, config.tokens, config.dim), generator=generator, dtype=torch.float64)
    return [(2 * query - 1, 2 * key - 1) for query, key in drawn]


def _probability(bands, weights, heads):
    """softmax(Σ w·Q·Kᵀ/√d), (B, heads, N, N)."""
    d = bands[0][0].shape[-1] // heads
    parts = []
    for h in range(heads):
        part = slice(d * h, d * h + d)
        score = sum(w * (q[..., part] @ k[..., part].mT) for w, (q, k) in zip(weights, bands, strict=True))
        parts.append((score / math.sqrt(d)).softmax(-1))
    return torch.stack(parts, 1)


@torch.no_grad()
def test_attention_is_the_thresholded_softmax():
    """softmax((α·QK_lo + (1 − α)·QK_hi)/√d) ≥ β/2, wherever a fine table leaves no doubt."""
    widths = Widths(score_weight=12, exp_index=8, exp=12, exp_step=1 / 32)
    config = SMALL.with_(dim=64, heads=2, widths=widths)
    module, bands = BinaryAttention(config), _random_bands(config)
    module.beta.copy_(torch.tensor([0.05, 0.15]))
    module.alpha.fill_(0.7)
    bits = module(bands)
    ratio = _probability(bands, (0.7, 0.3), 2) / torch.tensor([0.025, 0.075])[:, None, None]
    sure = ratio.log().abs() > 0.1
    assert sure.float().mean() > 0.9
    assert torch.equal(bits[sure], (ratio >= 1).double()[sure])
    assert 0.1 < bits.mean() < 0.9


@pytest.mark.parametrize("bands", [1, 2])
def test_attention_learns_through_the_float_softmax(bands):
    """The gradient is that of clamp(softmax/β, 0, 1): half way up at the threshold of β/2."""
    config = SMALL.with_(dim=64, heads=2)
    module, outputs, gradients = BinaryAttention(config).double(), [], []
    with torch.no_grad():
        module.beta.copy_(torch.tensor([0.05, 0.15]))
        module.alpha.fill_(0.7)

    def floating(inputs):
        weights = (module.alpha, 1 - module.alpha) if bands == 2 else (1.0,)
        return (_probability(inputs, weights, 2) / module.beta[:, None, None]).clamp(0, 1)

    for function in (module, floating):
        inputs = _random_bands(config)[:bands]
        values = [value.requires_grad_() for pair in inputs for value in pair]
        outputs.append(function(inputs))
        outer = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        module.zero_grad()
        (outputs[-1] * outer).sum().backward()
        learned = [module.beta] if bands == 1 else [module.beta, module.alpha]
        leaves = [*learned, *values]
        gradients.append(torch.cat([value.grad.flatten() for value in leaves]))
        assert all(value.grad.any() for value in leaves)
    assert torch.allclose(*gradients)
    assert not torch.allclose(*outputs)


def test_diba_learns_through_its_formula():
    """V_i + Σ_j Â_ij·(V_j − V_i) + local_i·2^s by hand; weights and s straight through their roundings."""
    config = SMALL.with_(image=(6, 4))
    module, tokens, generator = DIBA(config).double(), config.tokens, torch.Generator().manual_seed(0)
    v = torch.randint(2, (2, tokens, 12), generator=generator, dtype=torch.float64) * 2 - 1
    attention = torch.randint(2, (2, 3, tokens, tokens), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        module.local_shift.copy_(3 * torch.rand(12, generator=generator))
    shift = module.local_shift.detach().round().requires_grad_()
    weight = torch.where(module.local.weight.detach() >= 0, 1.0, -1.0).double().requires_grad_()

    def formula(attention, v):
        image = v.mT.unflatten(-1, config.grid)
        local = nn.functional.conv2d(image, weight, padding=1, groups=12).flatten(2).mT
        everywhere = attention.repeat_interleave(4, dim=1)  # (B, C, N, N)
        differences = v.mT[:, :, None, :] - v.mT[:, :, :, None]  # V_j − V_i
        return (v.mT + (everywhere * differences).sum(-1)).mT + local * 2**shift

    outer = torch.randn(2, tokens, 12, generator=generator, dtype=torch.float64)
    gradients, outputs = [], []
    learnable = [module.local_shift, module.local.weight]
    for function, learned in ((module, learnable), (formula, [shift, weight])):
        inputs = [value.clone().requires_grad_() for value in (attention, v)]
        outputs.append(function(*inputs))
        (outputs[-1] * outer).sum().backward()
        gradients.append(torch.cat([value.grad.flatten() for value in (*inputs, *learned)]))
    assert torch.equal(*outputs)
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("seed", [0, 1])
def test_what_deploy_mode_freezes_to_is_within_its_ranges(seed):
    """`GoldenModel` checks every constant against its range."""
    model = trained(theta=5)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.mul_(10 ** torch.randn(parameter.shape, generator=generator))
    model.deploy()
    assert np.array_equal(freeze(model)(random_pixels(8)), model.integer_logits(random_pixels(8)))
