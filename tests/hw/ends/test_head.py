import random
from dataclasses import dataclass

import pytest
import torch

from haarlequin.hw.ends.head import Head
from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig, vit
from haarlequin.models.golden import FEATURE_BITS, specs
from haarlequin.models.widths import Widths
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 20
"""Cycles after the last logit in which nothing more may come."""


@dataclass
class Model:
    config: ModelConfig
    constants: dict[str, torch.Tensor]
    x: torch.Tensor
    """(images, N, C)."""


def shape(tokens, dim, classes, widths=None):
    names = tuple(f"class {k}" for k in range(classes))
    return vit(
        name="bench",
        image=(1, tokens),
        channels=1,
        mean=(0.0,),
        patch=1,
        dim=dim,
        heads=1,
        layers=1,
        classes=names,
        widths=widths or Widths(),
    )


def model(config, seed, shift, images=4):
    """Half of the constants at the edges of their ranges; images that are all of one extreme, and others."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(low, high, size):
        edges = torch.tensor([low, high])[torch.randint(2, size, generator=generator)]
        values = torch.randint(low, high + 1, size, generator=generator)
        return torch.where(torch.rand(size, generator=generator) < 0.5, edges, values)

    wanted = {name[5:]: spec for name, spec in specs(config).items() if name.startswith("head.")}
    constants = {name: drawn(spec.low, spec.high, spec.shape) for name, spec in wanted.items()}
    constants["shift"] = torch.tensor(shift)
    # Small enough not to saturate everything.
    constants["b"][::2] %= 100
    limit = 1 << (config.widths.wide - 1)
    x = torch.randint(-limit, limit, (images, config.tokens, config.dim), generator=generator)
    x[0], x[1] = -limit, limit - 1
    return Model(config, constants, x)


def golden(model):
    """Logits and saturations of each image."""
    c, results = model.constants, []
    for x in model.x:
        with arithmetic.count_saturations() as counter:
            pooled = arithmetic.pool(x)
            logits = arithmetic.head(
                pooled, c["a"], c["b"], int(c["shift"]), c["weight"], c["bias"], FEATURE_BITS
            )
        results.append((logits.tolist(), counter.clipped))
    return results


def tables(block, model):
    """(port, address, word) of everything a model is."""
    c = model.constants
    for address, (a, b) in enumerate(zip(c["a"].tolist(), c["b"].tolist(), strict=True)):
        yield block.constants, address, {"a": a, "b": b}
    for port, name in ((block.weights, "weight"), (block.biases, "bias")):
        for address, word in enumerate(c[name].flatten().tolist()):
            yield port, address, word


def rtl(block, models, generator, gaps=0.0, stalls=0.0):
    """Logits and saturations of each image of each model, and the cycles from its last sum to each logit."""
    results = []

    async def testbench(context):
        for model in models:
            config = model.config
            sizes = {"dim": config.dim, "classes": len(config.classes)}
            for name, value in (sizes | {"shift": int(model.constants["shift"])}).items():
                context.set(getattr(block, name), value)
            for port, address, word in tables(block, model):
                context.set(port.addr, address)
                context.set(port.data, word)
                context.set(port.en, 1)
                await context.tick()
                context.set(port.en, 0)
            await run(context, config, [x.sum(0).tolist() for x in model.x])

    async def run(context, config, images):
        """The images, each as soon as the block takes it."""
        sums = [total for image in images for total in image]
        taken, given, last_sums, waiting, cycle = 0, [], [], None, 0
        clipped, silent = [], 0
        while silent < SILENCE:
            valid = taken < len(sums) and generator.random() >= gaps
            # A consumer that always stalls takes nothing before it is offered.
            ready = generator.random() >= (
                stalls if stalls < 1 or not context.get(block.logits.valid) else 0.5
            )
            context.set(block.sums.valid, valid)
            context.set(block.sums.payload, sums[taken] if valid else generator.getrandbits(12))
            context.set(block.logits.ready, ready)
            offered = context.get(block.logits.valid), context.get(block.logits.payload)
            assert waiting in (None, offered), "a logit that was not taken moved"
            waiting = offered if offered[0] and not ready else None
            if offered[0] and ready:
                given.append((cycle, offered[1]))
                clipped.append(context.get(block.clipped))
            if valid and context.get(block.sums.ready):
                taken += 1
                if taken % config.dim == 0:
                    last_sums.append(cycle)
            everything = taken == len(sums) and len(given) >= len(config.classes) * len(images)
            silent += everything
            await context.tick()
            cycle += 1
        size = len(config.classes)
        assert len(given) == size * len(images)
        for i, last in enumerate(last_sums):
            part = given[i * size : (i + 1) * size]
            [count] = set(clipped[i * size : (i + 1) * size])
            results.append(([value for _, value in part], count, [at - last for at, _ in part]))

    simulate(block, testbench)
    return results


CASES = [(1, 1, 2), (4, 1, 3), (5, 2, 2), (64, 13, 10), (7, 8, 5), (196, 5, 3)]
"""Tokens, channels, classes."""


@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.5, 0), (0, 0.7), (0.5, 0.5)])
@pytest.mark.parametrize("sizes", CASES)
def test_images_back_to_back(sizes, gaps, stalls):
    config = shape(*sizes)
    models = [model(config, seed, shift) for seed, shift in enumerate((4, 14, 17, 20))]
    results = rtl(Head(Widths(), *sizes), models, random.Random(0), gaps, stalls)
    assert [result[:2] for result in results] == [image for model in models for image in golden(model)]
    dim, classes = sizes[1:]
    for *_, cycles in results:
        exact = [Head.cycles(dim, k + 1) for k in range(classes)]
        if stalls:
            assert all(spent >= least for spent, least in zip(cycles, exact, strict=True))
        else:
            assert cycles == exact


@pytest.mark.parametrize("stalls", [0, 1])
def test_models_of_several_shapes_without_a_reset(stalls):
    """No size is the block's own but its largest; widths at their ends, a shift of nothing."""
    widths = Widths(wide=16, multiplier=12, bias=20, head_shift=(0, 24))
    configs = [shape(*sizes, widths) for sizes in ((9, 3, 7), (2, 11, 2), (1, 1, 2))]
    models = [model(config, *seeds) for config, *seeds in zip(configs, (1, 2, 3), (20, 18, 0), strict=True)]
    results = rtl(Head(widths, 9, 11, 7), models, random.Random(1), 0.2, stalls)
    assert [result[:2] for result in results] == [image for model in models for image in golden(model)]


@pytest.mark.parametrize("value", [0, -3, 2.0, "4"])
@pytest.mark.parametrize("argument", ["max_tokens", "max_channels", "max_classes"])
def test_a_size_that_is_none(argument, value):
    sizes = {"max_tokens": 1, "max_channels": 1, "max_classes": 1}
    with pytest.raises(ValueError, match=rf"Head {argument} must be a positive integer, not {value!r}"):
        Head(**sizes | {"widths": Widths(), argument: value})


@pytest.mark.parametrize("sizes", [(0, 0), (4, 3)])
def test_no_logit_comes_before_a_sum(sizes):
    block = Head(Widths(), 4, 4, 3)

    async def testbench(context):
        context.set(block.dim, sizes[0])
        context.set(block.classes, sizes[1])
        context.set(block.logits.ready, 1)
        for _ in range(SILENCE):
            assert not context.get(block.logits.valid)
            await context.tick()

    simulate(block, testbench)
