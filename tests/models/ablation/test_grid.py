from dataclasses import replace

import pytest

from haarlequin.models.ablation.grid import BASELINES, PILOTS, choose, grid
from haarlequin.models.common.errors import UsageError
from haarlequin.models.presets import PRESETS, preset

DIGITS = preset("digits")


def configs(config=DIGITS):
    return {cell.name: cell.config for cell in grid(config)}


def test_the_grid_of_digits():
    frozen = {f"alpha-{a}": {"alpha": a, "alpha_learned": False} for a in (0.5, 0.7, 0.9, 1.0)}
    changes = {
        "full": {},
        "no-diba": {"diba": False},
        "no-own": {"own": "none"},
        "own-learned": {"own": "learned"},
        "no-hfsc": {"hfsc": False},
        "no-irprelu": {"irprelu": False},
        "none": {"diba": False, "hfsc": False, "irprelu": False},
        **frozen,
        "theta-1": {"theta": 1},
        "theta-5": {"theta": 5},
        "pre-norm": {"pre_norm": True},
        "wide-16": {"widths": replace(DIGITS.widths, wide=16)},
    }
    assert configs() == {name: DIGITS.with_(**change) for name, change in changes.items()}
    assert next(iter(configs())) == "full"


@pytest.mark.parametrize("name", PRESETS)
def test_nothing_is_trained_twice(name):
    found = configs(preset(name))
    assert len(set(found.values())) == len(found)


def test_a_preset_with_other_settings_is_compared_with_what_it_has_not():
    other = DIGITS.with_(theta=5, alpha=0.7, alpha_learned=False, widths=replace(DIGITS.widths, wide=16))
    names = set(configs(other))
    assert {"theta-1", "theta-3", "alpha-0.9", "wide-12"} <= names
    assert not {"theta-5", "alpha-0.7", "wide-16"} & names


def test_only_pre_norms_have_no_deploy_mode():
    assert {cell.name for cell in grid(DIGITS) if cell.phases == ("float",)} == {"pre-norm"}
    assert {cell.phases for cell in grid(DIGITS)} == {("float",), ("float", "deploy")}


@pytest.mark.parametrize("kind", [PILOTS, BASELINES])
def test_networks_of_other_stages(kind):
    base = preset("cifar10-nano")
    cells = grid(base, kind)
    assert cells[0].config == base
    assert len({cell.config for cell in cells}) == len({cell.name for cell in cells}) == len(cells)
    assert {cell.config.image for cell in cells} == {(32, 32)}


def test_cells_are_chosen_by_name_and_keep_their_order():
    assert [cell.name for cell in choose(DIGITS, ["theta-5", "full"])] == ["full", "theta-5"]
    assert choose(DIGITS, None) == grid(DIGITS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("theta-3", "theta-3 is what digits has anyway: its cell is full"),
        ("wide-12", "wide-12 is what digits has anyway: its cell is full"),
        ("no-head", "no cell 'no-head': the cells are full, no-diba, .*, wide-16"),
    ],
)
def test_a_name_that_is_no_cell(name, message):
    with pytest.raises(UsageError, match=message):
        choose(DIGITS, ["full", name])
