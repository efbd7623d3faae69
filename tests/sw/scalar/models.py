"""Random models of the shapes that the scalar machine takes."""

import random
from collections.abc import Iterator

from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model


def random_config(generator: random.Random) -> ModelConfig:
    """A small shape, with any switch."""
    patch, channels = generator.choice([(1, 1), (1, 3), (2, 1), (2, 2)])
    rows, columns = generator.choice([(1, 1), (1, 5), (3, 2), (4, 4), (2, 7), (3, 5)])
    heads, own = generator.choice([(1, 16), (2, 16), (1, 32), (2, 32)])
    return vit(
        name="random",
        image=(rows * patch, columns * patch),
        channels=channels,
        mean=(128.0,) * channels,
        patch=patch,
        dim=heads * own,
        heads=heads,
        layers=generator.randint(1, 2),
        classes=tuple("abcde"[: generator.randint(2, 5)]),
        mlp_ratio=generator.choice([1, 2, 4]),
        theta=generator.choice([1, 3, 5]),
        hfsc=generator.random() < 0.7,
        diba=generator.random() < 0.7,
        irprelu=generator.random() < 0.7,
    )


def random_models(seed: int) -> Iterator[GoldenModel]:
    """Models without end."""
    generator = random.Random(seed)
    while True:
        yield freeze(random_model(random_config(generator), generator.randrange(1 << 30)))
