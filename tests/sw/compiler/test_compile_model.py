"""Lowering and encoding, checked by running the words: every tensor of random models on small machines."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.codes import Activation
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.models.stages import ATTENTION, MLP
from haarlequin.sw.compiler import CompilerError, check_words, compile_model
from haarlequin.sw.compiler.dont_care import USED
from haarlequin.sw.compiler.encode import program_words
from tests.small_machines import MACHINES, SMALLEST, SMALLEST_MODEL, random_models

pytestmark = pytest.mark.slow


def shapes_of(program):
    """What is special of a program: of its sizes, its switches and its operations."""
    config, machine, found = program.model.config, program.machine, set()
    for place in config.places:
        c, stage = place.config, place.config.stage
        found |= {f"stage of {stage.kind}", f"token offsets {c.irprelu:d}"}
        if stage.kind == ATTENTION:
            head = c.head_dim
            words = [
                (h * head // machine.width, ((h + 1) * head - 1) // machine.width) for h in range(c.heads)
            ]
            tokens = c.window_alone().tokens
            found |= {
                "tokens beyond a word" if tokens > machine.width else "",
                "tokens beyond the lanes" if tokens > machine.lanes else "",
                "a head in two words" if any(first != last for first, last in words) else "",
                f"feed-forward {stage.feed_forward}",
                f"switches {c.hfsc:d}{c.diba:d}",
            }
        if stage.feed_forward == MLP:
            found.add(f"r = {c.mlp_ratio}")
        if stage.window and stage.window**2 < c.tokens:
            found.add("windows")
        if c.dim > machine.width:
            found.add("channels beyond a word")
        if c.dim % machine.lanes:
            found.add("a tile that is not full")
        if place.merged:
            found.add(f"merge to {c.dim / place.merged.dim:g}")
    for item in program.lowered.passes:
        if item["activation"] == Activation.PAIRS:
            found.add("pairs of taps")
        if item["window"] and item["bits_0"]:
            found.add(f"windows of {item['window']} chunks")
    found |= {f"stem {config.stem}", f"segmentation {config.segmentation}"}
    return found | ({"several stages"} if len(config.stages) > 1 else set())


WANTED = {f"switches {i:02b}" for i in range(4)} | {f"stem {stem}" for stem in ("p1", "p2", "p3", "/1", "/2")}
WANTED |= {"token offsets 0", "token offsets 1"}
WANTED |= {"r = 1", "r = 2", "r = 4", "r = 8", "a tile that is not full", "windows", "merge to 1"}
WANTED |= {"stage of convolution", "feed-forward mlp", "feed-forward convolution", "segmentation True"}
WIDE = {"tokens beyond a word", "tokens beyond the lanes", "channels beyond a word", "a head in two words"}
WIDE |= {"merge to 2", "merge to 4"}
SEEN = {
    "4x16": WANTED | WIDE | {"pairs of taps", "merge to 8"},
    "3x24": WANTED | WIDE | {"pairs of taps", "windows of 1 chunks", "windows of 2 chunks", "merge to 8"},
    "6x18": WANTED | WIDE,
    "8x8": WANTED | WIDE,
    "24x72": WANTED | {"tokens beyond the lanes", "windows of 1 chunks"},
}


@pytest.mark.parametrize("name", MACHINES)
def test_random_models(name):
    machine, seen = MACHINES[name], Counter()
    for model in itertools.islice(random_models(machine, seed=1), 52):
        # Raises where a tensor, a logit or a saturation differs.
        seen.update(shapes_of(compile_model(model, machine)))
    assert not SEEN[name] - seen.keys()
    assert seen["several stages"] >= 10


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


@pytest.mark.parametrize("check", [True, False])
def test_it_is_checked_unless_the_caller_does_not_want_to(monkeypatch, check):
    checked = []
    monkeypatch.setattr("haarlequin.sw.compiler.check_words", checked.append)
    program = compile_model(freeze(random_model(SMALLEST_MODEL, seed=0)), SMALLEST, check=check)
    assert checked == [program] * check
