"""Small accelerators, and random models that fit them: every shape and switch, quick to simulate."""

import random
from collections.abc import Iterator
from dataclasses import replace

from haarlequin.hw.config import CONFIGS, AcceleratorConfig
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.sw.targets import fits

_SMALL = replace(
    CONFIGS["2x64"],
    weights=4096,
    constants=2048,
    local=256,
    tokens=512,
    signs=1024,
    bank_a=1024,
    bank_b=512,
    program=4096,
    pixels=2 * 400,
    max_columns=7,
    max_tokens=40,
    max_channels=48,
    max_patch_length=27,
    max_classes=5,
    rows=256,
)

MACHINES: dict[str, AcceleratorConfig] = {
    machine.name: machine
    for machine in (
        # More tokens than a word of signs has bits, and more channels; heads that share tiles.
        replace(_SMALL, name="4x16", lanes=4, width=16, macs=3),
        # Three chunks a word, the largest convolution, few slots for constants.
        replace(_SMALL, name="6x18", lanes=6, width=18, theta=5, slots=3, macs=5),
        # A word a tile.
        replace(_SMALL, name="8x8", lanes=8, width=8, macs=8),
        # Everything in one tile and one word, of which a column of V takes two thirds.
        replace(_SMALL, name="24x72", lanes=24, width=72, theta=1, macs=15, max_channels=24),
    )
}


SMALLEST = replace(
    _SMALL,
    name="2x8",
    lanes=2,
    width=8,
    weights=64,
    constants=128,
    local=16,
    tokens=32,
    signs=32,
    bank_a=64,
    bank_b=64,
    program=384,
    macs=2,
    pixels=2 * 4,
    max_columns=4,
    max_tokens=4,
    max_channels=4,
    max_patch_length=1,
    max_classes=2,
    rows=8,
    theta=1,
    slots=4,
)
"""As few gates as an accelerator can be: for what takes long for each of them."""

SMALLEST_MODEL = vit(
    name="random",
    image=(2, 2),
    channels=1,
    mean=(128.0,),
    patch=1,
    dim=4,
    heads=1,
    layers=1,
    classes=("a", "b"),
    mlp_ratio=1,
    theta=1,
)


def random_config(machine: AcceleratorConfig, generator: random.Random) -> ModelConfig:
    """A shape, not necessarily one that fits."""
    patch, channels = generator.choice([(1, 1), (1, 3), (2, 1), (3, 3)])
    grid = [generator.randint(1, machine.max_columns) for _ in range(2)]
    heads, d = generator.randint(1, 5), generator.randint(1, 24)
    return vit(
        name="random",
        image=(grid[0] * patch, grid[1] * patch),
        channels=channels,
        mean=(128.0,) * channels,
        patch=patch,
        dim=heads * d,
        heads=heads,
        layers=generator.randint(1, 2),
        classes=tuple("abcde"[: generator.randint(2, 5)]),
        mlp_ratio=generator.choice([1, 2, 4, 8]),
        theta=generator.choice([theta for theta in (1, 3, 5) if theta <= machine.theta]),
        hfsc=generator.random() < 0.7,
        diba=generator.random() < 0.7,
        irprelu=generator.random() < 0.7,
    )


def random_models(machine: AcceleratorConfig, seed: int) -> Iterator[GoldenModel]:
    """Models without end that fit."""
    generator = random.Random(seed)
    while True:
        model = freeze(random_model(random_config(machine, generator), generator.randrange(1 << 30)))
        if fits(model, machine):
            yield model
