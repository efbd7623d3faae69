"""The table of an ablation as a picture."""

from collections.abc import Sequence
from pathlib import Path

from haarlequin.models.ablation.grid import FULL
from haarlequin.models.ablation.table import PHASES, Row
from haarlequin.models.common.figures import empty, save


def plot(table: Sequence[Row], path: Path) -> None:
    """Draw one line per cell: a dot for every seed, and a diamond for their mean with its standard deviation.
    A vertical line through all cells is the mean of `FULL`.
    """
    figure = empty(8, 1.2 + 0.38 * len(table))
    axes = figure.subplots()
    for i, (phase, name) in enumerate(PHASES.items()):
        colour, shift = f"C{i}", 0.16 * (2 * i - 1)
        label: str | None = name
        for y, row in enumerate(table):
            estimate = row.estimate(phase)
            if estimate is None:
                continue
            values = [100 * value for value in row.accuracy[phase].values()]
            axes.plot(values, [y + shift] * len(values), "o", color=colour, alpha=0.35, markersize=4)
            error = 100 * (estimate.deviation or 0)
            axes.errorbar(
                100 * estimate.mean,
                y + shift,
                xerr=error,
                fmt="D",
                markersize=5,
                color=colour,
                capsize=3,
                label=label,
            )
            label = None
            if row.cell.name == FULL:
                axes.axvline(100 * estimate.mean, color=colour, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(table)), [row.cell.label for row in table])
    axes.invert_yaxis()
    axes.set_xlabel("validation accuracy, %")
    figure.legend(loc="outside upper center", ncols=len(PHASES))
    save(figure, path)
