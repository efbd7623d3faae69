"""The parts of an MLP that the machine's trace shows."""

import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.lower import lower


@pytest.mark.parametrize(("name", "machine"), [("digits", "16x64"), ("cifar10-nano", "8x64")])
def test_every_channel_of_an_mlp_is_shown(name, machine):
    config = preset(name)
    shown = {}
    for item in lower(GoldenModel.blank(config), CONFIGS[machine]).passes:
        for result in item.results:
            channels = range(result.first, result.first + result.channels)
            shown.setdefault(result.tensor, set()).update(channels)
    dim, hidden = config.dim, config.dim * config.mlp_ratio
    for layer in range(config.layers):
        for tensor, channels in (
            ("expand.acc", hidden),
            ("expand", hidden),
            ("reduce.signs", hidden),
            ("mean", dim),
            ("output", dim),
            ("value.signs", dim),  # reduce makes those of the next layer
        ):
            assert shown[f"layers.{layer}.{tensor}"] == {*range(channels)}, tensor
