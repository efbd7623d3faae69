import random
from dataclasses import dataclass, replace

import pytest
import torch

from haarlequin.hw.ends.embedding import Embedding
from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import specs
from haarlequin.models.stages import Stem, parse
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
    positioned: bool = True


def shape(height, width, channels, stem, dim, widths=None):
    """A model whose stem is that word: p2 for patches of 2×2 pixels, /2 for a convolution of stride 2."""
    stem, stages = parse(f"{stem} c{dim}x1")
    return ModelConfig(
        name="bench",
        image=(height, width),
        channels=channels,
        mean=(0.0,) * channels,
        stem=stem,
        stages=stages,
        classes=("a", "b"),
        widths=widths or Widths(),
    )


def drawn(spec, generator):
    """A constant, half of it at the edges of its range."""
    edges = torch.tensor([spec.low, spec.high])[torch.randint(2, spec.shape, generator=generator)]
    values = torch.randint(spec.low, spec.high + 1, spec.shape, generator=generator)
    return torch.where(torch.rand(spec.shape, generator=generator) < 0.5, edges, values)


def model(config, seed, shift, positioned=None):
    """Images of either extreme, of noise and of almost nothing, of which every bit shows in the results.

    Patches have positions and convolutions have none, unless ``positioned`` says something else. There is
    noise in the table of positions either way.
    """
    generator = torch.Generator().manual_seed(seed)
    patches = replace(config, image=config.grid, stem=Stem(1))
    wanted = {n[10:]: spec for n, spec in specs(config).items() if n.startswith("embedding.")}
    wanted["position"] = specs(patches)["embedding.position"]
    constants = {name: drawn(spec, generator) for name, spec in wanted.items()}
    constants["shift"] = torch.tensor(shift)
    constants["a"][::2] = 1 + constants["a"][::2] % 3
    # Channels with the largest and the smallest of all sums, others with next to none.
    constants["weight"][:2] = -128
    constants["bias"][:2] = torch.tensor([wanted["bias"].high, wanted["bias"].low])[: config.dim]
    shown = min(2, config.dim - 1)  # a channel whose results are the image's
    for name, limit in (("bias", 8), ("b", 50), ("position", 50)):
        constants[name][..., shown::3] %= limit
    size = (1, *config.image, config.channels)
    images = [torch.zeros(size, dtype=torch.int64), torch.full(size, 255)]
    images += [torch.randint(256, size, generator=generator) for _ in range(2)]
    images.append(torch.randint(127, 130, size, generator=generator))
    return Model(config, constants, images, config.stem.patch > 0 if positioned is None else positioned)


def golden(model):
    """Values and number of saturations of each image."""
    config, c, results = model.config, model.constants, []
    stem = config.stem
    for pixels in model.images:
        if stem.patch:
            values = arithmetic.patches(pixels, stem.patch)
        else:
            values = arithmetic.neighbourhoods(pixels, stem.stride)
        with arithmetic.count_saturations() as counter:
            x = arithmetic.embedding(
                values,
                c["weight"],
                c["bias"],
                config.embedding_acc_shift,
                c["a"],
                c["b"],
                int(c["shift"]),
                c["position"] if model.positioned else 0,
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
        max(config.tokens * config.dim for config in configs),
        max(config.tokens * config.dim for config in configs),
    )


def sizes_of(config):
    """What stem and image look like, by the names of the embedding's ports and of the settings."""
    stem, line = config.stem, config.image[1] * config.channels
    return {
        "rows": config.grid[0],
        "columns": config.grid[1],
        "dim": config.dim,
        "patch": stem.kernel,
        "patch_bytes": stem.kernel * config.channels,
        "pixel_bytes": config.channels,
        "line_bytes": line,
        "step_bytes": stem.step * config.channels,
        "step_lines": stem.step * line,
        "padding": int(not stem.patch),
        "padding_end": int(not stem.patch and stem.stride == 1),
    }


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
            sizes = sizes_of(config) | {"positioned": int(model.positioned)}
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
    "digits": ((8, 8, 1, "p2", 8), 3),
    "RGB, not square": ((8, 12, 3, "p4", 7), 5),
    "whole groups": ((4, 4, 3, "p2", 6), 3),
    "groups as long as a patch": ((4, 6, 1, "p2", 9), 4),
    "more multipliers than taps": ((6, 4, 1, "p2", 11), 5),
    "more multipliers than channels": ((4, 2, 1, "p2", 3), 6),
    "patch of a grey pixel": ((3, 5, 1, "p1", 5), 2),
    "patch of an RGB pixel": ((5, 1, 3, "p1", 4), 4),
    "patch of the image": ((3, 3, 2, "p3", 5), 2),
    "everything one": ((1, 1, 1, "p1", 1), 1),
    "convolution": ((4, 4, 1, "/1", 5), 2),
    "convolution of an odd image in colour": ((3, 5, 3, "/1", 4), 3),
    "convolution of a column": ((5, 1, 1, "/1", 3), 4),
    "convolution of a row in colour": ((1, 4, 3, "/1", 2), 1),
    "convolution of a pixel": ((1, 1, 1, "/1", 3), 2),
    "stride 2": ((6, 6, 1, "/2", 4), 3),
    "stride 2, not square, in colour": ((4, 6, 3, "/2", 5), 2),
    "stride 2, a token": ((2, 2, 3, "/2", 3), 5),
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
    widths = Widths(wide=16, multiplier=12, bias=20, embedding_acc=18, embedding_shift=(0, 16))
    sizes = (4, 6, 1, "p2", 5), (5, 3, 3, "/1", 4), (6, 3, 3, "p3", 7), (4, 6, 1, "/2", 3), (2, 2, 2, "p1", 1)
    configs = [shape(*size, widths) for size in sizes]
    shifts = 0, 16, 13, 9, 3
    models = [
        model(config, seed, shift) for seed, (config, shift) in enumerate(zip(configs, shifts, strict=True))
    ]
    results = rtl(block_for(configs, 4), models, random.Random(1), stalls)
    assert [result[:2] for result in results] == [image for model in models for image in golden(model)]


@pytest.mark.parametrize(("stem", "positioned"), [("p2", False), ("/1", True), ("/2", True)])
def test_positions_are_a_setting_of_their_own(stem, positioned):
    config = shape(4, 6, 1, stem, 3)
    models = [model(config, 0, 10, positioned), model(config, 1, 10), model(config, 2, 10, positioned)]
    results = rtl(block_for([config], 2), models, random.Random(2), 0.3)
    assert [result[:2] for result in results] == [image for model in models for image in golden(model)]


SIZES = (
    "macs",
    "max_tokens",
    "max_channels",
    "max_patch_length",
    "max_pixels",
    "max_values",
    "max_positions",
)


@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
@pytest.mark.parametrize("argument", SIZES)
def test_a_size_that_is_none(argument, value):
    sizes = dict.fromkeys(SIZES, 1)
    with pytest.raises(ValueError, match=rf"Embedding {argument} must be a positive integer, not {value!r}"):
        Embedding(**sizes | {"widths": Widths(), argument: value})
