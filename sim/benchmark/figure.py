"""A figure, and the mark that it is to reach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SIMULATED_SECONDS = 1.0
"""Seconds for an image of `MODEL` in the simulator, with every tensor compared, on two cores."""

MODEL = "cifar10-tiny"
"""The model that the marks of speed are about, with 114 million products of bits for an image."""


@dataclass(frozen=True)
class Mark:
    """The goal of a figure: at least ``limit``, or less than that where it is ``below``."""

    limit: float
    below: bool = False
    words: str = ""
    """The limit for a person, by default as a number."""

    def met(self, value: float) -> bool:
        """Whether a figure reaches it."""
        return value < self.limit if self.below else value >= self.limit

    def __str__(self) -> str:
        return f"{'<' if self.below else '≥'} {self.words or f'{self.limit:,.0f}'}"


@dataclass(frozen=True)
class Figure:
    """One figure: its name in the JSON file and for people, its value, and that as text."""

    key: str
    name: str
    value: float
    text: str
    mark: Mark | None = None
    of: float | None = None
    """How many there are, of which the value is a part."""

    def as_json(self) -> dict[str, Any]:
        """The value, with its mark if it has one."""
        found: dict[str, Any] = {"value": self.value}
        if self.of is not None:
            found["of"] = self.of
        if self.mark:
            kind = "below" if self.mark.below else "at_least"
            found["mark"] = {kind: self.mark.limit, "met": self.mark.met(self.value)}
        return found


def table(figures: Sequence[Figure]) -> str:
    """The figures, each on a line with its mark."""
    lines = []
    for each in figures:
        line = f"  {each.name:<36}{each.text:>22}"
        if each.mark:
            line += f"   {each.mark}: {'met' if each.mark.met(each.value) else 'missed'}"
        lines.append(line)
    return "\n".join(lines)


def rate(images: float) -> str:
    """Images in a second, as text."""
    return f"{images:,.0f}" if images >= 100 else f"{images:,.1f}"
