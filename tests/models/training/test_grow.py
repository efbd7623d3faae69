"""A network grown from a smaller one: what fits is the smaller one's, and all else untrained."""

import pytest
import torch

from haarlequin.models.common.errors import UsageError
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.presets import override, preset
from haarlequin.models.training.grow import grown

SMALL = override(preset("cifar10-hybrid"), ["stages=/2 c8x2 c16x1 a16x1"])


def random(config):
    """A network in which no tensor has the value that an untrained one has."""
    model, generator = DIDBViT(config), torch.Generator().manual_seed(1)
    state = {
        name: value if value.dtype == torch.long else torch.rand(value.shape, generator=generator) + 0.5
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def source():
    return random(SMALL)


def test_the_same_network_is_the_same(source):
    state = grown(SMALL, source).state_dict()
    assert all(torch.equal(state[name], value) for name, value in source.state_dict().items())


def test_layers_of_a_stage_go_to_its_first_layers(source):
    config = override(SMALL, ["stages=/2 c8x3 c16x2 a16x1"])
    state, old = grown(config, source).state_dict(), source.state_dict()
    for mine, theirs in ((0, 0), (1, 1), (3, 2), (5, 3)):
        names = [name for name in old if name.startswith(f"layers.{theirs}.")]
        assert names
        for name in names:
            assert torch.equal(state[name.replace(f"layers.{theirs}.", f"layers.{mine}.")], old[name])
    for mine, theirs in ((3, 2), (5, 3)):  # the merges before the stages
        name = "linear.linear.weight"
        assert torch.equal(state[f"merges.{mine}.{name}"], old[f"merges.{theirs}.{name}"])
    weight = "0.convolution.convolution.weight"
    assert not torch.equal(state[f"layers.4.{weight}"], old[f"layers.2.{weight}"])
    assert torch.equal(state["head.linear.weight"], old["head.linear.weight"])


def test_offsets_of_tokens_are_spread_over_a_finer_grid(source):
    config = override(SMALL, ["stages=/2 c8x2 c16x1 =a16x1"])
    state, old = grown(config, source).state_dict(), source.state_dict()
    name = "layers.3.0.context.token"
    fine, coarse = state[name].reshape(8, 8), old[name].reshape(4, 4)
    for row in range(8):
        for column in range(8):
            assert fine[row, column] == coarse[row // 2, column // 2]
    assert not any(name.startswith("merges.3.") for name in state)


def test_other_shapes_stay_untrained(source):
    config = override(SMALL, ["stages=/2 c8x2 c32x1 a32x1"])
    torch.manual_seed(5)
    state = grown(config, source).state_dict()
    torch.manual_seed(5)
    untrained = DIDBViT(config).state_dict()
    other = {name for name, value in source.state_dict().items() if value.shape != untrained[name].shape}
    assert {name.split(".")[1] for name in other if name.startswith("layers.")} == {"2", "3"}
    assert all(torch.equal(state[name], untrained[name]) for name in other)


def test_nothing_that_fits_is_refused(source):
    config = override(SMALL, ["stages=/2 c64x1", 'classes=["a", "b"]'])
    with pytest.raises(UsageError, match="nothing of cifar10-hybrid fits into cifar10-hybrid"):
        grown(config, source)
