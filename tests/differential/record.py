"""The campaign's memory: which batches are done, and what they were, in a file of JSON."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from haarlequin import hw, models, sw
from haarlequin.models.common import stamps
from haarlequin.models.common.files import write_text
from tests.differential.case import Case
from tests.differential.compare import Comparisons, Verdict
from tests.differential.draw import kind

ALL = "golden"
"""The column of every pair: what the golden model says is what all others are compared with."""

KINDS = ("attention", "windows", "convolutions", "stages", "masks")


class Record:
    """What has been done with one seed.

    Arguments:
        path: the file. It is read if it is there, and written after every batch.
    """

    def __init__(self, path: Path):
        self._path = path
        self.batches: dict[str, dict[str, Any]] = (
            json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        )
        """By machine and number: counts of ``kinds`` and ``compared``, lines of ``failures``, and a hash of
        the ``sources`` that computed them.
        """
        self._sources = stamps.fingerprint(hw, models, sw)[:16]

    def add(self, name: str, case: Case, verdicts: dict[str, list[Verdict]], failures: list[str]) -> None:
        """Remember a batch."""
        self.batches[name] = {
            "kinds": Counter(kind(pair.config) for pair in case.pairs),
            "compared": {
                column: sum(verdict is not None for verdict in each) for column, each in verdicts.items()
            },
            "failures": failures,
            "sources": self._sources,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(self.batches, indent=1) + "\n")

    @property
    def says(self) -> str:
        """How much has been done, and how much of it with other sources than those of now."""
        new = {name: each for name, each in self.batches.items() if each["sources"] == self._sources}
        failures = len(self.failures) or "no"
        return (
            f"{self.pairs:,} pairs, {_pairs(new):,} of them with the sources as they are; {failures} failures"
        )

    @property
    def failures(self) -> list[str]:
        """One line for each failure."""
        return [line for batch in self.batches.values() for line in batch["failures"]]

    @property
    def pairs(self) -> int:
        """Pairs of a model and a machine that have been compared."""
        return _pairs(self.batches)

    def table(self) -> str:
        """How many pairs, by machine and kind of model, and how many went through each comparison."""
        rows: dict[str, Counter] = {}
        for name, batch in self.batches.items():
            row = rows.setdefault(name.rpartition("/")[0], Counter())
            row.update(batch["kinds"] | batch["compared"])
            row[ALL] += sum(batch["kinds"].values())
            row["failures"] += len(batch["failures"])
        columns = (*KINDS, ALL, *Comparisons.NAMES, "failures")
        total = sum(rows.values(), Counter())
        lines = [("machine", columns), *_cells(rows | {"all": total}, columns)]
        width = max(len(name) for name, _ in lines)
        return "\n".join(
            f"{name:<{width}}"
            + "".join(f"{cell:>{len(head) + 2}}" for cell, head in zip(cells, columns, strict=True))
            for name, cells in lines
        )


def _pairs(batches: dict[str, dict[str, Any]]) -> int:
    return sum(sum(batch["kinds"].values()) for batch in batches.values())


def _cells(rows: dict[str, Counter], columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    for name, row in rows.items():
        yield name, [f"{row[column]:,}" if row[column] else "–" for column in columns]
