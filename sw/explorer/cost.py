"""The cost of an accelerator on an ECP5, from its sizes alone, so that hundreds can be compared.

Block RAMs and multipliers are counted by the rules with which they are made (`sizes.Sized`). LUT4 and
flip-flops are a sum of a few terms, whose factors are fitted to machines that were synthesised (`measure`),
by least squares of the relative errors. The clock is a guess, fitted to boards that were routed: the wires of
a larger machine are longer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from haarlequin.hw.common.ram_sizes import rams, shallow
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.sw.explorer.measure import Run, load

FITTED = ("lut4", "ff")
"""The resources whose numbers are fitted."""


def distributed(width: int, depth: int) -> int:
    """How many distributed RAMs of an ECP5 make a memory; none where it is made of block RAMs."""
    assert ECP5.distributed
    return rams(ECP5.distributed, width, depth) if shallow(width, depth) else 0


def _chunks_apart(machine: AcceleratorConfig) -> int:
    """Chunks of the sign memories that are memories of their own."""
    return (0, machine.chunks, machine.chunks + machine.chunks // 2)[machine.windows]


TERMS = {
    "alone": lambda c: 1,
    "a lane": lambda c: c.lanes,
    "a lane's bit": lambda c: c.lanes * c.width,
    "a bit of a word": lambda c: c.width,
    "a bit that V can take": lambda c: c.lanes * c.value_bits,
    "a lane with a third bank": lambda c: c.lanes * bool(c.bank_c),
    "a multiplier of the embedding": lambda c: c.macs,
    "a distributed RAM of windows": lambda c: _chunks_apart(c) * distributed(c.lanes, c.signs),
}
"""The terms that LUT4 and flip-flops are a sum of: functions of an `AcceleratorConfig`."""

ROUTES = {
    "6": ((17_834, 83.2), (35_520, 65.6), (49_301, 48.9)),
    "8": ((17_598, 98.0), (37_240, 88.1)),
}
"""LUT4 and MHz of machines that were routed (docs/boards.md), by the speed grade of the part."""


@dataclass(frozen=True)
class Factors:
    """The factors of `TERMS`, for each resource of `FITTED`."""

    values: dict[str, tuple[float, ...]]

    def of(self, resource: str, machine: AcceleratorConfig) -> int:
        """How many of a resource a machine takes."""
        terms = (term(machine) for term in TERMS.values())
        return round(sum(a * b for a, b in zip(self.values[resource], terms, strict=True)))


def fit(runs: Sequence[Run]) -> Factors:
    """The factors with the least squares of relative errors over all runs but those that are held out."""
    used = [run for run in runs if not run.held_out]
    terms = np.array([[term(run.machine) for term in TERMS.values()] for run in used], float)
    values = {}
    for resource in FITTED:
        counts = np.array([run.cells[resource] for run in used], float)
        factors, *_ = np.linalg.lstsq(terms / counts[:, None], np.ones(len(used)), rcond=None)
        values[resource] = tuple(factors.tolist())
    return Factors(values)


@cache
def factors() -> Factors:
    """The factors that the runs in the repository give."""
    return fit(load())


def error(run: Run, found: Factors, resource: str) -> float:
    """By how much the cost model is off for a run, as a share of what the run took."""
    return found.of(resource, run.machine) / run.cells[resource] - 1


def clock_mhz(lut4: float, speed: str) -> float:
    """The clock that a machine of so many LUT4 may reach on an ECP5 of this speed grade: a factor of the
    grade times a power of the LUT4 that all grades share, fitted to `ROUTES`, and its fastest at most.
    """
    routes = [(grade, *route) for grade, found in ROUTES.items() for route in found]
    terms = [[math.log(cells), *(float(grade == each) for each in ROUTES)] for grade, cells, _ in routes]
    (slope, *heights), *_ = np.linalg.lstsq(terms, np.log([mhz for *_, mhz in routes]), rcond=None)
    height = dict(zip(ROUTES, heights, strict=True))[speed]
    return min(max(mhz for _, mhz in ROUTES[speed]), math.exp(height + slope * math.log(max(1.0, lut4))))
