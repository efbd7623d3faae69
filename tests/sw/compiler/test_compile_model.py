"""Lowering and encoding, checked by running the words: every tensor of random models on small machines."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import CompilerError, check_words, compile_model
from haarlequin.sw.compiler.dont_care import USED
from haarlequin.sw.compiler.encode import program_words
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.resources import DoesNotFit, memories
from tests.small_machines import MACHINES, SMALLEST, SMALLEST_MODEL, random_programs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MACHINES)
def test_random_models(name):
    """Raises where a tensor, a logit or a saturation differs. `tests/sim/test_simulate.py` has more."""
    for program in itertools.islice(random_programs(MACHINES[name], seed=1), 12):
        check_words(program)


STAGES = "/2 c16x1 t16x1w2 a32x1h2", "p2 c24x2 =a24x1h3", "/1 c16x1 =c16x1 t32x1h4"


@pytest.mark.parametrize("segmentation", [False, True])
@pytest.mark.parametrize("stages", [*STAGES, "/2 c16x1 c16x1"])
def test_only_the_first_sums_of_an_image_wait_for_those_of_the_image_before(stages, segmentation):
    config = preset("digits").with_(stages=stages, segmentation=segmentation, classes=("a", "b", "c"))
    lowered = lower(GoldenModel.blank(config), MACHINES["4x16"])
    waits = [item["wait_head"] for item in lowered.passes if item["pool"]]
    assert waits == [1, *[0] * (len(waits) - 1)]
    assert sum(item["wait_head"] for item in lowered.passes) == 1


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("segmentation", [False, True])
def test_every_kind_of_stage(stages, segmentation):
    config = preset("digits").with_(stages=stages, segmentation=segmentation)
    machine = replace(CONFIGS["16x64"], answers=128, local=1024, windows=True, signs=1024)
    compile_model(freeze(random_model(config, seed=1)), machine)


@pytest.mark.parametrize(
    ("stages", "image", "machine", "operation", "passes"),
    [
        ("/1 t8x1h2", (5, 7), "8x8", OperationCode.CONTEXT, 2 * 5),  # heads, words of a row of attention
        ("/1 t8x1", (2, 2), "4x16", OperationCode.REDUCE, 2 * 2),  # tiles, words that repeats share
        ("/1 t5x1", (2, 2), "4x16", OperationCode.REDUCE, 2 * 4),  # tiles, words of one repeat each
        ("/1 c3x2 c6x1", (4, 4), "3x24", OperationCode.MERGE, 1 + 2),  # after words of three tokens
    ],
)
def test_words_of_signs(stages, image, machine, operation, passes):
    """Each takes a pass."""
    config = preset("digits").with_(stages=stages, image=image, mlp_ratio=4, classes=("a", "b"))
    program = compile_model(freeze(random_model(config, seed=1)), MACHINES[machine])
    assert sum(item["operation"] == operation for item in program.lowered.passes) == passes


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        # A step each: no partial sums.
        ("p1 t4x1", {"signs_0": 5, "signs_1": 5, "bank_a": 2, "bank_b": 1, "bank_c": 0, "rows": 1}),
        ("/1 c1x1", {"signs_0": 1, "signs_1": 0, "bank_a": 0, "bank_b": 1, "bank_c": 1, "rows": 0}),
    ],
)
def test_memories_that_a_single_token_needs(stages, expected):
    config = preset("digits").with_(stages=stages, image=(1, 1), mlp_ratio=1, theta=1, classes=("a", "b"))
    program = compile_model(freeze(random_model(config, seed=0)), MACHINES["4x16"])
    assert vars(program.lowered.uses) == expected


@pytest.mark.parametrize("image", [(1, 3), (3, 3)])
def test_lanes_without_a_key_load_from_the_memory_that_there_is(image):
    """The last keys of sign memory 1 lie at its end, and there are more lanes than keys."""
    config = preset("digits").with_(stages="/1 t4x1", image=image, classes=("a", "b"))
    model = freeze(random_model(config, seed=0))
    machine = replace(MACHINES["4x16"], signs=lower(model, MACHINES["4x16"]).uses.signs_1)
    passes = compile_model(model, machine).lowered.passes
    assert max(item["weights_base"] for item in passes if item["load_keys"]) > machine.signs - machine.lanes


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
        ("shortcut_base", max),
        ("constants_base", max),
        ("keys_low", min),
        ("inputs_high", min),
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


def test_a_program_that_is_too_long_once_it_has_its_cycles():
    """They are fields of passes, and need updates."""
    model = GoldenModel.blank(SMALLEST_MODEL)
    planned = {memory.name: memory.used for memory in memories(lower(model, SMALLEST))}
    machine = replace(SMALLEST, program=planned["program"])
    with pytest.raises(DoesNotFit, match="program by"):
        compile_model(model, machine)
