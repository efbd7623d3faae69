"""The smallest accelerator with given lanes and words that computes a model."""

import math
from dataclasses import dataclass, replace
from typing import Any

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.models.stages import ATTENTION
from haarlequin.sw import answers
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.passes import Lowered
from haarlequin.sw.compiler.resources import check_shapes, embedding_cycles, ideal_cycles, memories
from haarlequin.sw.compiler.schedule import schedule

ROOMY = 1 << 18
"""Words of each memory of the machine for which a model is first compiled: more than any model takes."""

_FIELDS = {
    "weights": "weights",
    "constants": "constants",
    "local": "local",
    "tokens": "tokens",
    "program": "program",
    "bank A": "bank_a",
    "bank B": "bank_b",
    "bank C": "bank_c",
    "rows": "rows",
    "positions": "positions",
}
"""The field of a configuration for each memory that a compiled model decides; signs are the larger of two."""


@dataclass(frozen=True)
class Choice:
    """The sizes of an accelerator that are chosen; the model decides the rest."""

    lanes: int
    width: int
    """K, bits of a word."""
    third: bool = True
    """Whether it has a third bank, for partial sums."""
    windows: int = 0
    """In how many of the sign memories a word may hold three tokens of a row."""

    @property
    def name(self) -> str:
        """Lanes × bits, with ``w`` for each memory of windows, and ``s`` for partial sums in bank A."""
        return f"{self.lanes}x{self.width}" + "w" * self.windows + "s" * (not self.third)


@dataclass(frozen=True)
class Sized:
    """An accelerator that was made for a model, and the cycles of an image on it."""

    machine: AcceleratorConfig
    cycles: int
    """From one image's beginning to the next one's: those of the lanes, or of the embedding beside them."""
    block_rams: int
    """Block RAMs of an ECP5 that its memories take."""
    busy: float
    """The share of the bit products that the lanes could make in these cycles, and that the model needs."""


def sized(model: GoldenModel, choice: Choice) -> Sized:
    """The accelerator with the fewest words in each memory, and the fewest multipliers of the embedding
    with which that is no slower than the lanes.

    Raises `ConfigError` or `DoesNotFit` for lanes and words with which the model cannot be computed.
    """
    machine = _roomy(model, choice)
    check_shapes(model, machine)
    for _ in range(2):  # the widths of addresses, which the first round makes smaller, decide on the program
        lowered = lower(model, machine)
        schedule(lowered)
        machine = _shrunk(lowered)
    cycles = sum(item["cycles"] for item in lowered.passes)
    slower = (macs for macs in range(1, 257) if _embedding(model, machine, macs) <= cycles)
    machine = replace(machine, macs=next(slower, 256))
    cycles = max(cycles, _embedding(model, machine, machine.macs))
    blocks = sum(memory.blocks() for memory in memories(replace(lowered, machine=machine)))
    return Sized(machine, cycles, blocks, ideal_cycles(model.config, machine) / cycles)


def _embedding(model: GoldenModel, machine: AcceleratorConfig, macs: int) -> int:
    return embedding_cycles(model.config, replace(machine, macs=macs))


def _roomy(model: GoldenModel, choice: Choice) -> AcceleratorConfig:
    config = model.config
    keys = [place.config.tokens for place in config.places if place.config.stage.kind == ATTENTION]
    memory = dict.fromkeys(("weights", "constants", "local", "tokens", "bank_a", "bank_b"), ROOMY)
    values = math.prod(config.grids[0]) * config.stages[0].dim
    return AcceleratorConfig(
        name=choice.name,
        lanes=choice.lanes,
        width=choice.width,
        **memory,
        signs=ROOMY,
        program=ROOMY,
        rows=ROOMY,
        bank_c=ROOMY if choice.third else 0,
        windows=choice.windows,
        pixels=2 * math.prod(config.image) * config.channels,
        max_columns=max(columns for _, columns in config.grids),
        max_tokens=max(place.config.tokens for place in config.places),
        max_keys=max(keys, default=1),
        max_channels=max(stage.dim for stage in config.stages),
        max_values=values,
        max_patch_length=config.patch_length,
        max_classes=len(config.classes),
        answers=answers.words(config, whole=False) if config.segmentation else 0,
        theta=config.theta if config.diba and keys else 1,
        widths=config.widths,
    )


def _shrunk(lowered: Lowered) -> AcceleratorConfig:
    """The machine with as many words in each memory as the model uses."""
    used = {memory.name: memory.used for memory in memories(lowered)}
    words: dict[str, Any]
    words = {field: max(1, used[name]) for name, field in _FIELDS.items() if name in used}
    if not lowered.machine.bank_c:
        words["bank_c"] = 0
    words["bank_b"] = 1 << (words["bank_b"] - 1).bit_length()
    return replace(lowered.machine, signs=max(1, used["signs 0"], used["signs 1"]), **words)
