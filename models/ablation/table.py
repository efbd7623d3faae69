"""From results to one table."""

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haarlequin.models.ablation.grid import FULL, Cell
from haarlequin.models.common.files import replacing

PHASES = {"float": "float phase", "deploy": "deploy mode"}


@dataclass(frozen=True)
class Estimate:
    """What a few numbers say, one a seed."""

    mean: float
    deviation: float | None
    """Standard deviation; None of a single number."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate | None":
        """None of nothing."""
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, len(values))

    @property
    def error(self) -> float | None:
        """Standard error of the mean."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.count)

    def shows(self, pooled: float | None) -> bool:
        """Whether the mean lies beyond two standard errors of 0, its own and that of the ``pooled``
        deviation; never so for a single number.
        """
        if self.deviation is None or pooled is None:
            return False
        return abs(self.mean) > 2 * max(self.deviation, pooled) / math.sqrt(self.count)


@dataclass(frozen=True)
class Row:
    """A cell with its accuracies by phase and seed, as shares."""

    cell: Cell
    accuracy: Mapping[str, Mapping[int, float]]

    def estimate(self, phase: str) -> Estimate | None:
        """Of the accuracy."""
        return Estimate.of(list(self.accuracy[phase].values()))

    def difference(self, full: "Row", phase: str) -> Estimate | None:
        """Of what it has more than ``full`` with the same seed; None for `FULL` itself."""
        if self.cell.name == FULL:
            return None
        mine, others = self.accuracy[phase], full.accuracy[phase]
        return Estimate.of([mine[seed] - others[seed] for seed in mine if seed in others])


def rows(cells: Sequence[Cell], results: Sequence[Mapping]) -> list[Row]:
    """A row for each cell that has a result."""
    found = []
    for cell in cells:
        own = sorted((r for r in results if r["cell"] == cell.name), key=lambda r: r["seed"])
        if own:
            accuracy = {
                phase: {r["seed"]: r["accuracy"][phase] for r in own if phase in r["accuracy"]}
                for phase in PHASES
            }
            found.append(Row(cell, accuracy))
    return found


def pooled_deviation(table: Sequence[Row], phase: str) -> float | None:
    """Of the differences to `FULL`, of all cells together; None without seeds to compare.

    A few seeds tell little of how far they spread: of three, one mean in five lies beyond two of its own
    standard errors by mere chance. All cells together tell more.
    """
    full = _full(table)
    found = [row.difference(full, phase) for row in table] if full else []
    several = [estimate for estimate in found if estimate and estimate.deviation is not None]
    if not several:
        return None
    freedom = [estimate.count - 1 for estimate in several]
    squares = sum(n * e.deviation**2 for n, e in zip(freedom, several, strict=True))
    return math.sqrt(squares / sum(freedom))


def markdown(table: Sequence[Row]) -> str:
    """The table for a page; percent, the differences in points, those that show in bold."""
    full = _full(table)
    pooled = {phase: pooled_deviation(table, phase) for phase in PHASES}
    heads = [""]
    for name in PHASES.values():
        heads += [f"{name}, %", "against full"]
    lines = [[*heads, "seeds"], ["---", *["---:"] * (2 * len(PHASES) + 1)]]
    for row in table:
        cells = [row.cell.label]
        for phase in PHASES:
            difference = full and row.difference(full, phase)
            cells += [_percent(row.estimate(phase)), _points(difference, pooled[phase])]
        lines.append([*cells, str(len(row.accuracy["float"]))])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _full(table: Sequence[Row]) -> Row | None:
    return next((row for row in table if row.cell.name == FULL), None)


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    spread = "" if estimate.deviation is None else f" ± {100 * estimate.deviation:.1f}"
    return f"{100 * estimate.mean:.1f}{spread}"


def _points(estimate: Estimate | None, pooled: float | None) -> str:
    if estimate is None:
        return "–"
    error = "" if estimate.error is None else f" ± {100 * estimate.error:.1f}"
    mean = round(100 * estimate.mean, 1) + 0.0  # which makes 0 of −0
    text = f"{mean:+.1f}{error}".replace("-", "−")
    return f"**{text}**" if estimate.shows(pooled) else text


def write_csv(table: Sequence[Row], path: Path) -> None:
    """The same as numbers, shares of 1; what there is not stays empty."""
    full = _full(table)
    lines = []
    for row in table:
        line: dict[str, object] = {"cell": row.cell.name, "seeds": len(row.accuracy["float"])}
        for phase in PHASES:
            own, more = row.estimate(phase), full and row.difference(full, phase)
            line |= {
                f"{phase}_mean": own and own.mean,
                f"{phase}_deviation": own and own.deviation,
                f"{phase}_difference": more and more.mean,
                f"{phase}_difference_error": more and more.error,
            }
        lines.append(line)
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
