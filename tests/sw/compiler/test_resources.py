from dataclasses import replace

import pytest

from haarlequin.hw.config import CONFIGS
from haarlequin.models.config import PRESETS, Widths, preset
from haarlequin.sw.compile import blank
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.resources import (
    DoesNotFit,
    Memory,
    bit_macs,
    check_memories,
    check_shapes,
    ideal_cycles,
    memories,
    multipliers,
    operations,
)


def test_the_ideal_cycles_of_tiny_are_its_binary_products():
    """N·C²·(6 + 2r) of the linears, two bands of N²·C scores, N²·C of context, over 64 × 128 bits a cycle."""
    products = 64 * 128 * 128 * 14 + 3 * 64 * 64 * 128
    assert ideal_cycles(preset("cifar10-tiny"), CONFIGS["64x128"]) == 7 * products / (64 * 128) == 13888


@pytest.mark.parametrize(
    ("words", "width", "family", "blocks"),
    [
        (512, 36, "ecp5", 1),
        (513, 36, "ecp5", 2),
        (512, 37, "ecp5", 2),
        (12_800, 128, "ecp5", 100),  # 25 × 4 of 512 × 36
        (8192, 12, "ecp5", 6),
        (16_384, 1, "ecp5", 1),
        (256, 16, "ice40", 1),
        (1024, 64, "ice40", 16),
    ],
)
def test_block_rams_at_their_best_shape(words, width, family, blocks):
    assert Memory("m", "", 0, words, width).blocks(family) == blocks


@pytest.mark.parametrize(("machine", "blocks"), [("32x128", 191), ("64x128", 214)])
def test_seven_layers_of_tiny_on_an_85f(machine, blocks):
    """It has 208 block RAMs: 32 lanes fit, 64 do not, and an eighth layer fits neither."""
    config, model = CONFIGS[machine], preset("cifar10-tiny")
    assert sum(memory.blocks() for memory in memories(lower(blank(model), config))) == blocks
    with pytest.raises(DoesNotFit, match=r"weights by 1536 of 12800 words; constants by "):
        check_memories(lower(blank(model.with_(layers=8)), config))


def test_multipliers_are_those_of_the_85f():
    assert max(multipliers(CONFIGS[name]) for name in ("32x128", "64x128")) <= 156


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": (8, 68)}, "columns of the token grid 17, 16 at most"),
        ({"image": (36, 32)}, "tokens 72, 64 at most"),
        ({"dim": 130}, "channels 130, 128 at most"),
        ({"patch": 8}, "values of a patch 192, 48 at most"),
        ({"classes": tuple("abcdefghijk")}, "classes 11, 10 at most"),
        ({"theta": 5}, "taps a side of the local convolution 5, 3 at most"),
        ({"mlp_ratio": 16}, "repeats of the MLP 16, 8 at most; signs of a sum 2048, 2047 at most"),
        ({"heads": 1, "dim": 128}, "half of a score's largest value 4032|the score's shift 6, 5 at most"),
        ({"widths": Widths(wide=16)}, "cifar10-tiny: its widths differ from those of 32x128"),
    ],
)
def test_what_is_too_large_is_named(changes, message):
    model = preset("cifar10-tiny").with_(layers=1, **changes)
    with pytest.raises(DoesNotFit, match=message):
        check_shapes(blank(model), CONFIGS["32x128"])


def test_scores_too_fine_for_the_softmax_are_refused():
    """Its index would be shifted by the wrong number of places."""
    widths = Widths(score_weight=4)
    machine = replace(CONFIGS["16x64"], widths=widths)
    model = preset("digits").with_(dim=8, heads=8, widths=widths)
    assert model.score_shift == 0
    with pytest.raises(DoesNotFit, match="digits is too fine for 16x64: the score's shift 0, 2 at least"):
        check_shapes(blank(model), machine)


@pytest.mark.parametrize(
    ("memory", "machine", "changes"),
    [
        ("weights", "16x64", {"layers": 8}),
        ("program", "16x64", {"layers": 8}),
        ("bank A", "2x64", {"heads": 8}),
        ("rows", "2x64", {"heads": 8}),
    ],
)
def test_a_memory_too_small_is_named_with_the_excess(memory, machine, changes):
    model = blank(preset("digits").with_(**changes))
    used = {m.name: m.used - m.words for m in memories(lower(model, CONFIGS[machine]))}[memory]
    assert used > 0
    with pytest.raises(
        DoesNotFit, match=rf"digits is too large for {machine}: .*{memory} by {used} of \d+ words"
    ):
        compile_model(model, CONFIGS[machine])


@pytest.mark.parametrize("changes", [{}, {"hfsc": False}, {"diba": False}, {"mlp_ratio": 1}])
@pytest.mark.parametrize(("model", "machine"), [("digits", "16x64"), ("cifar10-tiny", "64x128")])
def test_no_operation_does_more_than_the_array_can(model, machine, changes):
    config = CONFIGS[machine]
    program = compile_model(blank(PRESETS[model].with_(**changes)), config, check=False)
    counted = operations(program.lowered)
    assert sum(operation.bit_macs for operation in counted) == sum(
        bit_macs(program.lowered.model.config).values()
    )
    for operation in counted:
        assert operation.bit_macs <= operation.cycles * config.lanes * config.width, operation.name
