"""A case of the campaign: models, inputs and a machine, all of them in a few lines of JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from haarlequin.hw.config import AcceleratorConfig, AnyConfig
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.widths import Widths
from haarlequin.sim.simulate import Expected, expect
from tests.small_machines import MACHINES, SMALLEST

BLACK, WHITE = 0, 1
"""Images that have a number of their own; any other number is the seed of a random image."""

KNOWN: Mapping[str, AnyConfig] = MACHINES | {SMALLEST.name: SMALLEST} | CONFIGS
"""The machines that a case names; it lists the sizes of any other."""


@dataclass(frozen=True)
class Pair:
    """A model and the images that it gets."""

    config: ModelConfig
    constants: int
    """The seed of the constants, for `random_model`."""
    images: tuple[int, ...]
    plain: frozenset[str] = frozenset()
    """Parameters of the network that are all zero instead; the sign of a binary weight is then +1."""

    @cached_property
    def network(self) -> DIDBViT:
        """The network in deploy mode."""
        network = random_model(self.config, self.constants)
        with torch.no_grad():
            for name in self.plain:
                network.get_parameter(name).zero_()
        return network

    @cached_property
    def golden(self) -> GoldenModel:
        """The golden model."""
        return freeze(self.network)

    @cached_property
    def pixels(self) -> np.ndarray:
        """The images, uint8 (B, H, W, channels)."""
        return np.stack([self._image(number) for number in self.images])

    @cached_property
    def expected(self) -> list[Expected]:
        """Every tensor of each image, and its saturations."""
        return expect(self.golden, self.pixels)

    def _image(self, number: int) -> np.ndarray:
        shape = *self.config.image, self.config.channels
        if number in (BLACK, WHITE):
            return np.full(shape, 255 * number, np.uint8)
        return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


@dataclass(frozen=True)
class Case:
    """Pairs that a machine computes one after another, without a reset between them."""

    machine: AnyConfig | None
    """None for models that no machine runs."""
    pairs: tuple[Pair, ...]
    gaps: int = 0
    stalls: int = 0

    def with_(self, *pairs: Pair) -> "Case":
        """The same case with other pairs."""
        return replace(self, pairs=pairs)

    def to_json(self, **more: str) -> str:
        """The case as JSON, with more fields for people in front."""
        pairs = [
            {"model": pair.config.to_dict(), "constants": pair.constants, "images": pair.images}
            | ({"plain": sorted(pair.plain)} if pair.plain else {})
            for pair in self.pairs
        ]
        machine: Any = self.machine and self.machine.name
        if self.machine and KNOWN.get(self.machine.name) != self.machine:
            machine = asdict(self.machine)
        case = {"machine": machine, "gaps": self.gaps, "stalls": self.stalls, "pairs": pairs}
        return json.dumps(more | case, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Case":
        """The case that `to_json` wrote."""
        case = json.loads(path.read_text(encoding="utf-8"))
        machine = case["machine"]
        if isinstance(machine, dict):
            widths = {k: tuple(v) if isinstance(v, list) else v for k, v in machine["widths"].items()}
            machine = AcceleratorConfig(**machine | {"widths": Widths(**widths)})
        pairs = [
            Pair(
                ModelConfig.from_json(json.dumps(pair["model"])),
                pair["constants"],
                tuple(pair["images"]),
                frozenset(pair.get("plain", ())),
            )
            for pair in case["pairs"]
        ]
        known = KNOWN[machine] if isinstance(machine, str) else machine
        return cls(known, tuple(pairs), case["gaps"], case["stalls"])
