"""Lowering and encoding, checked by running the words: every tensor of random models on small machines."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.config import CONFIGS
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import CompilerError, check_words, compile_model
from haarlequin.sw.compiler.dont_care import USED
from haarlequin.sw.compiler.encode import program_words
from tests.small_machines import MACHINES, random_models

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MACHINES)
def test_random_models(name):
    machine = MACHINES[name]
    seen = set()
    for model in itertools.islice(random_models(machine, seed=1), 40):
        compile_model(model, machine)  # raises where a tensor, a logit or a saturation differs
        c = model.config
        words = [
            (head * c.head_dim // machine.width, ((head + 1) * c.head_dim - 1) // machine.width)
            for head in range(c.heads)
        ]
        seen |= {
            "tokens beyond a word" if c.tokens > machine.width else "",
            "tokens beyond the lanes" if c.tokens > machine.lanes else "",
            "channels beyond a word" if c.dim > machine.width else "",
            "a tile that is not full" if c.dim % machine.lanes else "",
            "a head in two words" if any(first != last for first, last in words) else "",
            f"r = {c.mlp_ratio}",
            f"switches {c.hfsc:d}{c.diba:d}{c.irprelu:d}",
        }
    wanted = {"r = 1", "r = 2", "r = 4", "r = 8", "a tile that is not full"}
    wanted |= {f"switches {i:03b}" for i in range(8)}
    if name != "24x72":
        wanted |= {
            "tokens beyond a word",
            "tokens beyond the lanes",
            "channels beyond a word",
            "a head in two words",
        }
    assert wanted <= seen


@pytest.mark.parametrize(
    ("model", "machine"),
    [
        ("digits", "2x64"),
        ("digits", "64x128"),
        ("cifar10-nano", "16x64"),
        ("cifar10-tiny", "32x128"),
        ("cifar10-tiny", "64x128"),
    ],
)
def test_presets_on_the_accelerators_meant_for_them(model, machine):
    compile_model(freeze(random_model(preset(model), seed=3)), CONFIGS[machine])


def test_one_layer_of_deit_tiny():
    model = freeze(random_model(preset("deit-tiny-224").with_(layers=1), seed=0))
    compile_model(model, CONFIGS["64x128-large"])


def noticed(program, memory, words):
    """Whether the check minds other words in a memory."""
    try:
        check_words(replace(program, words=program.words | {memory: words}))
    except CompilerError:
        return True
    return False


@pytest.fixture(scope="module")
def digits():
    model = freeze(random_model(preset("digits").with_(layers=1), seed=0))
    return compile_model(model, CONFIGS["16x64"])


@pytest.mark.parametrize(("memory", "bit"), [("weights", 3), ("constants", 9), ("local", 4), ("tokens", 7)])
def test_the_check_notices_a_flipped_bit(digits, memory, bit):
    """Not every bit matters to the one image that it runs; most of these do."""
    words = digits.words[memory]
    numbers = np.random.default_rng(0).permutation(len(words))[:10].tolist()
    flipped = ([w ^ (i == number) << bit for i, w in enumerate(words)] for number in numbers)
    assert sum(noticed(digits, memory, other) for other in flipped) >= 4


@pytest.mark.parametrize(
    ("field", "which"),
    [
        ("slot", max),
        ("shortcut_base", max),
        ("load_slot", max),
        ("mean_shift", max),
        ("bits_chunk", min),
        ("weights_base", min),
    ],
)
def test_the_check_notices_a_wrong_field(digits, field, which):
    """In the first or last pass that uses it."""
    number = which(
        i
        for i, item in enumerate(digits.lowered.passes)
        if item[field] and any(item[reason] for reason in USED.get(field, (field,)))
    )
    passes = [item.fields for item in digits.lowered.passes]
    passes[number] = passes[number] | {field: passes[number][field] ^ 1}
    assert noticed(digits, "program", program_words(CONFIGS["16x64"], passes))
