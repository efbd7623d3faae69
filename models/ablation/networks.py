"""The table and the plot of networks that differ in their stages: accuracy beside what each costs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haarlequin.models.ablation.table import PHASES, Row
from haarlequin.models.common.figures import empty, save
from haarlequin.models.config import ModelConfig


@dataclass(frozen=True)
class Cost:
    """The costs of a network."""

    weights: int
    """Binary weights."""
    bit_macs: int
    """Products of signs for an image."""
    machine: str | None = None
    """The smallest machine, with its board, that has room for it; None where none has."""
    block_rams: int | None = None
    cycles: int | None = None
    """Cycles of the array for an image, on that machine."""


CostOf = Callable[[ModelConfig], Cost]

_AXES: Mapping[str, Callable[[Cost], float | None]] = {
    "binary weights, Mbit": lambda cost: cost.weights / 1e6,
    "bit-MACs of an image, millions": lambda cost: cost.bit_macs / 1e6,
    "cycles of an image, thousands": lambda cost: cost.cycles and cost.cycles / 1e3,
}


def interval(accuracy: float, images: int) -> float:
    """Half of the 95 % confidence interval of a proportion of ``images`` that are drawn at random."""
    return 1.96 * math.sqrt(accuracy * (1 - accuracy) / images)


def markdown(table: Sequence[Row], cost_of: CostOf, images: int) -> str:
    """The table in Markdown: accuracies in percent, with the interval for that many validation ``images``."""
    phases = {phase: name for phase, name in PHASES.items() if any(row.accuracy[phase] for row in table)}
    heads = ["network", "weights, Mbit", "bit-MACs, M", "machine", "block RAMs", "cycles"]
    heads += [f"{name}, %" for name in phases.values()] + ["seeds"]
    lines = [heads, ["---", "---:", "---:", "---", *["---:"] * (3 + len(phases))]]
    for row in table:
        cost, label, structure = cost_of(row.cell.config), row.cell.label, row.cell.config.structure
        named = f"`{structure}`" if label == structure else f"{label}: `{structure}`"
        cells = [named, f"{cost.weights / 1e6:.2f}"]
        cells += [f"{cost.bit_macs / 1e6:.1f}", cost.machine or "–", _count(cost.block_rams)]
        cells += [_count(cost.cycles), *(_percent(row, phase, images) for phase in phases)]
        lines.append([*cells, str(len(row.accuracy["float"]))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(row: Row, phase: str, images: int) -> str:
    estimate = row.estimate(phase)
    if estimate is None:
        return "–"
    return f"{100 * estimate.mean:.1f} ± {100 * interval(estimate.mean, images):.1f}"


def plot(table: Sequence[Row], cost_of: CostOf, path: Path) -> None:
    """Draw accuracy, in the last phase that all networks have, against each cost, a dot per network."""
    phase = "deploy" if all(row.accuracy["deploy"] for row in table) else "float"
    figure = empty(13, 5)
    for axes, (label, value) in zip(figure.subplots(1, len(_AXES), sharey=True), _AXES.items(), strict=True):
        for i, row in enumerate(table):
            estimate, cost = row.estimate(phase), value(cost_of(row.cell.config))
            if estimate and cost is not None:
                axes.plot(cost, 100 * estimate.mean, "o", color=f"C{i % 10}")
                axes.annotate(row.cell.label, (cost, 100 * estimate.mean), fontsize=7, rotation=20)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(f"validation accuracy, {PHASES[phase]}, %")
    save(figure, path)
