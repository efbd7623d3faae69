"""Accelerators that have a name."""

import pytest

from haarlequin.hw.presets import CONFIGS, accelerator
from haarlequin.models.common.errors import ConfigError


def test_presets_go_by_their_shape():
    for name, config in CONFIGS.items():
        assert accelerator(name) is config
        shape = f"{config.lanes}x{config.width}" if config.lanes > 1 else "scalar"
        assert name.split("-")[0] == shape


def test_an_unknown_preset():
    with pytest.raises(ConfigError, match=f"unknown accelerator 'huge': there are {', '.join(CONFIGS)}"):
        accelerator("huge")
