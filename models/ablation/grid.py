"""The cells of a grid, which are compared. Each is a configuration.

There are three grids: the `PARTS` of a network, each left out or changed; `PILOTS`, networks of other stages;
and `BASELINES`, the same with the ways of other papers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import preset
from haarlequin.models.stages import MLP

FULL = "full"
"""Name of the cell that the others are compared with: the preset as it is."""

PARTS, PILOTS, BASELINES = "parts", "pilots", "baselines"

_PILOTS = (
    # for a 25F: 56 block RAMs at most, on 8×64
    "/2 c32x4 c64x6",
    "/2 c32x4 c64x3 a64x1",
    "/2 c32x6 c64x3 a64x1",
    "/2 c32x8 c64x1 a64x1",
    "/2 c32x4 c64x2 a64x2",
    "/2 c32x6 c32x2 a64x2",
    "/2 c32x4 c64x1 =a64x1h1",
    # for an 85F: 208, on 32×128 or 32×192
    "/2 c16x6 a64x3",
    "/2 c32x4 a64x3",
    "/2 c32x4 a128x3",
    "/2 c32x4 a128x5",
    "/2 c64x4 a128x4",
    "/2 c64x8 a128x2",
    "/2 c64x4 c128x3 =a128x2",
    "/2 c64x4 c128x3 a128x2",
)

_BASELINES = {
    "cifar10-hybrid": "convolutions, then DIDB-ViT",
    "cifar10-pyramid": "BinaryViT's pyramid",
    "cifar10-windows": "Swin's windows",
    "cifar10-convolutions": "ReActNet's convolutions",
    "cifar10-plain": "BiT's attention",
}
"""Presets, and what is compared: each has the image and the classes of the preset that is `FULL`."""


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
        """The phases in which it can be compared."""
        return ("float",) if self.config.pre_norm else ("float", "deploy")


def _candidates(config: ModelConfig, kind: str = PARTS) -> list[Cell]:
    """All cells of a grid, even those that change nothing in the preset."""
    cells = [Cell(FULL, FULL, config)]

    def add(name: str, label: str, **changes) -> None:
        cells.append(Cell(name, label, config.with_(**changes)))

    if kind == PILOTS:
        for stages in _PILOTS:
            add(stages.replace("/", "s").replace(" ", "-"), stages, stages=stages)
        return cells
    if kind == BASELINES:
        for name, label in _BASELINES.items():
            other = preset(name)
            parts = {part: getattr(other, part) for part in ("stem", "stages", "diba", "hfsc", "irprelu")}
            add(name, label, **parts)
        return cells

    add("no-diba", "−DIBA", diba=False)
    add("no-own", "−DIBA's own term", own="none")
    add("own-learned", "DIBA's own term learned", own="learned")
    add("no-hfsc", "−HFSC", hfsc=False)
    add("no-irprelu", "−IRPReLU", irprelu=False)
    add("none", "none of the three", diba=False, hfsc=False, irprelu=False)
    for alpha in (0.5, 0.7, 0.9, 1.0):
        add(f"alpha-{alpha}", f"α = {alpha}, frozen", alpha=alpha, alpha_learned=False)
    for theta in (1, 3, 5):
        add(f"theta-{theta}", f"θ = {theta}", theta=theta)
    if all(stage.feed_forward == MLP for stage in config.stages):
        add("pre-norm", "pre-norms", pre_norm=True)
    for wide in (12, 16):
        add(f"wide-{wide}", f"{wide}-bit wide tensors", widths=replace(config.widths, wide=wide))
    return cells


def grid(config: ModelConfig, kind: str = PARTS) -> list[Cell]:
    """The cells for a preset: `FULL` is first, and no two have the same configuration."""
    distinct: dict[ModelConfig, Cell] = {}
    for cell in _candidates(config, kind):
        distinct.setdefault(cell.config, cell)
    return list(distinct.values())


def choose(config: ModelConfig, names: Sequence[str] | None, kind: str = PARTS) -> list[Cell]:
    """The cells of these names, or all if ``names`` is None. Raises `UsageError` for an unknown name."""
    cells = grid(config, kind)
    if names is None:
        return cells
    known = [cell.name for cell in cells]
    own = {cell.name for cell in _candidates(config, kind)} - set(known)
    for name in names:
        if name in own:
            raise UsageError(f"{name} is what {config.name} has anyway: its cell is {FULL}")
        if name not in known:
            raise UsageError(f"no cell {name!r}: the cells are {', '.join(known)}")
    return [cell for cell in cells if cell.name in names]
