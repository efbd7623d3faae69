"""The checker sees everything: no value of the golden trace is left out, and each that is wrong is named."""

import itertools
from collections import Counter

import numpy as np
import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.compiler.check import Checker
from haarlequin.sw.compiler.lower import lower
from tests.small_machines import MACHINES, random_programs

pytestmark = pytest.mark.slow

BY_OTHERS = {"embedding.x", "pooled"}
"""What passes do not show: `sim.compare_trace` compares these."""


def shown_by_passes(name, config):
    """Whether passes show a tensor. They show the shortcut of a merge only as a part of its result, and
    logits only where each token has its own.
    """
    if name == "logits":
        return config.segmentation
    return name not in BY_OTHERS and not name.endswith(".merge.shortcut")


def traced(model):
    config = model.config
    trace = {}
    model(np.zeros((1, *config.image, config.channels), np.uint8), trace)
    return trace


@pytest.mark.parametrize("name", MACHINES)
def test_every_value_of_the_trace_is_shown_once(name):
    for program in itertools.islice(random_programs(MACHINES[name], seed=2), 15):
        model = program.model
        trace = traced(model)
        checker = Checker(program.lowered, trace)
        shown = Counter()
        for result in checker.due.values():
            shown[result.tensor] += checker._expected(result).size
        tensors = {name: value.size for name, value in trace.items() if shown_by_passes(name, model.config)}
        assert shown == tensors


MASKS = {"image": (16, 16), "stages": "/2 c16x1 t32x1w2 a64x1h2", "segmentation": True}


@pytest.fixture(scope="module", params=[{"layers": 1}, MASKS], ids=["a layer", "merges, windows, masks"])
def compiled(request):
    model = freeze(random_model(preset("digits").with_(**request.param), seed=0))
    return lower(model, CONFIGS["16x64"]), traced(model)


def rows_of(checker, key):
    """What a right machine would show."""
    expected = checker._expected(checker.due[key]).astype(int)
    skip = 0 if key[1] == "attention" else checker.lowered.passes[key[0]]["skip"]
    return np.arange(skip, skip + len(expected)), np.pad(expected, ((0, 0), (0, 16 - expected.shape[1])))


@pytest.mark.parametrize(
    ("stages", "image", "machine"),
    [
        ("/1 t5x1", (2, 2), "4x16"),  # halves of scores: a head with an odd number of channels
        ("/1 t8x1", (2, 2), "4x16"),  # with an even number
        ("/1 t10x1h2", (2, 2), "4x16"),  # two odd ones
        ("/1 t4x1w2", (2, 4), "4x16"),  # two windows
        ("/1 t4x1w2", (2, 2), "4x16"),  # one window
        ("/1 c4x1 c8x1", (2, 4), "4x16"),  # merged tokens
    ],
)
def test_the_words_compute_what_the_checker_expects(stages, image, machine):
    """For the shapes whose tensors are shown in an order, or with a value, other than the golden model's."""
    config = preset("digits").with_(stages=stages, image=image, mlp_ratio=1, classes=("a", "b"))
    for seed in range(2):
        compile_model(freeze(random_model(config, seed)), MACHINES[machine])


def test_signs_are_shown_as_bits(compiled):
    lowered, trace = compiled
    checker, ones = Checker(lowered, trace), Counter()
    for result in checker.due.values():
        if result.port.startswith("bits"):
            ones[result.tensor] += int((checker._expected(result) == 1).sum())
    assert ones == {name: (trace[name] == 1).sum() for name in ones}


def test_each_wrong_value_is_named(compiled):
    lowered, trace = compiled
    for key, result in Checker(lowered, trace).due.items():
        checker = Checker(lowered, trace)
        numbers, rows = rows_of(checker, key)
        assert checker.check(*key, numbers, rows) is None
        checker = Checker(lowered, trace)
        assert len(rows) > 1
        rows[1, 0] += 1
        difference = checker.check(*key, numbers, rows)
        assert difference.tensor == result.tensor
        assert "token 1, " in difference.place
        assert difference.got == difference.expected + 1


def test_tokens_that_are_missing_and_passes_that_show_nothing(compiled):
    lowered, trace = compiled
    checker = Checker(lowered, trace)
    key = next(iter(checker.due))
    name = checker.due[key].tensor
    numbers, rows = rows_of(checker, key)
    assert checker.check(*key, numbers[1:], rows[1:]).tensor == name
    assert lowered.passes[-1].results[-1].tensor in checker.missing()
