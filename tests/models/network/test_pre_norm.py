"""The switch of the float phase: BatchNorm before each branch."""

import pytest
import torch
from torch.nn import functional as F

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import vit
from haarlequin.models.golden import specs
from haarlequin.models.network import checkpoint
from haarlequin.models.network.didb_vit import DIDBViT, PreNorm

pytestmark = pytest.mark.slow

CONFIG = vit(
    name="small",
    image=(6, 4),
    channels=2,
    mean=(100.0, 50.0),
    patch=2,
    dim=6,
    heads=3,
    layers=2,
    classes=("a", "b", "c"),
    mlp_ratio=2,
    pre_norm=True,
)


def model(config=CONFIG):
    torch.manual_seed(0)
    return DIDBViT(config)


def pixels(count=32):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 6, 4, 2), generator=generator, dtype=torch.uint8)


def norms(network):
    return [module for module in network.modules() if isinstance(module, PreNorm)]


def test_there_is_one_before_each_branch_and_none_without_the_switch():
    assert len(norms(model())) == 2 * CONFIG.layers
    plain = model(CONFIG.with_(pre_norm=False))
    assert norms(plain) == []
    assert plain.state_dict().keys() < model().state_dict().keys()


def test_norms_that_do_nothing_change_nothing():
    network, plain = model().eval(), model(CONFIG.with_(pre_norm=False)).eval()
    for norm in norms(network):
        norm.norm.running_var.fill_(1 - norm.norm.eps)
    assert torch.allclose(network(pixels()), plain(pixels()), atol=1e-5)
    norms(network)[0].norm.bias.data += 3
    assert not torch.allclose(network(pixels()), plain(pixels()), atol=1e-2)


@pytest.mark.parametrize("branch", [0, 1])
def test_a_branch_and_its_shortcuts_start_from_the_norm_and_are_added_to_what_was_not_normed(branch):
    layer = model().layers[0][branch].train()
    first, last = (layer.value, layer.output) if branch == 0 else (layer.expand, layer.reduce)
    x = 0.5 + 0.3 * torch.randn(8, CONFIG.tokens, CONFIG.dim)
    normed = F.batch_norm(x.flatten(0, 1), None, None, training=True).view_as(x)
    seen = []
    first.register_forward_pre_hook(lambda _, a, k: seen.append((a[0], k["shortcut"])), with_kwargs=True)
    with torch.no_grad():
        last.irprelu.scale.zero_()
        y = layer(x)
    (entered, shortcut) = seen[0]
    assert torch.allclose(entered, normed, atol=1e-4)
    repeats = shortcut.shape[-1] // CONFIG.dim
    assert torch.allclose(shortcut, normed.repeat(1, 1, repeats), atol=1e-4)
    assert torch.allclose(y, x)  # the last LayerScale being zero


def test_they_learn():
    network = model().train()
    F.cross_entropy(network(pixels()), torch.arange(32) % 3).backward()
    for norm in norms(network):
        assert norm.norm.weight.grad.abs().max() > 0
        assert norm.norm.bias.grad.abs().max() > 0


def test_they_come_back_from_a_checkpoint(tmp_path):
    network = model().train()
    network(pixels())
    checkpoint.save(tmp_path / "m.safetensors", network)
    assert torch.equal(checkpoint.load(tmp_path / "m.safetensors")(pixels()), network.eval()(pixels()))


def test_there_is_no_deploy_mode_with_them():
    network = model()
    with pytest.raises(ConfigError, match="pre_norm is of the float phase only"):
        network.deploy()
    assert not network.deployed
    with pytest.raises(ConfigError, match="pre_norm is of the float phase only"):
        specs(CONFIG)
