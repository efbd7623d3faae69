"""Accuracy and its price: each dot is its card's, or the recorded training's."""

import json

import pytest

from haarlequin.models.presets import PRESETS
from haarlequin.sim.report import networks
from haarlequin.sw import rates
from haarlequin.sw.compiler.resources import bit_macs
from haarlequin.sw.resolve import ZOO

pytestmark = pytest.mark.slow

PANELS = {panel.name: panel for panel in networks.section().panels}


def dots(panel):
    """By the name of a network, its (cost, accuracy) in each plot."""
    found = {}
    for plot in panel.figures:
        (trace,) = plot.data
        for name, x, y in zip(trace.text, trace.x, trace.y, strict=True):
            found.setdefault(f"cifar10-{name}", []).append((x, y))
    return found


def test_dots_of_the_zoo_are_its_cards():
    names = [path.parent.name for path in ZOO.glob("cifar10-*/card.json")]
    shown = dots(PANELS["zoo"])
    assert {*shown} == {*names}
    for name in names:
        card = json.loads((ZOO / name / "card.json").read_text(encoding="utf-8"))
        (_, top1), (macs, _), (cycles, _) = shown[name]
        accuracy = card["accuracy"]
        assert top1 == 100 * accuracy.get("test_golden", accuracy["test_deploy"])
        assert macs * 1e6 == sum(bit_macs(PRESETS[name]).values())
        assert cycles == rates.cycles(name, "32x128")


def test_dots_of_baselines_are_the_recorded_ones():
    known = json.loads(networks.BASELINES.read_text(encoding="utf-8"))
    shown = dots(PANELS["baselines"])
    assert {name: some[0][1] / 100 for name, some in shown.items()} == known["float_phase"]
    assert len(shown["cifar10-windows"]) == 2  # no machine runs them, so that they have no cycles
    assert PANELS["baselines"].command == known["command"]
