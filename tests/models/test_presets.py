import json
from dataclasses import fields, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import PRESETS, override, preset
from haarlequin.models.widths import Widths
from tests.models.cases import json_values, makes_a_config_or_a_config_error

DIGITS = preset("digits")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    config = preset(name)
    assert config.name == name
    assert ModelConfig.from_json(config.to_json()) == config
    assert hash(ModelConfig.from_json(config.to_json())) == hash(config)


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigError, match=f"unknown preset 'cifar': the presets are {', '.join(PRESETS)}"):
        preset("cifar")


@given(st.sampled_from([f.name for f in (*fields(ModelConfig), *fields(Widths))]), st.booleans(), json_values)
@example("image", False, "")
@example("name", False, 5)
def test_override_raises_nothing_but_its_own_error(name, of_widths, value):
    setting = f"{'widths.' if of_widths else ''}{name}={json.dumps(value)}"
    makes_a_config_or_a_config_error(lambda: override(DIGITS, [setting]))


def test_override_reads_values_as_json_and_else_as_text():
    settings = ["dim=96", "hfsc=false", "alpha=0.5", "image=[16, 8]", "name=small digits", "widths.wide=16"]
    settings += ["widths.affine_shift=[3, 7]", 'classes=["a=b", "c"]']
    expected = DIGITS.with_(dim=96, hfsc=False, alpha=0.5, image=(16, 8), name="small digits")
    expected = replace(expected, classes=("a=b", "c"), widths=Widths(wide=16, affine_shift=(3, 7)))
    assert override(DIGITS, settings) == expected


def test_override_changes_nothing_else():
    config = DIGITS.with_(widths=Widths(wide=16, offset=11))
    assert override(config, []) == config
    assert override(config, ["widths.offset=10"]) == config.with_(widths=Widths(wide=16, offset=10))
    assert override(config, ["layers=2", "layers=3"]) == config.with_(layers=3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dim", "a setting is KEY=VALUE, not 'dim'"),
        ("", "a setting is KEY=VALUE, not ''"),
        ("=5", "a setting is KEY=VALUE, not '=5'"),
        ("size=5", "unknown in ModelConfig: size"),
        ("widths.depth=5", "unknown in Widths: depth"),
        ("widths=5", "widths are set one by one, as in widths.wide=16"),
        ("dim=sixty", "dim must be an integer from 1 to 65536, not 'sixty'"),
        ("dim=", "dim must be an integer from 1 to 65536, not ''"),
        ("dim=" + "1" * 5000, "dim must be an integer from 1 to 65536, not '1111"),
        ("dim=65", "dim must be a multiple of heads: 65 is no multiple of 2"),
        ("widths.wide=24", "wide must be 12 to 16 bits, not 24"),
    ],
    ids=lambda v: v[:24],
)
def test_override_refuses(setting, message):
    with pytest.raises(ConfigError, match=message):
        override(DIGITS, [setting])
