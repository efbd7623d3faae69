"""The accelerators that may compute a model on a board, what each costs, and which of them is best."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tqdm import tqdm

from haarlequin.hw.boards.board import Board
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.common.errors import ConfigError
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.resources import DoesNotFit, check_operations, multipliers
from haarlequin.sw.explorer import cost
from haarlequin.sw.explorer.sizes import Choice, sized

LANES = (8, 12, 16, 24, 32, 48, 64)
WIDTHS = (32, 48, 64, 96, 128, 144, 192, 256, 288, 384, 512, 576)
"""Bits of a word that are tried."""

ROUTABLE = {"lut4": 0.8, "ff": 0.8}
"""The share of a part's resources beyond which no design has found its places and wires yet: 77 % of an
OrangeCrab's LUT4 did; for 87 % of an 85F's flip-flops, nextpnr looked for places in vain for 20 minutes."""


@dataclass(frozen=True)
class Point:
    """An accelerator for a model, on one board."""

    choice: Choice
    machine: AcceleratorConfig
    cycles: int
    busy: float
    """The share of the bit products that the lanes could make in these cycles, and that the model needs."""
    cells: Mapping[str, int]
    clock_mhz: float
    lacks: tuple[str, ...]
    """The resources of which the board has too few; none if it fits."""

    @property
    def images_per_second(self) -> float:
        """At the clock that is guessed."""
        return 1e6 * self.clock_mhz / self.cycles


def choices() -> Iterator[Choice]:
    """Every choice that an `AcceleratorConfig` may be made of: a word has an even number of chunks."""
    for lanes in LANES:
        for width in WIDTHS:
            if width % (2 * lanes) == 0:
                for windows in (0, 1, 2):
                    for third in (True, False):
                        yield Choice(lanes, width, third, windows)


def explore(model: GoldenModel, board: Board, clock_mhz: float | None = None) -> list[Point]:
    """Every accelerator that can compute a model, the fastest first. Those whose windows win no cycle are
    left out.

    Raises `DoesNotFit` for a model with an operation that no accelerator has, or that none can compute.
    """
    check_operations(model.config)
    found: list[Point] = []
    reason = None
    for choice in tqdm(list(choices()), unit=" machines", disable=None, leave=False):
        try:
            found.append(_point(model, choice, board, clock_mhz))
        except (ConfigError, DoesNotFit) as error:
            reason = error
    if not found:
        raise DoesNotFit(f"no lanes and words can compute {model.config.name}; the last one says: {reason}")
    cycles = {point.choice: point.cycles for point in found}
    useful = [point for point in found if not point.choice.windows or _gains(point, cycles)]
    return sorted(useful, key=lambda point: (-point.images_per_second, point.cells["lut4"]))


def _gains(point: Point, cycles: Mapping[Choice, int]) -> bool:
    choice = point.choice
    return point.cycles < cycles[replace(choice, windows=choice.windows - 1)]


def _point(model: GoldenModel, choice: Choice, board: Board, clock_mhz: float | None) -> Point:
    made = sized(model, choice)
    cells = {name: cost.factors().of(name, made.machine) for name in cost.FITTED}
    cells |= {"bram": made.block_rams, "dsp": multipliers(made.machine)}
    limits = {name: count * ROUTABLE.get(name, 1) for name, count in board.capacity.items()}
    lacks = tuple(name for name, count in cells.items() if count > limits[name])
    clock = clock_mhz or cost.clock_mhz(cells["lut4"], board.platform.speed)
    return Point(choice, made.machine, made.cycles, made.busy, cells, clock, lacks)


def front(points: Iterable[Point]) -> list[Point]:
    """The points than which no other one has as few LUT4 and more images in a second, the smallest first."""
    result: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cells["lut4"], -point.images_per_second)):
        if not result or point.images_per_second > result[-1].images_per_second:
            result.append(point)
    return result


def best(points: Iterable[Point]) -> Point | None:
    """The fastest point that fits the board; of some that are as fast within a hundredth, the smallest."""
    fitting = [point for point in points if not point.lacks]
    if not fitting:
        return None
    most = max(point.images_per_second for point in fitting)
    near = [point for point in fitting if point.images_per_second >= 0.99 * most]
    return min(near, key=lambda point: point.cells["lut4"])
