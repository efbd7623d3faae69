"""The table of an ablation, made from the results of its trials."""

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
    """Mean and spread of a few numbers, one per seed."""

    mean: float
    deviation: float | None
    """Standard deviation; None for a single number."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Estimate | None":
        """The estimate from ``values``; None where there are none."""
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), deviation, len(values))

    @property
    def error(self) -> float | None:
        """Standard error of the mean."""
        return None if self.deviation is None else self.deviation / math.sqrt(self.count)

    def shows(self, pooled: float | None) -> bool:
        """Whether the mean is more than two standard errors away from 0, both its own and the one of the
        ``pooled`` deviation; False for a single number.
        """
        if self.deviation is None or pooled is None:
            return False
        return abs(self.mean) > 2 * max(self.deviation, pooled) / math.sqrt(self.count)


@dataclass(frozen=True)
class Row:
    """A cell with its accuracies, 0 to 1, by phase and seed."""

    cell: Cell
    accuracy: Mapping[str, Mapping[int, float]]

    def estimate(self, phase: str) -> Estimate | None:
        """The estimate of its accuracy; None without any."""
        return Estimate.of(list(self.accuracy[phase].values()))

    def difference(self, full: "Row", phase: str) -> Estimate | None:
        """The estimate of its accuracy minus that of ``full``, seed by seed; None for `FULL` itself."""
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
    """Standard deviation of the differences to `FULL`, pooled over all cells; None without seeds to compare.

    A few seeds say little about their own spread: with three, one mean in five is beyond two of its own
    standard errors by mere chance. All cells together say more.
    """
    full = _full(table)
    found = [row.difference(full, phase) for row in table] if full else []
    several = [(e.count - 1, e.deviation) for e in found if e and e.deviation is not None]
    if not several:
        return None
    squares = sum(freedom * deviation**2 for freedom, deviation in several)
    return math.sqrt(squares / sum(freedom for freedom, _ in several))


def markdown(table: Sequence[Row]) -> str:
    """The table in Markdown, in percent. Differences are in percentage points, and bold where
    `Estimate.shows` is true.
    """
    full = _full(table)
    pooled = {phase: pooled_deviation(table, phase) for phase in PHASES}
    heads = [""]
    for name in PHASES.values():
        heads += [f"{name}, %", "against full"]
    lines = [[*heads, "seeds"], ["---", *["---:"] * (2 * len(PHASES) + 1)]]
    for row in table:
        cells = [row.cell.label]
        for phase in PHASES:
            difference = row.difference(full, phase) if full else None
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
    mean = round(100 * estimate.mean, 1) + 0.0  # turns −0 into 0
    text = f"{mean:+.1f}{error}".replace("-", "−")
    return f"**{text}**" if estimate.shows(pooled) else text


def write_csv(table: Sequence[Row], path: Path) -> None:
    """Write the table as numbers from 0 to 1; a value that does not exist stays empty."""
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
