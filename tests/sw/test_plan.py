import pytest

from hw.config import CONFIGS, accelerator
from models.config import PRESETS, Widths, preset
from sw.plan import DoesNotFit, Memory, plan


def test_the_ideal_cycles_of_tiny_are_its_binary_products():
    """N·C²·(6 + 2r) of the linears, two bands of N²·C scores, N²·C of context, over 64 × 128 bits a cycle."""
    products = 64 * 128 * 128 * 14 + 3 * 64 * 64 * 128
    assert (
        plan(preset("cifar10-tiny"), accelerator("64x128")).ideal_cycles == 7 * products / (64 * 128) == 13888
    )


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


@pytest.mark.parametrize(
    ("model", "machine"),
    [
        ("digits", "2x64"),
        ("digits", "16x64"),
        ("cifar10-nano", "16x64"),
        ("cifar10-tiny", "32x128"),
        ("cifar10-tiny", "64x128"),
    ],
)
def test_the_presets_fit_the_accelerators_meant_for_them(model, machine):
    plan(preset(model), accelerator(machine)).check()


@pytest.mark.parametrize(("machine", "blocks"), [("32x128", 205), ("64x128", 210)])
def test_seven_layers_of_tiny_fill_an_85f(machine, blocks):
    """It has 208 block RAMs: 32 lanes fit, 64 do not, and an eighth layer fits neither."""
    result = plan(preset("cifar10-tiny"), accelerator(machine))
    assert sum(memory.blocks() for memory in result.memories) == blocks
    eighth = plan(preset("cifar10-tiny").with_(layers=8), accelerator(machine))
    with pytest.raises(DoesNotFit, match=r"weights by 1536 of 12800 words; constants by 1024 of 11264 words"):
        eighth.check()


def test_multipliers_are_those_of_the_85f():
    for name in ("32x128", "64x128"):
        assert plan(preset("cifar10-tiny"), accelerator(name)).multipliers <= 156


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": (8, 68)}, "the token grid by 1 of 16 columns"),
        ({"theta": 5}, "the local convolution by 2 taps a side"),
        ({"widths": Widths(wide=16)}, "the arithmetic: its widths differ from the accelerator's"),
    ],
)
def test_what_is_too_large_is_named(changes, message):
    model = preset("cifar10-nano").with_(layers=1, **changes)
    with pytest.raises(DoesNotFit, match=message):
        plan(model, accelerator("32x128")).check()


@pytest.mark.parametrize("model", PRESETS)
@pytest.mark.parametrize("machine", CONFIGS)
@pytest.mark.parametrize("changes", [{}, {"hfsc": False}, {"diba": False}, {"mlp_ratio": 1}])
def test_no_plan_promises_more_than_the_array_can_do(model, machine, changes):
    result = plan(preset(model).with_(**changes), accelerator(machine))
    assert 0 < result.utilisation < 1
    for operation in result.operations:
        macs = operation.cycles * result.accelerator.lanes * result.accelerator.width
        assert operation.bit_macs <= macs, operation.name


def test_more_lanes_take_fewer_cycles():
    cycles = [plan(preset("cifar10-tiny"), accelerator(name)).cycles for name in ("32x128", "64x128")]
    assert cycles[0] > 1.8 * cycles[1]
