"""The cells of the grid, which are compared. Each is a configuration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig

FULL = "full"
"""Name of the cell that the others are compared with: the preset as it is."""


@dataclass(frozen=True)
class Cell:
    """A configuration of the grid, with its names."""

    name: str
    """Its name in files and on command lines."""
    label: str
    """Its name in tables and plots."""
    config: ModelConfig

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in which it is compared."""
        return ("float",) if self.config.pre_norm else ("float", "deploy")


def _candidates(config: ModelConfig) -> list[Cell]:
    """All cells of the grid, even those that change nothing in the preset."""
    cells = [Cell(FULL, FULL, config)]

    def add(name: str, label: str, **changes) -> None:
        cells.append(Cell(name, label, config.with_(**changes)))

    add("no-diba", "−DIBA", diba=False)
    add("no-hfsc", "−HFSC", hfsc=False)
    add("no-irprelu", "−IRPReLU", irprelu=False)
    add("none", "none of the three", diba=False, hfsc=False, irprelu=False)
    for alpha in (0.5, 0.7, 0.9, 1.0):
        add(f"alpha-{alpha}", f"α = {alpha}, frozen", alpha=alpha, alpha_learned=False)
    for theta in (1, 3, 5):
        add(f"theta-{theta}", f"θ = {theta}", theta=theta)
    add("pre-norm", "pre-norms", pre_norm=True)
    for wide in (12, 16):
        add(f"wide-{wide}", f"{wide}-bit wide tensors", widths=replace(config.widths, wide=wide))
    return cells


def grid(config: ModelConfig) -> list[Cell]:
    """The cells for a preset: `FULL` is first, and no two have the same configuration."""
    distinct: dict[ModelConfig, Cell] = {}
    for cell in _candidates(config):
        distinct.setdefault(cell.config, cell)
    return list(distinct.values())


def choose(config: ModelConfig, names: Sequence[str] | None) -> list[Cell]:
    """The cells of these names, or all if ``names`` is None. Raises `UsageError` for an unknown name."""
    cells = grid(config)
    if names is None:
        return cells
    known = [cell.name for cell in cells]
    own = {cell.name for cell in _candidates(config)} - set(known)
    for name in names:
        if name in own:
            raise UsageError(f"{name} is what {config.name} has anyway: its cell is {FULL}")
        if name not in known:
            raise UsageError(f"no cell {name!r}: the cells are {', '.join(known)}")
    return [cell for cell in cells if cell.name in names]
