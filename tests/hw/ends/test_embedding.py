import random
from dataclasses import dataclass

import pytest
import torch

from haarlequin.hw.ends.embedding import Embedding
from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import specs
from haarlequin.models.widths import Widths
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 20
"""Cycles after an image in which nothing more may come."""


@dataclass
class Model:
    config: ModelConfig
    constants: dict[str, torch.Tensor]
    images: list[torch.Tensor]
    """Pixels (1, H, W, channels)."""


def shape(height, width, channels, patch, dim, widths=None):
    return vit(
        name="bench",
        image=(height, width),
        channels=channels,
        mean=(0.0,) * channels,
        patch=patch,
        dim=dim,
        heads=1,
        layers=1,
        classes=("a", "b"),
        widths=widths or Widths(),
    )


def drawn(spec, generator):
    """A constant, half of it at the edges of its range."""
    edges = torch.tensor([spec.low, spec.high])[torch.randint(2, spec.shape, generator=generator)]
    values = torch.randint(spec.low, spec.high + 1, spec.shape, generator=generator)
    return torch.where(torch.rand(spec.shape, generator=generator) < 0.5, edges, values)


def model(config, seed, shift):
    """Images of either extreme, of noise and of almost nothing, of which every bit shows in the results."""
    generator = torch.Generator().manual_seed(seed)
    wanted = {n[10:]: spec for n, spec in specs(config).items() if n.startswith("embedding.")}
    constants = {name: drawn(spec, generator) for name, spec in wanted.items()}
    constants["shift"] = torch.tensor(shift)
    constants["a"][::2] = 1 + constants["a"][::2] % 3
    # Channels with the largest and the smallest of all sums, others with next to none.
    constants["weight"][:2] = -128
    constants["bias"][:2] = torch.tensor([wanted["bias"].high, wanted["bias"].low])[: config.dim]
    for name, limit in (("bias", 8), ("b", 50), ("position", 50)):
        constants[name][..., 2::3] %= limit
    size = (1, *config.image, config.channels)
    images = [torch.zeros(size, dtype=torch.int64), torch.full(size, 255)]
    images += [torch.randint(256, size, generator=generator) for _ in range(2)]
    return Model(config, constants, [*images, torch.randint(127, 130, size, generator=generator)])


def golden(model):
    """Values and number of saturations of each image."""
    config, c, results = model.config, model.constants, []
    for pixels in model.images:
        with arithmetic.count_saturations() as counter:
            x = arithmetic.embedding(
                arithmetic.patches(pixels, config.patch),
                c["weight"],
                c["bias"],
                config.embedding_acc_shift,
                c["a"],
                c["b"],
                int(c["shift"]),
                c["position"],
                config.widths.wide,
            )
        results.append((x.flatten().tolist(), counter.clipped))
    return results


def block_for(configs, macs):
    """As small as these models and two images of theirs allow."""
    return Embedding(
        macs,
        configs[0].widths,
        max(config.tokens for config in configs),
        max(config.dim for config in configs),
        max(config.patch_length for config in configs),
        2 * max(config.image[0] * config.image[1] * config.channels for config in configs),
    )


def tables(block, model):
    """(port, address, word) of everything a model is, padded channels full of noise."""
    c, macs, dim = model.constants, block.macs, model.config.dim
    for address, (bias, a, b) in enumerate(zip(c["bias"], c["a"], c["b"], strict=True)):
        yield block.constants, address, {"bias": int(bias), "a": int(a), "b": int(b)}
    for address, position in enumerate(c["position"].flatten().tolist()):
        yield block.positions, address, position
    groups = [c["weight"][start : start + macs] for start in range(0, dim, macs)]
    words = [[*tap, *[-77] * (macs - len(tap))] for group in groups for tap in group.T.tolist()]
    for address, word in enumerate(words):
        yield block.weights, address, word


def rtl(block, models, generator, stalls):
    """Values, saturations, cycles of each image of each model; the next image is written while one runs."""
    results = []

    async def write(context, port, address, word):
        context.set(port.addr, address)
        context.set(port.data, word)
        context.set(port.en, 1)

    async def testbench(context):
        async def load(words):
            for port, address, word in words:
                await write(context, port, address, word)
                await context.tick()
                context.set(port.en, 0)

        for model in models:
            config = model.config
            size = config.image[0] * config.image[1] * config.channels
            stored = [
                [(block.pixels, (i % 2) * size + j, byte) for j, byte in enumerate(pixels.flatten().tolist())]
                for i, pixels in enumerate(model.images)
            ]
            sizes = {"rows": config.grid[0], "columns": config.grid[1], "patch": config.patch}
            sizes |= {"patch_bytes": config.patch * config.channels, "dim": config.dim}
            sizes |= {"line_bytes": config.image[1] * config.channels}
            sizes |= {"acc_shift": config.embedding_acc_shift, "shift": int(model.constants["shift"])}
            for name, value in sizes.items():
                context.set(getattr(block, name), value)
            await load(tables(block, model))
            await load(stored[0])
            for i in range(len(model.images)):
                context.set(block.image, (i % 2) * size)
                coming = iter(stored[i + 1] if i + 1 < len(stored) else [])
                results.append(await image(context, coming))

    async def image(context, coming):
        values, cycles, waiting, done = [], 0, None, False
        context.set(block.start, 1)
        assert not context.get(block.busy)
        while not done:
            if word := next(coming, None):
                await write(context, *word)
            # A consumer that always stalls takes nothing before it is offered.
            ready = generator.random() >= (
                stalls if stalls < 1 or not context.get(block.values.valid) else 0.5
            )
            context.set(block.values.ready, ready)
            valid, value, done = (
                context.get(s) for s in (block.values.valid, block.values.payload, block.done)
            )
            assert waiting in (None, (valid, value)), "a value that was not taken moved"
            waiting = (valid, value) if valid and not ready else None
            if valid and ready:
                values.append(value)
            await context.tick()
            context.set(block.pixels.en, 0)
            context.set(block.start, 0)
            assert context.get(block.busy) != done
            cycles += 1
        clipped = context.get(block.clipped)
        for _ in range(generator.choice([0, SILENCE])):
            assert [context.get(s) for s in (block.values.valid, block.busy, block.done)] == [0, 0, 0]
            assert context.get(block.clipped) == clipped
            await context.tick()
        return values, clipped, cycles - 1

    simulate(block, testbench)
    return results


CASES = {
    "digits": ((8, 8, 1, 2, 8), 3),
    "RGB, not square": ((8, 12, 3, 4, 7), 5),
    "whole groups": ((4, 4, 3, 2, 6), 3),
    "groups as long as a patch": ((4, 6, 1, 2, 9), 4),
    "more multipliers than taps": ((6, 4, 1, 2, 11), 5),
    "more multipliers than channels": ((4, 2, 1, 2, 3), 6),
    "patch of a grey pixel": ((3, 5, 1, 1, 5), 2),
    "patch of an RGB pixel": ((5, 1, 3, 1, 4), 4),
    "patch of the image": ((3, 3, 2, 3, 5), 2),
    "everything one": ((1, 1, 1, 1, 1), 1),
}


@pytest.mark.parametrize("stalls", [0, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_images_back_to_back(case, stalls):
    sizes, macs = CASES[case]
    config = shape(*sizes)
    models = [model(config, seed, shift) for seed, shift in enumerate((14, 4, 20))]
    results = rtl(block_for([config], macs), models, random.Random(0), stalls)
    assert [result[:2] for result in results] == [image for model in models for image in golden(model)]
    cycles = Embedding.cycles(macs, config.tokens, config.patch_length, config.dim)
    for result in results:
        assert result[2] >= cycles if stalls else result[2] == cycles


@pytest.mark.parametrize("stalls", [0, 1])
def test_models_of_several_shapes_without_a_reset(stalls):
    """No size is the block's own but its largest; widths at their ends, a shift of nothing."""
    widths = Widths(wide=16, multiplier=12, bias=20, embedding_acc=18, embedding_shift=(0, 24))
    configs = [shape(*sizes, widths) for sizes in ((4, 6, 1, 2, 5), (6, 3, 3, 3, 7), (2, 2, 2, 1, 1))]
    models = [model(config, *seeds) for config, *seeds in zip(configs, (1, 2, 3), (0, 13, 24), strict=True)]
    results = rtl(block_for(configs, 4), models, random.Random(1), stalls)
    assert [result[:2] for result in results] == [image for model in models for image in golden(model)]


@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
@pytest.mark.parametrize("argument", ["macs", "max_tokens", "max_channels", "max_patch_length", "max_pixels"])
def test_a_size_that_is_none(argument, value):
    sizes = {"macs": 1, "max_tokens": 1, "max_channels": 1, "max_patch_length": 1, "max_pixels": 1}
    with pytest.raises(ValueError, match=rf"Embedding {argument} must be a positive integer, not {value!r}"):
        Embedding(**sizes | {"widths": Widths(), argument: value})
