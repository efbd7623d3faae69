import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from haarlequin.hw.ends.embedding import Embedding
from haarlequin.hw.ends.images import Images
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.widths import Widths
from tests.hw.bench import simulate
from tests.hw.ends.test_embedding import golden, shape, sizes_of, tables
from tests.hw.ends.test_embedding import model as drawn_model

pytestmark = pytest.mark.slow

SILENCE = 20
"""Cycles after the last image in which nothing more may come."""


def machine(lanes, macs, configs):
    """As small as these models allow."""
    channels = max(config.dim for config in configs)
    tokens = max(config.tokens for config in configs)
    words = tokens * -(-channels // lanes)
    return replace(
        CONFIGS["2x64"],
        lanes=lanes,
        width=2 * lanes,
        macs=macs,
        bank_b=2 << (words - 1).bit_length(),
        pixels=2 * max(size_of(config) for config in configs),
        max_tokens=tokens,
        max_channels=channels,
        max_columns=max(config.grid[1] for config in configs),
        max_patch_length=max(config.patch_length for config in configs),
        widths=configs[0].widths,
    )


def size_of(config):
    """Bytes of an image."""
    return config.image[0] * config.image[1] * config.channels


def settings_of(model):
    config = model.config
    return {
        **sizes_of(config),
        "tokens": config.tokens,
        "positions": int(model.positioned),
        "embedding_acc_shift": config.embedding_acc_shift,
        "embedding_shift": int(model.constants["shift"]),
    }


class Host:
    """Writes and commits the images of a model as there is room, a byte a cycle and at times none."""

    def __init__(self, block, model, generator, gaps):
        self.block, self.generator, self.gaps = block, generator, gaps
        self.left = [pixels.flatten().tolist() for pixels in model.images]
        self.written = 0

    def cycle(self, context):
        pixels, half = self.block.pixels, self.block.config.pixels // 2
        context.set(pixels.en, 0)
        context.set(self.block.commit, 0)
        room = context.get(self.block.room) and self.left
        if not room or self.generator.random() < self.gaps:
            return
        if self.written == len(self.left[0]):
            context.set(self.block.commit, 1)
            self.left, self.written = self.left[1:], 0
            return
        context.set(pixels.en, 1)
        context.set(pixels.addr, half * context.get(self.block.half) + self.written)
        context.set(pixels.data, self.left[0][self.written])
        self.written += 1


class Repeat:
    """Commits the image that was committed last so many times more."""

    def __init__(self, block, count):
        self.block, self.left = block, count

    def cycle(self, context):
        commit = self.left and context.get(self.block.room)
        context.set(self.block.commit, commit)
        self.left -= commit


class Layers:
    """Bank B, and the program that takes an image as soon as it can, for ``lengths`` (low, high) cycles."""

    def __init__(self, block, model, generator, stalls, lengths):
        self.block, self.config, self.generator = block, model.config, generator
        self.stalls, self.lengths = stalls, lengths
        self.bank, self.results = {}, []
        self.left, self.began, self.waiting = None, False, None

    def cycle(self, context):
        """One cycle of the layers: begin or end, and a word of x."""
        get, block = context.get, self.block
        if self.began:
            self.region, self.began = get(block.region), False
            self.x = self.image()
        done = self.left == 0
        begin = get(block.waiting) and (self.left is None or done)
        context.set(block.done, done)
        context.set(block.begin, begin)
        if done:
            assert self.image() == self.x, "x was written over while the lanes used it"
            self.results.append((self.x, self.clipped))
        if begin:
            self.clipped, self.left, self.began = (
                get(block.clipped),
                self.generator.randint(*self.lengths),
                True,
            )
        elif done:
            self.left = None
        elif self.left is not None:
            self.left -= 1
        self.take(context)

    def take(self, context):
        """A word of x, where the lanes do not write themselves."""
        get, block = context.get, self.block
        valid, address, word = get(block.valid), get(block.address), list(get(block.word))
        # A bank that always stalls takes nothing before it is offered.
        ready = self.generator.random() >= (self.stalls if self.stalls < 1 or not valid else 0.5)
        context.set(block.ready, ready)
        assert self.waiting in (None, (valid, address, word)), "a word that was not taken moved"
        self.waiting = (valid, address, word) if valid and not ready else None
        if valid and ready:
            self.bank[address] = word

    def image(self):
        """x of the region at hand, channel after channel of token after token."""
        tokens, lanes = self.config.tokens, self.block.config.lanes
        base = self.region * self.block.config.bank_b // 2
        places = [(m, *divmod(c, lanes)) for m in range(tokens) for c in range(self.config.dim)]
        return [self.bank[base + tile * tokens + m][lane] for m, tile, lane in places]


def rtl(block, models, generator, gaps=0.0, stalls=0.0, lengths=(0, 0), again=0):
    """x and saturations of each image of each model, and of the model's last image ``again`` times more."""
    results = []

    async def testbench(context):
        macs = block.config.macs
        ports = SimpleNamespace(
            macs=macs, weights=block.weights, constants=block.constants, positions=block.positions
        )
        for model in models:
            context.set(block.settings, settings_of(model))
            for port, address, word in tables(ports, model):
                context.set(port.addr, address)
                context.set(port.data, word)
                context.set(port.en, 1)
                await context.tick()
                context.set(port.en, 0)
            host = Host(block, model, generator, gaps)
            layers = Layers(block, model, generator, stalls, lengths)
            while len(layers.results) < len(model.images):
                host.cycle(context)
                layers.cycle(context)
                await context.tick()
            context.set(block.again, 1)
            repeat = Repeat(block, again)
            while len(layers.results) < len(model.images) + again:
                repeat.cycle(context)
                layers.cycle(context)
                await context.tick()
            context.set(block.again, 0)
            results.extend(layers.results)
            for _ in range(SILENCE):
                host.cycle(context)
                layers.cycle(context)
                names = ("valid", "waiting", "busy", "room")
                assert [context.get(getattr(block, name)) for name in names] == [0, 0, 0, 1]
                await context.tick()

    simulate(block, testbench, 40_000)
    return results


CASES = {  # image, channels, stem, dim; lanes, macs
    "a word of all lanes": ((4, 4, 1, "p2", 5), 5, 2),
    "lanes without a channel": ((4, 6, 1, "p2", 3), 4, 3),
    "words, the last one of a channel": ((4, 2, 3, "p2", 7), 3, 2),
    "whole words": ((3, 5, 1, "p1", 6), 2, 3),
    "a lane": ((2, 3, 1, "p1", 3), 1, 2),
    "a token": ((2, 2, 1, "p2", 7), 2, 1),
    "everything one": ((1, 1, 1, "p1", 1), 1, 1),
    "a convolution": ((3, 5, 3, "/1", 5), 2, 4),
    "a convolution of stride 2": ((4, 6, 1, "/2", 6), 3, 2),
}


@pytest.mark.parametrize(
    ("gaps", "stalls", "lengths"),
    [(0, 0, (0, 0)), (0.2, 0.5, (0, 150)), (0, 1, (2, 9))],
)
@pytest.mark.parametrize("case", CASES)
def test_images_one_behind_the_other(case, gaps, stalls, lengths):
    """Where the host, the bank, the embedding or the program holds the others up."""
    sizes, lanes, macs = CASES[case]
    config = shape(*sizes)
    model = drawn_model(config, macs, 14)
    block = Images(machine(lanes, macs, [config]))
    assert rtl(block, [model], random.Random(0), gaps, stalls, lengths) == golden(model)


@pytest.mark.parametrize("stalls", [0, 0.5])
def test_models_of_several_shapes_without_a_reset(stalls):
    widths = Widths(wide=16, multiplier=12, bias=20, embedding_acc=18, embedding_shift=(0, 24))
    sizes = (4, 6, 1, "p2", 5), (3, 5, 1, "/1", 4), (6, 3, 3, "p3", 7), (4, 2, 3, "/2", 3), (2, 2, 2, "p1", 1)
    configs, shifts = [shape(*size, widths) for size in sizes], (0, 3, 13, 9, 24)
    models = [
        drawn_model(config, i, shift) for i, (config, shift) in enumerate(zip(configs, shifts, strict=True))
    ]
    block = Images(machine(3, 4, configs))
    results = rtl(block, models, random.Random(1), 0.1, stalls, (0, 150), again=3)
    wanted = map(golden, models)
    assert results == [image for images in wanted for image in [*images, *images[-1:] * 3]]


@pytest.mark.parametrize("case", CASES)
def test_an_image_takes_no_longer_than_its_embedding(case):
    """Even where every value is a word of its own."""
    sizes, lanes, macs = CASES[case]
    config = shape(*sizes)
    first, block = drawn_model(config, 0, 10), Images(machine(lanes, macs, [config]))

    async def testbench(context):
        context.set(block.settings, settings_of(first))
        context.set(block.ready, 1)
        context.set(block.commit, 1)
        cycles = 0
        while not context.get(block.waiting):
            await context.tick()
            context.set(block.commit, 0)
            cycles += 1
        expected = Embedding.cycles(macs, config.tokens, config.patch_length, config.dim)
        assert cycles == expected + Images.LATENCY

    simulate(block, testbench)


def test_two_images_and_no_more_wait_for_the_program():
    """A third one is embedded, and a fifth written, only once the program is done with the first."""
    first = drawn_model(shape(2, 2, 1, "p1", 2), 0, 10)
    block = Images(machine(2, 1, [first.config]))
    enough = 80  # cycles for an image to be embedded

    async def testbench(context):
        get = context.get
        context.set(block.settings, settings_of(first))
        context.set(block.ready, 1)

        async def strobe(*names):
            for name in names:
                context.set(getattr(block, name), 1)
            await context.tick()
            for name in names:
                context.set(getattr(block, name), 0)

        async def rest():
            """The states that the block comes to rest in."""
            await context.tick().repeat(enough)
            return tuple(get(getattr(block, name)) for name in ("room", "waiting", "busy", "half"))

        await strobe("commit")
        await strobe("commit")
        assert not get(block.room), "both halves are full"
        assert await rest() == (1, 1, 0, 0)
        await strobe("begin")
        region = get(block.region)
        await strobe("commit")
        assert await rest() == (1, 1, 0, 1), "the third one has no region"
        await strobe("commit")
        assert await rest() == (0, 1, 0, 0)
        await strobe("done", "begin")
        assert get(block.region) != region
        assert get(block.busy) == 0
        await context.tick()
        assert get(block.busy), "the third one is embedded where the first was"
        while not get(block.waiting):
            if get(block.valid):
                assert get(block.address) >> len(block.address) - 1 == region
            await context.tick()
        assert await rest() == (1, 1, 0, 0)
        await strobe("done", "begin")
        assert get(block.region) == region
        assert await rest() == (1, 1, 0, 0)
        await strobe("done", "begin")
        await strobe("done")
        assert await rest() == (1, 0, 0, 0)

    simulate(block, testbench)


def test_no_image_is_embedded_while_tables_are_on_their_way():
    first = drawn_model(shape(2, 2, 1, "p1", 2), 0, 10)
    block = Images(machine(2, 1, [first.config]))

    async def testbench(context):
        context.set(block.settings, settings_of(first))
        context.set(block.hold, 1)
        context.set(block.commit, 1)
        await context.tick()
        context.set(block.commit, 0)
        for _ in range(9):
            assert not context.get(block.busy)
            await context.tick()
        context.set(block.hold, 0)
        await context.tick()
        assert context.get(block.busy)

    simulate(block, testbench)
