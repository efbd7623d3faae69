"""Figures of a training run: its curve and its confusion matrix."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from haarlequin.models.common.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def empty(width: float, height: float) -> "Figure":
    """A figure of that size in inches."""
    # Imported here, because only now has the command chosen the folder of matplotlib's cache.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def curve(history: Sequence[dict], path: Path) -> None:
    """Loss and validation accuracy over the epochs, with a line where a phase begins."""
    figure = empty(8, 4.5)
    axes = figure.subplots()
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row["loss"] for row in history], color="tab:gray", label="loss")
    axes.set(xlabel="epoch", ylabel="training loss")
    right = axes.twinx()
    for name, label in (("validation", "validation"), ("validation_average", "validation, averaged weights")):
        if name in history[0]:
            right.plot(epochs, [100 * row[name] for row in history], label=label)
    right.set_ylabel("accuracy, %")
    for before, row in pairwise(history):
        if before["phase"] != row["phase"]:
            axes.axvline(before["epoch"] + 0.5, color="black", linestyle=":")
            axes.annotate(
                f" {row['phase']}", (before["epoch"] + 0.5, 1), xycoords=("data", "axes fraction"), va="top"
            )
    figure.legend(loc="outside lower center", ncols=3)
    save(figure, path)


def confusion(cells: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """Images by true class (rows) and predicted class (columns)."""
    count = len(classes)
    side = max(4.0, 0.5 * min(count, 40))
    figure = empty(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(cells, cmap="Blues")
    figure.colorbar(image, shrink=0.8)
    axes.set(xlabel="predicted", ylabel="true")
    if count <= 40:
        axes.set_xticks(range(count), classes, rotation=90)
        axes.set_yticks(range(count), classes)
        half = max(max(row) for row in cells) / 2
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                colour = "white" if cell > half else "black"
                axes.text(j, i, str(cell), ha="center", va="center", color=colour, fontsize=7)
    save(figure, path)


def save(figure: "Figure", path: Path) -> None:
    """Write ``figure`` as PNG."""
    with replacing(path) as draft:
        figure.savefig(draft, format="png", dpi=120)
