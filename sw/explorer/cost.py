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

ROUTES = ((17_731, 60.5), (34_378, 63.3), (35_905, 63.6), (49_301, 48.9), (58_379, 43.9), (60_213, 43.8))
"""LUT4 and MHz of machines that were routed on a ULX3S (docs/boards.md)."""

FASTEST = 65.0
"""MHz that no machine is expected to exceed, however small: its block RAMs answer after 6 ns."""


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


def clock_mhz(lut4: float) -> float:
    """The clock that a machine of so many LUT4 may reach on a ULX3S: a power of their number, fitted to
    `ROUTES` beyond 30,000, and `FASTEST` at most.
    """
    large = np.log([route for route in ROUTES if route[0] > 30_000])
    slope, height = np.polyfit(large[:, 0], large[:, 1], 1)
    return min(FASTEST, math.exp(height + slope * math.log(max(1.0, lut4))))
