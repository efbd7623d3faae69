"""Accuracy against what a network costs: those of the zoo, and the baselines that were trained alike."""

import json
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from haarlequin.models import ablation
from haarlequin.models.ablation.networks import interval
from haarlequin.models.presets import PRESETS
from haarlequin.sim.report.panel import PALETTE, Panel, Section, figure
from haarlequin.sw import ablate, rates
from haarlequin.sw.plan.cycles import operations
from haarlequin.sw.plan.machine import machine_of
from haarlequin.sw.resolve import ZOO

BASELINES = Path(ablation.__file__).with_name("baselines.json")
"""Accuracies of a short training that was the same for all, and the command that it was."""

MACHINE = "32x128"
"""The accelerator on which cycles are compared. All these networks fit it, but for shifted windows."""

AXES = {
    "weights": "binary weights, Mbit",
    "macs": "bit-MACs of an image, millions",
    "cycles": f"cycles of an image on {MACHINE}",
}


@dataclass(frozen=True)
class Network:
    """A network and what it costs: weights in Mbit, products of bits in millions, and cycles of an image on
    `MACHINE`, which are None where that cannot run it.
    """

    name: str
    accuracy: float
    images: int
    weights: float
    macs: float
    cycles: int | None


def card(model: str) -> dict | None:
    """The card of a trained model; None where it has none."""
    path = ZOO / model / "card.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def top1(its: dict) -> float:
    """The share of test images that a card says are right in integers, or the mean IoU of its masks."""
    accuracy = its["accuracy"]
    # A card without the golden model's own figure is older: deploy mode gives the same integers.
    return accuracy.get("test_golden", accuracy["test_deploy"])


def of_zoo() -> list[Network]:
    """Every binary network of the zoo that labels images of CIFAR-10."""
    found = []
    for folder in sorted(ZOO.iterdir()):
        name, its = folder.name, card(folder.name)
        if its and name in PRESETS and not PRESETS[name].segmentation and name.startswith("cifar10"):
            found.append(_network(name, top1(its), its["images"]["test"], rates.cycles(name, MACHINE)))
    return found


def of_baselines() -> tuple[list[Network], str]:
    """The networks that were trained alike, briefly, with planned cycles; and the command."""
    known = json.loads(BASELINES.read_text(encoding="utf-8"))
    found = []
    for name, accuracy in known["float_phase"].items():
        runs = ablate.cost(PRESETS[name]).machine is not None
        planned = (
            sum(each.cycles for each in operations(PRESETS[name], machine_of(MACHINE))) if runs else None
        )
        found.append(_network(name, accuracy, known["images"], planned))
    return found, known["command"]


def _network(name: str, accuracy: float, images: int, took: int | None) -> Network:
    cost = ablate.cost(PRESETS[name])
    return Network(name, accuracy, images, cost.weights / 1e6, cost.bit_macs / 1e6, took)


def section() -> Section:
    """The price of accuracy."""
    zoo, (baselines, trained) = of_zoo(), of_baselines()
    best = max(zoo, key=lambda each: each.accuracy)
    first, *others = sorted(baselines, key=lambda each: -each.accuracy)
    chance = interval(first.accuracy, first.images)
    near = [each.name for each in others if each.accuracy >= first.accuracy - chance]
    but = f"but {', '.join(near)} may be as good: chance" if near else "by more than chance, which"
    panels = [
        Panel(
            "zoo",
            "The zoo's networks for CIFAR-10",
            f"{best.name} is the most accurate: {best.accuracy:.1%} of {best.images:,} test images in "
            f"integers, with {best.weights:.2f} Mbit of weights, {best.macs:.0f} million bit-MACs and "
            f"{best.cycles:,} cycles.",
            "haarlequin evaluate MODEL --data DIR",
            _against_costs(zoo, "test images right"),
            400,
            wide=True,
        ),
        Panel(
            "baselines",
            "Baselines, trained alike",
            f"After a short training that was the same for all, {first.name} is ahead with "
            f"{first.accuracy:.1%} of {first.images:,} validation images, {but} moves each by "
            f"{100 * chance:.1f} points. "
            "No machine runs shifted windows.",
            trained,
            _against_costs(baselines, "validation images right"),
            400,
            wide=True,
        ),
    ]
    lead = (
        "How many images a network labels right, against what it costs: bits of weights, products of bits "
        "(bit-MACs), and cycles on one and the same accelerator. Up and left is better."
    )
    return Section("networks", "Accuracy and its price", lead, panels)


def _against_costs(networks: list[Network], what: str) -> list[go.Figure]:
    """One plot for each cost."""
    plots = []
    for key, title in AXES.items():
        shown = [each for each in networks if getattr(each, key)]
        dots = go.Scatter(
            x=[getattr(each, key) for each in shown],
            y=[100 * each.accuracy for each in shown],
            mode="markers+text",
            cliponaxis=False,
            marker={"size": 11, "color": [PALETTE[networks.index(each)] for each in shown]},
            hovertext=[_told(each) for each in shown],
            hoverinfo="text",
            showlegend=False,
        )
        values = [getattr(each, key) for each in shown]
        dots.text = [each.name.removeprefix("cifar10-") for each in shown]
        dots.textposition = ["middle left" if x > 0.6 * max(values) else "middle right" for x in values]
        plots.append(
            figure(
                dots,
                xaxis={"title": {"text": title}, "range": [0, 1.15 * max(values)]},
                yaxis={
                    "title": {"text": f"{what}, %"},
                    "range": _around([100 * each.accuracy for each in networks]),
                },
            )
        )
    return plots


def _around(values: list[float]) -> list[float]:
    """An axis with room beyond the outermost dots."""
    low, high = min(values), max(values)
    room = 0.15 * (high - low or high)
    return [low - room, high + room]


def _told(each: Network) -> str:
    """A network and its figures, for a person who points at it."""
    lines = [
        f"<b>{each.name}</b>: {PRESETS[each.name].structure}",
        f"{each.accuracy:.2%} of {each.images:,} images",
        f"{each.weights:.2f} Mbit of weights",
        f"{each.macs:.1f} million bit-MACs",
        f"{each.cycles:,} cycles on {MACHINE}" if each.cycles else "no accelerator runs it",
    ]
    return "<br>".join(lines)
