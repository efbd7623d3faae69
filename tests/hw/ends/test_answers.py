import random
from dataclasses import dataclass

import pytest

from haarlequin.hw.ends.answers import Answers
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 20
"""Cycles after the last word in which nothing more may come."""


@dataclass
class Image:
    tokens: int
    classes: int
    whole: bool
    logits: list[int]


def drawn(tokens, classes, whole, generator, wide=12):
    """An image whose logits are at the ends of their range, or small and often equal, or all alike."""
    low, high = -(1 << wide >> 1), (1 << wide >> 1) - 1
    kinds = (lambda: generator.choice((low, high)), lambda: generator.randint(max(low, -2), min(high, 2)))
    kinds += (lambda: generator.randint(low, high), lambda: low)
    rows = [generator.choice(kinds) for _ in range(tokens)]
    return Image(tokens, classes, whole, [kind() for kind in rows for _ in range(classes)])


def golden(image):
    """The words of an image."""
    n = image.classes
    rows = [image.logits[i : i + n] for i in range(0, len(image.logits), n)]
    bits = 16 if image.whole else 8
    numbers = image.logits if image.whole else [row.index(max(row)) for row in rows]
    each, words = 32 // bits, []
    for start in range(0, len(numbers), each):
        part = numbers[start : start + each]
        words.append(sum((number & (1 << bits) - 1) << bits * i for i, number in enumerate(part)))
    return words


def last_logits(image):
    """The number of the logit with which each word is complete."""
    count = len(image.logits)
    step = 2 if image.whole else 4 * image.classes
    return [min(start + step, count) - 1 for start in range(0, count, step)]


def rtl(block, images, generator, gaps=0.0, stalls=0.0, hoard=False):
    """The words of each image, and the cycles from the last logit of each to its coming out.

    With ``hoard`` nobody reads before all logits of an image have come.
    """
    results, wide = [], len(block.logits.p)

    async def testbench(context):
        for image in images:
            for name in ("tokens", "classes", "whole"):
                context.set(getattr(block, name), getattr(image, name))
            await context.tick()  # the counters look a cycle ahead
            results.append(await run(context, image))
        for _ in range(SILENCE):
            assert not context.get(block.words.valid), "a word too many"
            await context.tick()

    async def run(context, image):
        wanted, taken, given, came = len(golden(image)), [], [], []
        cycle, waiting = 0, None
        while len(given) < wanted:
            valid = len(taken) < len(image.logits) and generator.random() >= gaps
            everything = len(taken) == len(image.logits)
            ready = generator.random() >= stalls and (everything or not hoard)
            context.set(block.logits.valid, valid)
            garbage = generator.getrandbits(wide) - (1 << wide >> 1)
            context.set(block.logits.p, image.logits[len(taken)] if valid else garbage)
            context.set(block.words.ready, ready)
            offered = context.get(block.words.valid), context.get(block.words.p)
            assert waiting in (None, offered), "a word that was not taken moved"
            waiting = offered if offered[0] and not ready else None
            if offered[0] and ready:
                given.append(offered[1])
                came.append(cycle)
            if valid:
                taken.append(cycle)
            await context.tick()
            cycle += 1
        context.set(block.logits.valid, 0)
        assert len(taken) == len(image.logits)
        return given, [at - taken[last] for at, last in zip(came, last_logits(image), strict=True)]

    simulate(block, testbench)
    return results


SIZES = [(1, 1), (1, 3), (5, 1), (4, 2), (7, 5), (13, 11), (2, 256)]
"""Tokens, classes. Most do not fill their last word."""


def depth(images):
    return max(len(golden(image)) for image in images)


@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (0.6, 0), (0, 0.6), (0.5, 0.5)])
@pytest.mark.parametrize("sizes", SIZES)
def test_images_back_to_back(sizes, gaps, stalls):
    """Of both kinds, in any order."""
    generator = random.Random(1)
    images = [drawn(*sizes, whole, generator) for whole in (0, 0, 1, 1, 0, 1)]
    results = rtl(Answers(12, *sizes, depth(images)), images, generator, gaps, stalls)
    assert [words for words, _ in results] == [golden(image) for image in images]
    if not stalls:
        assert {cycles for _, each in results for cycles in each} == {Answers.LATENCY}


@pytest.mark.parametrize("sizes", SIZES)
def test_a_reader_that_waits_for_the_whole_image(sizes):
    """There is room for all of its words, and for no more."""
    generator = random.Random(2)
    for whole in (0, 1):
        images = [drawn(*sizes, whole, generator) for _ in range(3)]
        results = rtl(Answers(12, *sizes, depth(images)), images, generator, hoard=True)
        assert [words for words, _ in results] == [golden(image) for image in images]


@pytest.mark.parametrize("wide", [1, 9, 16])
def test_networks_of_several_shapes_without_a_reset(wide):
    """No size is the block's own but its largest."""
    generator = random.Random(wide)
    shapes = [(9, 3), (2, 11), (1, 1), (20, 2), (3, 5), (8, 4)]
    images = [drawn(*shape, generator.randrange(2), generator, wide) for shape in shapes * 2]
    results = rtl(Answers(wide, 21, 12, depth(images)), images, generator, 0.2, 0.3)
    assert [words for words, _ in results] == [golden(image) for image in images]


def test_of_equal_logits_the_first():
    """Also of the smallest ones, and whatever the token before had."""
    rows = [[5, 7, 7], [-8, -8, -8], [7, 6, 7], [-1, -1, 0], [3, 3, 2]]
    image = Image(5, 3, False, [logit for row in rows for logit in row])
    ((words, _),) = rtl(Answers(4, 5, 3, 2), [image], random.Random(0))
    assert words == [0x02_00_00_01, 0x00]


@pytest.mark.parametrize(
    ("argument", "value", "most"),
    [
        ("wide", 0, 16),
        ("wide", 17, 16),
        ("wide", "8", 16),
        ("max_classes", 0, 256),
        ("max_classes", 257, 256),
    ],
)
def test_sizes_that_no_word_holds(argument, value, most):
    sizes = {"wide": 12, "max_tokens": 4, "max_classes": 4, "depth": 4} | {argument: value}
    with pytest.raises(
        ValueError, match=rf"Answers {argument} must be an integer from 1 to {most}, not {value!r}"
    ):
        Answers(**sizes)
