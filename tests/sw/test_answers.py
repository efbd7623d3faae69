"""The words of a result, as `sw/answers.py` knows them and as the accelerator's memories have them."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.link.identity import Memory
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.settings import SETTINGS_WORD, settings_layout
from haarlequin.models.common.errors import UsageError
from haarlequin.models.presets import preset
from haarlequin.sw import answers
from haarlequin.sw.table_folder import Compiled

MACHINE = replace(CONFIGS["16x64"], name="mine", answers=1024)


def network(rows, columns, classes, segmentation=True):
    """A configuration with that grid and number of classes."""
    names = tuple(f"class {i}" for i in range(classes))
    return preset("cifar10-nano").with_(
        name="net", image=(4 * rows, 4 * columns), patch=4, classes=names, segmentation=segmentation
    )


def packed(numbers, bits):
    """The words of some numbers, the first one lowest: what the accelerator sends, in plain Python."""
    each = 32 // bits
    words = []
    for start in range(0, len(numbers), each):
        part = numbers[start : start + each]
        words.append(sum((number & (1 << bits) - 1) << bits * i for i, number in enumerate(part)))
    return words


def payload(words):
    return b"".join(word.to_bytes(4, "little") for word in words)


@pytest.mark.parametrize(
    ("rows", "columns", "classes", "labels", "logits"),
    [
        (1, 1, 2, 1, 1),
        (1, 1, 3, 1, 2),
        (2, 2, 2, 1, 4),
        (1, 5, 3, 2, 8),
        (3, 3, 3, 3, 14),
        (6, 8, 11, 12, 264),
    ],
)
def test_how_many_words_an_image_has(rows, columns, classes, labels, logits):
    config = network(rows, columns, classes)
    assert answers.words(config, whole=False) == labels
    assert answers.words(config, whole=True) == logits
    alone = network(rows, columns, classes, segmentation=False)
    assert answers.words(alone, whole=False) == answers.words(alone, whole=True) == classes


def test_no_more_than_the_crc_protects():
    """1,021 words and two counters are 4,092 bytes."""
    most = network(2, 3, 340)
    assert answers.words(most, whole=True) == 1020
    assert answers.words(network(1, 2, 1021), whole=True) == 1021
    with pytest.raises(UsageError) as caught:
        answers.words(network(1, 2, 1022), whole=True)
    assert str(caught.value) == (
        "net: 2044 answers of 16 bits for an image are more than a frame carries safely, 4093 bytes"
    )
    assert answers.words(network(1, 2, 1022), whole=False) == 1


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("segmentation", [False, True])
def test_the_first_word_of_the_settings(segmentation, whole):
    """Host and accelerator agree on its bits."""
    config, layout = network(3, 5, 7, segmentation), settings_layout(MACHINE)
    given, word, bits = answers.setting(config, whole), 0, 0
    for name, value in given.items():
        assert value < 1 << layout[name].width
        word |= value << layout[name].offset
        bits += layout[name].width
    assert bits == SETTINGS_WORD
    assert {layout[name].offset for name in given} == {0, 16, 17}
    assert answers.first_word(config, whole) == word
    answering = 7 if not segmentation else 53 if whole else 4
    assert given == {
        "result_words": answering + 2,
        "whole": int(whole),
        "answers": 15 if segmentation else 0,
    }


@pytest.mark.parametrize(
    ("rows", "columns", "classes"), [(1, 1, 2), (1, 1, 3), (3, 3, 3), (2, 4, 2), (5, 1, 256)]
)
def test_answers_come_out_of_their_words(rows, columns, classes):
    """What is in the last word beyond them, and the counters, do not matter."""
    dice, count = random.Random(1), rows * columns
    config, alone = network(rows, columns, classes), network(rows, columns, classes, segmentation=False)
    for counters, full in itertools.product(([0, 0], [5, 0xFFFF_FFFF]), (0, 1)):

        def came(numbers, bits, counters=counters, full=full):
            words = packed(numbers, bits)
            if full and (left := len(numbers) * bits % 32):
                words[-1] |= (1 << 32) - (1 << left)
            return payload([*words, *counters])

        labels = [dice.choice((0, classes - 1, dice.randrange(classes))) for _ in range(count)]
        found = answers.logits_of(came(labels, 8), config, whole=False)
        assert (found.tolist(), found.dtype) == (labels, np.int32)
        logits = [
            dice.choice((-(1 << 15), (1 << 15) - 1, dice.randint(-99, 99))) for _ in range(count * classes)
        ]
        found = answers.logits_of(came(logits, 16), config, whole=True)
        assert (found.shape, found.dtype) == ((count, classes), np.int32)
        assert found.ravel().tolist() == logits
        of_image = [dice.choice((-(1 << 31), (1 << 31) - 1, -7)) for _ in range(classes)]
        found = answers.logits_of(came(of_image, 32), alone, whole=False)
        assert (found.tolist(), found.dtype) == (of_image, np.int32)


# Asking for logits


def tables(config, whole=False):
    """For an accelerator with three words of settings, of which only the first one is right."""
    memories = (Memory("settings", 32, 3), Memory("weights", 64, 8))
    words = {"settings": [answers.first_word(config, whole), 0xABCD, 7], "weights": [3, 4]}
    return Compiled(config, "mine", MACHINE.digest, memories, words, 5, {"signs": 5})


def test_tables_that_give_logits():
    config = network(6, 8, 11)
    before = tables(config)
    after = answers.with_logits(before, MACHINE)
    assert after == tables(config, whole=True)
    assert before == tables(config)
    assert (answers.gives_logits(before), answers.gives_logits(after)) == (False, True)
    assert answers.with_logits(after, MACHINE) == after


def test_nothing_changes_for_a_model_of_labels():
    alone = tables(network(6, 8, 11, segmentation=False))
    for machine in (MACHINE, CONFIGS["scalar"], None):
        assert answers.with_logits(alone, machine) is alone
    assert not answers.gives_logits(alone)
    # The settings of other machines have other things in that bit.
    assert not answers.gives_logits(replace(alone, words={"settings": [0xFFFF_FFFF]}))


def test_as_many_logits_as_the_accelerator_keeps():
    before = tables(network(6, 8, 11))
    assert answers.gives_logits(answers.with_logits(before, replace(MACHINE, answers=264)))
    for machine, kept in (
        (replace(MACHINE, answers=263), "mine keeps 263"),
        (CONFIGS["scalar"], "scalar keeps 0"),
    ):
        with pytest.raises(UsageError) as caught:
            answers.with_logits(before, machine)
        assert str(caught.value) == f"net: the logits of an image take 264 words, {kept}: ask for labels only"
    with pytest.raises(UsageError) as caught:
        answers.with_logits(before, None)
    assert str(caught.value) == (
        "this version does not know mine, nor how many logits it keeps: ask for labels only"
    )


def test_more_logits_than_a_frame_carries():
    with pytest.raises(
        UsageError, match="2112 answers of 16 bits for an image are more than a frame carries"
    ):
        answers.with_logits(tables(network(12, 16, 11)), replace(MACHINE, answers=4096))
