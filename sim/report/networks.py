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
from haarlequin.sw.resolve import USUAL, ZOO

BASELINES = Path(ablation.__file__).with_name("baselines.json")
"""Accuracies of a short training that was the same for all, and the command that it was."""

AXES = {
    "weights": "binary weights, Mbit",
    "macs": "bit-MACs of an image, millions",
    "cycles": "cycles of an image",
}


@dataclass(frozen=True)
class Network:
    """A network and what it costs: weights in Mbit, products of bits in millions, cycles of an image.

    ``cycles`` are those on ``machine``; both are None where no accelerator runs it.
    """

    name: str
    accuracy: float
    images: int
    weights: float
    macs: float
    cycles: int | None
    machine: str | None


def card(model: str) -> dict | None:
    """The card of a trained model; None where it has none."""
    path = ZOO / model / "card.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def of_zoo() -> list[Network]:
    """Every binary network of the zoo that labels images of CIFAR-10, on its usual accelerator."""
    found = []
    for folder in sorted(ZOO.iterdir()):
        name, its = folder.name, card(folder.name)
        if its is None or name not in USUAL or not name.startswith("cifar10"):
            continue
        accuracy = its["accuracy"]
        top1 = accuracy.get("test_golden", accuracy["test_deploy"])
        cost = ablate.cost(PRESETS[name])
        took = rates.cycles(name, USUAL[name])
        found.append(
            Network(
                name, top1, its["images"]["test"], cost.weights / 1e6, cost.bit_macs / 1e6, took, USUAL[name]
            )
        )
    return found


def of_baselines() -> tuple[list[Network], str]:
    """The networks that were trained alike, briefly, on the machines of `sw.ablate`; and the command."""
    known = json.loads(BASELINES.read_text(encoding="utf-8"))
    found = []
    for name, accuracy in known["float_phase"].items():
        cost = ablate.cost(PRESETS[name])
        found.append(
            Network(
                name,
                accuracy,
                known["images"],
                cost.weights / 1e6,
                cost.bit_macs / 1e6,
                cost.cycles,
                cost.machine,
            )
        )
    return found, known["command"]


def section() -> Section:
    """The price of accuracy."""
    zoo, (baselines, trained) = of_zoo(), of_baselines()
    best = max(zoo, key=lambda each: each.accuracy)
    ahead = max(baselines, key=lambda each: each.accuracy)
    panels = [
        Panel(
            "zoo",
            "The zoo's networks for CIFAR-10",
            f"{best.name} is the most accurate, {best.accuracy:.1%} of {best.images:,} test images in "
            "integers, "
            f"with {best.weights:.2f} Mbit of weights and {best.macs:.0f} million products of bits.",
            "haarlequin evaluate MODEL --data DIR",
            _against_costs(zoo, "top-1 of test images"),
            430,
            wide=True,
        ),
        Panel(
            "baselines",
            "Baselines, trained alike",
            f"After the same short training {ahead.name} is ahead, {ahead.accuracy:.1%} of {ahead.images:,} "
            f"validation images; chance may move each by "
            f"{100 * interval(ahead.accuracy, ahead.images):.1f} points.",
            trained,
            _against_costs(baselines, "top-1 of validation images"),
            430,
            wide=True,
        ),
    ]
    lead = "What a network costs in weights, in products of bits and in cycles, and how much it labels right."
    return Section("networks", "Accuracy and its price", lead, panels)


def _against_costs(networks: list[Network], what: str) -> list[go.Figure]:
    """One plot for each cost."""
    plots = []
    for key, title in AXES.items():
        shown = [each for each in networks if getattr(each, key)]
        dots = go.Scatter(
            x=[getattr(each, key) for each in shown],
            y=[100 * each.accuracy for each in shown],
            textposition=["top center" if number % 2 else "bottom center" for number in range(len(shown))],
            mode="markers+text",
            cliponaxis=False,
            marker={"size": 11, "color": [PALETTE[networks.index(each)] for each in shown]},
            hovertext=[_told(each) for each in shown],
            hoverinfo="text",
            showlegend=False,
        )
        dots.text = [each.name.removeprefix("cifar10-") for each in shown]
        plots.append(
            figure(
                dots,
                xaxis={"title": {"text": title}, "range": _around([getattr(each, key) for each in shown])},
                yaxis={
                    "title": {"text": f"{what}, %"},
                    "range": _around([100 * each.accuracy for each in shown]),
                },
            )
        )
    return plots


def _around(values: list[float]) -> list[float]:
    """An axis with room for names beside the outermost dots."""
    low, high = min(values), max(values)
    room = 0.3 * (high - low or high)
    return [low - room, high + room]


def _told(each: Network) -> str:
    """A network and its figures, for a person who points at it."""
    lines = [
        f"<b>{each.name}</b>: {PRESETS[each.name].structure}",
        f"{each.accuracy:.2%} of {each.images:,} images",
        f"{each.weights:.2f} Mbit of weights",
        f"{each.macs:.1f} million bit-MACs",
        f"{each.cycles:,} cycles on {each.machine}" if each.cycles else "no accelerator runs it",
    ]
    return "<br>".join(lines)
