"""What the campaign goes through: machines, known ones first and then new ones, and models for each."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count, islice

from haarlequin.hw.config import AcceleratorConfig, AnyConfig, ScalarConfig
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import OWN_TERMS, ModelConfig
from haarlequin.models.golden import GoldenModel, specs
from haarlequin.models.stages import CONVOLUTION, Stage
from haarlequin.models.widths import Widths
from haarlequin.sw.targets import fits
from tests.differential.case import BLACK, WHITE, Case, Pair
from tests.small_machines import MACHINES, SMALLEST, random_config, random_configs
from tests.sw.scalar.models import random_config as scalar_config

BATCH = 40
"""Pairs that go through a machine in one simulation, at most."""

FEWER: Mapping[str, int] = {"scalar": 4, SMALLEST.name: 12}
"""The same where an image takes hundreds of thousands of cycles, or few of the drawn models fit."""

FIRST: tuple[AnyConfig | None, ...] = (*MACHINES.values(), None, CONFIGS["scalar"], SMALLEST)
"""The machines of every round."""


def units(seed: int) -> Iterator[tuple[AnyConfig | None, int]]:
    """Machines with the number of a batch, without end: every round but the first has one machine more."""
    machines = list(FIRST)
    for number in count():
        if number:
            machines.append(random_machine(f"{seed}/{number}"))
        yield from ((machine, number) for machine in machines)


def batch(machine: AnyConfig | None, seed: int, number: int, pairs: int = BATCH) -> Case:
    """A batch of pairs, the same for the same seed and number. Models of most batches are small: these take
    a second each, and a large one as long as ten of them.
    """
    name = machine.name if machine else "none"
    generator = random.Random(f"{seed}/{name}/{number}")
    pairs = min(pairs, FEWER.get(name, pairs))
    if machine is None:
        most = generator.choice([500, 1000, 2000, 8000])
        configs = (config for config in unlimited_configs(generator) if size(config) <= most)
        made = [(config, generator.randrange(1 << 30)) for config in islice(configs, pairs)]
    elif isinstance(machine, ScalarConfig):
        made = [(scalar_config(generator), generator.randrange(1 << 30)) for _ in range(pairs)]
    else:
        most = max(400, generator.choice([8, 8, 15, 30, 120]) * machine.lanes * machine.width)
        made = list(islice(random_configs(machine, generator, limited(most)), pairs))
    images = [tuple(_image(generator) for _ in range(generator.choice([1, 2]))) for _ in made]
    gaps, stalls = (generator.choice([0, 0, generator.randint(1, 12)]) for _ in range(2))
    return Case(machine, tuple(Pair(*m, i) for m, i in zip(made, images, strict=True)), gaps, stalls)


def _image(generator: random.Random) -> int:
    return generator.choice([BLACK, WHITE, *[generator.randint(2, 1 << 30)] * 6])


def size(config: ModelConfig) -> int:
    """How many constants a model of that configuration has."""
    return sum(math.prod(spec.shape) for spec in specs(config).values())


def limited(most: int) -> Callable[[GoldenModel, AcceleratorConfig], bool]:
    """Whether a model has at most so many constants, and fits. Where the compiler fails, it may: the
    comparison will say how.
    """

    def may_fit(model: GoldenModel, machine: AcceleratorConfig) -> bool:
        if size(model.config) > most:
            return False
        try:
            return fits(model, machine)
        except Exception:  # noqa: BLE001 (any failure of the compiler is what the campaign looks for)
            return True

    return may_fit


def kind(config: ModelConfig) -> str:
    """The kind of a model, for the table."""
    if config.segmentation:
        return "masks"
    if len(config.stages) > 1:
        return "stages"
    (stage,) = config.stages
    if stage.kind == CONVOLUTION:
        return "convolutions"
    return "windows" if stage.window else "attention"


def _windows(generator: random.Random) -> int:
    """In how many of its sign memories a machine has windows."""
    drawn = generator.random()
    return 0 if drawn >= 0.5 else 1 if drawn >= 0.25 else 2


def random_machine(seed: str) -> AcceleratorConfig:
    """An accelerator of any legal sizes and widths, small enough to be built in minutes."""
    generator = random.Random(seed)
    base = MACHINES["4x16"]
    while True:
        lanes = generator.choice([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16])
        # About 96 and 192 bits: three times the channels of a convolution.
        chunks = generator.choice([*[generator.randint(1, 12)] * 3, 96 // lanes, 192 // lanes])
        memories = ("weights", "constants", "local", "tokens", "signs", "bank_a", "program", "rows")
        sizes = {name: round(getattr(base, name) * generator.uniform(0.5, 1)) for name in memories}
        try:
            machine = replace(
                base,
                name=f"{lanes}x{lanes * chunks}",
                lanes=lanes,
                width=lanes * chunks,
                windows=_windows(generator) if chunks >= 3 else 0,
                macs=generator.randint(1, 12),
                theta=generator.choice([1, 3, 5]),
                max_columns=generator.randint(4, 32),
                max_tokens=generator.randint(16, 64),
                max_keys=generator.choice([0, generator.randint(4, 16)]),
                max_channels=generator.randint(16, 48),
                answers=generator.choice([0, 80]),
                widths=random_widths(generator),
                **sizes,
            )
        except ConfigError:
            continue
        if machine.width <= 96 or chunks == 192 // lanes:
            return replace(machine, name=f"{machine.name}-{machine.digest:08x}")


def random_widths(generator: random.Random) -> Widths:
    """Widths that differ from the usual ones, half of the time."""
    if generator.random() < 0.5:
        return Widths()

    def window(bits: int) -> tuple[int, int]:
        low = generator.randint(0, 4)
        return low, low + generator.randint(1, 16 - bits)

    wide, multiplier, slope = generator.randint(12, 16), generator.randint(7, 12), generator.randint(5, 8)
    return Widths(
        wide=wide,
        fraction=wide - generator.randint(2, 6),
        multiplier=multiplier,
        bias=generator.randint(wide, min(20, wide + 4)),
        affine_shift=window(multiplier),
        slope=slope,
        slope_shift=window(slope),
        offset=generator.randint(6, wide),
        score_weight=generator.randint(4, 8),
        exp_index=generator.randint(2, 8),
        exp=generator.randint(4, 12),
        exp_step=generator.choice([0.0625, 0.125, 0.25, 0.5]),
        threshold=generator.randint(6, 16),
        local_shift=generator.randint(1, 3),
        embedding_acc=generator.randint(10, 18),
        feature_fraction=generator.randint(1, 7),
    )


def unlimited_configs(generator: random.Random) -> Iterator[ModelConfig]:
    """Models with anything that a model can have, whether or not a machine has it."""
    while True:
        config = random_config(generator.choice(list(MACHINES.values())), generator)
        stages = [_shifted(stage) if generator.random() < 0.5 else stage for stage in config.stages]
        if len(stages) > 1 and stages[-1].merge and generator.random() < 0.3:  # to fewer channels
            dim = 4 * stages[-2].dim // generator.choice([2, 4, 8])
            stages[-1] = replace(stages[-1], dim=max(1, dim), heads=1)
        try:
            yield replace(
                config,
                stages=tuple(stages),
                own=generator.choice(OWN_TERMS),
                widths=random_widths(generator),
                alpha_learned=generator.random() < 0.5,
            )
        except ConfigError:
            continue


def _shifted(stage: Stage) -> Stage:
    """The stage with shifted windows, if it has windows that can be shifted."""
    return replace(stage, shifted=True) if stage.window and stage.window % 2 == 0 else stage
