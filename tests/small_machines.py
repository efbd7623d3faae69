"""Small accelerators, and random models that fit them: every shape and switch, quick to simulate."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.stages import ATTENTION, CONVOLUTION, MLP, Stage, Stem
from haarlequin.sw.compiler import Program, compile_model
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.resources import DoesNotFit, check_memories, check_shapes
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
    pixels=2 * 640,
    max_columns=32,
    max_tokens=64,
    max_keys=40,
    max_channels=48,
    max_patch_length=27,
    max_classes=5,
    answers=80,
    rows=256,
)

MACHINES: dict[str, AcceleratorConfig] = {
    machine.name: machine
    for machine in (
        # More tokens than a word of signs has bits, and more channels; heads that share tiles. Pairs of taps.
        replace(_SMALL, name="4x16", lanes=4, width=16, bank_c=128, macs=3),
        # Three chunks a word, the largest convolution.
        replace(_SMALL, name="6x18", lanes=6, width=18, theta=5, macs=5),
        # Eight chunks a word: windows of one tile and of two, pairs of taps, four merged tokens in a word.
        replace(_SMALL, name="3x24", lanes=3, width=24, bank_c=100, windows=1, macs=4),
        # A word a tile.
        replace(_SMALL, name="8x8", lanes=8, width=8, macs=8),
        # Everything in one word, of which a column of V takes two thirds, three tokens of two tiles all, and
        # two rows of three tokens of one tile, too.
        replace(
            _SMALL, name="6x36", lanes=6, width=36, windows=2, theta=1, macs=15, max_keys=24, max_channels=12
        ),
    )
}


SIMULATED = {"4x16": (0, 0), "3x24": (3, 4), "6x18": (9, 0), "8x8": (0, 12), "6x36": (5, 9)}
"""By the name of a machine, the gaps and stalls with which `simulated_programs` run on it in the tests."""


def simulated_programs(name: str) -> list[Program]:
    """The random models that the tests run on a machine, one after the other."""
    seed = len(name) + SIMULATED[name][0]
    return list(itertools.islice(random_programs(MACHINES[name], seed), 60))


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
    switches = {name: generator.random() < 0.7 for name in ("hfsc", "diba", "irprelu")}
    shared = switches | {
        "name": "random",
        "classes": tuple("abcde"[: generator.randint(2, 5)]),
        "mlp_ratio": generator.choice([1, 2, 4, 8]),
        "theta": generator.choice([theta for theta in (1, 3, 5) if theta <= machine.theta]),
        "widths": machine.widths,
    }
    if generator.random() < 0.9:
        return _random_stages(machine, generator, shared)
    patch, channels = generator.choice([(1, 1), (1, 3), (2, 1), (3, 3)])
    grid = [generator.randint(1, 7) for _ in range(2)]
    heads, d = generator.randint(1, 5), generator.randint(1, 24)
    return vit(
        image=(grid[0] * patch, grid[1] * patch),
        channels=channels,
        mean=(128.0,) * channels,
        patch=patch,
        dim=heads * d,
        heads=heads,
        layers=generator.randint(1, 2),
        **shared,
    )


def _random_stages(machine: AcceleratorConfig, generator: random.Random, shared: dict) -> ModelConfig:
    """A network of one to three stages. Where tokens are merged, its channels are multiples of the lanes."""
    merges = [False] + [generator.random() < 0.75 for _ in range(generator.choice([0, 1, 1, 1, 2]))]
    while 4 ** sum(merges) > machine.max_tokens:
        merges.pop()
    lanes, most = machine.lanes, machine.max_channels
    dim = generator.choice([generator.randint(1, 30), lanes, 2 * lanes, machine.width // 2])
    if any(merges):
        dim = lanes * generator.randint(1, min(4, most // lanes))
    factor = 1 << sum(merges)
    widest = min(machine.max_columns, machine.max_tokens // factor)
    columns = generator.randint(1, widest // factor) * factor
    grid = [generator.randint(1, machine.max_tokens // columns // factor) * factor, columns]
    stem = generator.choice([Stem(1), Stem(2), Stem(3), Stem(stride=1), Stem(stride=2)])
    image, channels = tuple(size * stem.step for size in grid), generator.choice([1, 3])
    stages = []
    for merge in merges:
        if merge:
            grid = [size // 2 for size in grid]
            dim *= generator.choice([times for times in (1, 2, 4, 8) if times * dim <= most])
        stages.append(_random_stage(generator, dim, grid, merge))
    return ModelConfig(
        image=image,
        channels=channels,
        mean=(128.0,) * channels,
        stem=stem,
        stages=tuple(stages),
        segmentation=generator.random() < 0.2,
        **shared,
    )


def _random_stage(generator: random.Random, dim: int, grid: list[int], merge: bool) -> Stage:
    rest = {"merge": merge, "token_offsets": generator.random() < 0.8}
    kind = generator.choice("cat")
    if kind == "c":
        return Stage(CONVOLUTION, dim, generator.randint(1, 3), **rest)
    heads = generator.choice([heads for heads in range(1, 6) if dim % heads == 0])
    sizes = [size for size in range(1, 7) if not any(side % size for side in grid)]
    window = generator.choice(sizes) if generator.random() < 0.3 else 0
    feed_forward = MLP if kind == "t" else CONVOLUTION
    return Stage(ATTENTION, dim, generator.randint(1, 2), heads, feed_forward, window=window, **rest)


def random_configs(
    machine: AcceleratorConfig,
    generator: random.Random,
    fits: Callable[[GoldenModel, AcceleratorConfig], bool] = fits,
) -> Iterator[tuple[ModelConfig, int]]:
    """Configurations without end that fit, as far as their sizes tell; each with a seed for its constants."""
    while True:
        config, constants = random_config(machine, generator), generator.randrange(1 << 30)
        if fits(GoldenModel.blank(config), machine):
            yield config, constants


def _fits_unscheduled(model: GoldenModel, machine: AcceleratorConfig) -> bool:
    """Whether a model fits, as far as is known without its schedule, which can make the program too long."""
    try:
        check_shapes(model, machine)
        check_memories(lower(model, machine))
    except DoesNotFit:
        return False
    return True


def random_programs(machine: AcceleratorConfig, seed: int) -> Iterator[Program]:
    """Models without end that fit, compiled; nothing has run them yet."""
    for config, constants in random_configs(machine, random.Random(seed), _fits_unscheduled):
        with suppress(DoesNotFit):
            yield compile_model(freeze(random_model(config, constants)), machine, check=False)
