"""Bounded parameters that can come back: α within [0, 1], and β, whose head is full where it is too low."""

import pytest
import torch

from haarlequin.models.config import vit
from haarlequin.models.network.attention import BinaryAttention
from haarlequin.models.network.quant import bounded
from haarlequin.models.widths import Widths

CONFIG = vit(
    name="small",
    image=(4, 3),
    channels=1,
    mean=(100.0,),
    patch=1,
    dim=64,
    heads=2,
    layers=1,
    classes=("a", "b"),
    widths=Widths(score_weight=12, exp_index=8, exp=12, exp_step=1 / 32),
)
START = 2 / 12


@pytest.mark.parametrize(
    ("x", "value", "down", "up"),
    [  # the gradient that is left of one that leads down, 2, and of one that leads up, −3
        (-0.5, 0.0, 0, -3),
        (0.0, 0.0, 0, -3),
        (1e-6, 1e-6, 2, -3),
        (0.5, 0.5, 2, -3),
        (1.0, 1.0, 2, 0),
        (1.5, 1.0, 2, 0),
    ],
)
def test_a_bound_keeps_the_gradient_that_leads_inside(x, value, down, up):
    for gradient, left in ((2.0, down), (-3.0, up), (0.0, 0)):
        parameter = torch.tensor([x], requires_grad=True)
        y = bounded(parameter, 0, 1)
        assert y.tolist() == torch.tensor([value]).tolist()
        y.backward(torch.tensor([gradient]))
        assert parameter.grad.tolist() == [left]


def module(alpha=0.5, beta=(0.1, 0.15)):
    made = BinaryAttention(CONFIG).double()
    with torch.no_grad():
        made.alpha.fill_(alpha)
        made.beta.copy_(torch.tensor(beta))
    return made


def bands(images=2):
    generator = torch.Generator().manual_seed(0)
    shape = 2, 2, images, CONFIG.tokens, CONFIG.dim
    drawn = torch.randint(2, shape, generator=generator, dtype=torch.float64) * 2 - 1
    return [(query, key) for query, key in drawn]


def outer(images=2):
    """A gradient of either sign for each bit."""
    shape = images, CONFIG.heads, CONFIG.tokens, CONFIG.tokens
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(made, weights, allowed=None):
    """Those of α and β."""
    made.zero_grad()
    (made(bands(), allowed) * weights).sum().backward()
    return made.alpha.grad.item(), made.beta.grad


@pytest.mark.parametrize(("inside", "values"), [(1e-9, (0.0, -0.3)), (1 - 1e-9, (1.0, 1.3))])
@pytest.mark.parametrize("direction", [1, -1])
def test_alpha_at_and_beyond_its_bounds_keeps_the_gradient_that_leads_inside(inside, values, direction):
    weights = direction * outer()
    expected, _ = gradients(module(inside), weights)
    assert expected != 0
    leads_inside = (expected < 0) == (inside < 0.5)
    for value in values:
        alpha, _ = gradients(module(value), weights)
        assert alpha == pytest.approx(expected if leads_inside else 0, rel=1e-5)


@pytest.mark.parametrize("beta", [-1.0, 0.0, 2.0**-16, 1e-5])
def test_a_full_head_gets_a_gradient_from_each_bit_that_had_better_be_0(beta):
    made, weights = module(beta=(beta, beta)), outer()
    assert made(bands()).all()
    _, found = gradients(made, weights)
    assert torch.allclose(found, -weights.clamp(min=0).sum((0, 2, 3)) / START)
    _, found = gradients(made, -weights.abs())
    assert found.tolist() == [0, 0]


def test_a_full_head_leaves_the_other_as_it_is():
    _, alive = gradients(module(), outer())
    _, found = gradients(module(beta=(0.0, 0.15)), outer())
    assert found[1] == alive[1] != 0
    assert found[0] < 0
    assert found[0] != alive[0]


def test_a_head_that_is_not_full_gets_nothing_from_bits_beyond_their_threshold():
    """Else every β would rise, whatever the loss: these gradients have one sign only."""
    made = module()
    with torch.no_grad():
        beyond = sum(
            weight * (q.unflatten(-1, (2, -1)).transpose(1, 2) @ k.unflatten(-1, (2, -1)).permute(0, 2, 3, 1))
            for weight, (q, k) in zip((0.5, 0.5), bands(), strict=True)
        )
        softmax = (beyond * 32**-0.5).softmax(-1)
        chosen = softmax > made.beta[:, None, None]
        assert 0.02 < chosen.double().mean() < 0.9
    _, found = gradients(made, chosen.double())
    assert found.tolist() == [0, 0]


def test_keys_that_are_not_allowed_do_not_count_as_zeros():
    allowed = torch.ones(2, 1, CONFIG.tokens, CONFIG.tokens, dtype=torch.int64)
    allowed[..., 6:] = 0
    made, weights = module(beta=(0.0, 0.0)), outer()
    assert torch.equal(made(bands(), allowed).bool(), allowed.bool().expand(2, 2, -1, -1))
    _, found = gradients(made, weights * allowed, allowed)
    assert torch.allclose(found, -(weights * allowed).clamp(min=0).sum((0, 2, 3)) / START)


def test_a_head_comes_back_from_0():
    made = module(beta=(0.0, 0.15))
    optimiser = torch.optim.SGD([made.beta], lr=0.01)
    target = (torch.arange(CONFIG.tokens) % 4 == 0).double()  # fewer bits than all of them
    shares = []
    for _ in range(20):
        bits = made(bands())
        shares.append(bits[:, 0].mean().item())
        optimiser.zero_grad()
        (bits - target).square().mean().backward()
        optimiser.step()
    assert shares[0] == 1
    assert shares[-1] < 0.9
    assert made.beta[0] > 0.01
