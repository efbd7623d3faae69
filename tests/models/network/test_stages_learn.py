"""Networks in stages, in the float phase and in deploy mode: what learns, and what a layer does in both."""

import copy

import pytest
import torch
from torch import nn

from haarlequin.models.config import vit
from haarlequin.models.network.attention import DIBA
from haarlequin.models.network.didb_vit import Convolution, DIDBViT, Merge
from haarlequin.models.network.head import TokenHead
from haarlequin.models.network.patch_embed import Embedding
from haarlequin.models.network.quant import real_sign

pytestmark = pytest.mark.slow

BASE = vit(
    name="staged",
    image=(8, 12),
    channels=2,
    mean=(100.0, 50.0),
    patch=2,
    dim=8,
    heads=1,
    layers=1,
    classes=("a", "b", "c"),
    mlp_ratio=2,
)
NETWORKS = {
    "convolutions and attention": {"stages": "/1 c4x2 a16x1h2"},
    "merges to fewer, as many and more": {"stages": "/1 c4x1 t8x1h1 a32x1h2", "image": (8, 16)},
    "more than four times": {"stages": "/2 c4x1 c32x1", "own": "learned"},
    "windows": {"stages": "/1 t8x1h2w2 =a8x2h2s4n", "own": "learned", "image": (8, 8)},
    "segmentation": {"stages": "/2 c8x1 t16x1h2", "own": "none", "segmentation": True},
}
every_network = pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)


def pixels(model, images=32):
    shape = images, *model.config.image, model.config.channels
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def fresh(changes):
    torch.manual_seed(0)
    return DIDBViT(BASE.with_(**changes)).train()


def dead(model):
    """Parameters that a loss does not reach."""
    logits = model(pixels(model))
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=logits.dtype)
    model.zero_grad()
    (logits * weights).sum().backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradient is None or gradient.isfinite().all() for gradient in found.values())
    return {name for name, gradient in found.items() if gradient is None or gradient.abs().max() < 1e-5}


@every_network
def test_every_parameter_learns_in_both_phases(changes):
    model = fresh(changes)
    # The norm before the classifier of an image takes off what every image has in common, where no token is
    # at an end of its range.
    in_common = set()
    if not model.config.segmentation:
        block = f"layers.{len(model.layers) - 1}.{len(model.layers[-1]) - 1}.irprelu"
        in_common = {f"{block}.m2", f"{block}.token"} & {name for name, _ in model.named_parameters()}
    assert dead(model) <= in_common
    model.deploy()
    assert dead(model) == set()


def settled(changes):
    """A model whose norms know the statistics of some pixels."""
    model = fresh(changes)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 1.0
        model(pixels(model))
    return model.eval()


@every_network
@torch.no_grad()
def test_a_layer_does_the_same_in_both_phases(changes):
    """Each new layer of the float phase is given what its twin in deploy mode is given."""
    real = settled(changes)
    deployed = copy.deepcopy(real)
    deployed.deploy()
    calls = {}

    def note(name):
        return lambda module, inputs, output: calls.update({name: (inputs, output)})

    for name, module in deployed.named_modules():
        if isinstance(module, Convolution | Merge | Embedding | TokenHead | DIBA):
            module.register_forward_hook(note(name))
    deployed(pixels(deployed))
    assert len(calls) >= 1 + len(real.merges)
    unit = 2.0**-real.config.widths.fraction
    for name, (inputs, output) in calls.items():
        distance = (output - real.get_submodule(name)(*inputs)).abs()
        if isinstance(real.get_submodule(name), DIBA):
            assert not distance.any(), name
        else:
            assert distance.median() < 2 * unit, name
            assert distance.quantile(0.9) < 16 * unit, name


@torch.no_grad()
def test_a_convolution_pads_with_plus_one_and_its_real_weights_with_the_same():
    model = fresh({"stages": "/1 c4x1"})
    convolution = model.layers[0][0].convolution
    x = torch.full((1, 96, 4), -0.5)
    weight = real_sign(convolution.convolution.weight)
    middle, corner = -weight.sum((1, 2, 3)), weight.sum((1, 2, 3)) - 2 * weight[:, :, 1:, 1:].sum((1, 2, 3))
    acc = convolution(x)
    assert torch.equal(acc[0, 13], middle)
    assert torch.equal(acc[0, 0], corner)
    model.use_real_weights(True)
    weight = convolution.convolution.weight
    corner = weight.sum((1, 2, 3)) - 2 * weight[:, :, 1:, 1:].sum((1, 2, 3))
    assert torch.allclose(convolution(x)[0, 0], corner, atol=1e-5)


def test_real_weights_are_of_every_binary_layer_and_are_scaled_row_by_row():
    model = fresh({"stages": "/1 c4x1 a16x1h2", "segmentation": True})
    model.use_real_weights(True)
    flags = [module.real_weights for module in model.modules() if hasattr(module, "real_weights")]
    assert flags == [True] * len(model.binary_weights())
    signs = {name: real_sign(weight.detach()) for name, weight in model.binary_weights().items()}
    model.rescale_weights()
    for name, weight in model.binary_weights().items():
        assert torch.equal(real_sign(weight.detach()), signs[name])
        assert weight.abs().max() <= 1
        assert torch.allclose(weight.flatten(1).abs().mean(1), torch.tensor(0.25), atol=0.02)


def test_an_own_term_learns_through_its_rounding():
    """(1 − k)·V·2^−o, straight through both roundings, by hand."""
    config = BASE.with_(own="learned", image=(4, 6))
    module, generator = DIBA(config).double(), torch.Generator().manual_seed(0)
    tokens = config.tokens
    v = torch.randint(2, (2, tokens, 8), generator=generator, dtype=torch.float64) * 2 - 1
    attention = torch.randint(2, (2, 1, tokens, tokens), generator=generator, dtype=torch.float64)
    weights = torch.randn(2, tokens, 8, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        module.own_shift.copy_(3 * torch.rand(8, generator=generator))
    (module(attention, v) * weights).sum().backward()
    shift = module.own_shift.detach().round().requires_grad_()
    own = (1 - attention.sum(-1)).mT * v
    (own * 2**-shift * weights).sum().backward()
    assert torch.allclose(module.own_shift.grad, shift.grad)
    assert shift.grad.all()
