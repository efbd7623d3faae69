"""The passes of binary 3×3 convolutions: which way is taken, and how many passes and cycles it takes."""

from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.codes import Activation, OperationCode
from haarlequin.hw.lanes.loader import pads
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.compiler.convolution import ConvolutionPasses
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.resources import operations
from haarlequin.sw.compiler.schedule import schedule
from haarlequin.sw.compiler.tiling import Work


def machine(lanes, width, windows):
    """One with room for everything here."""
    sizes = {
        "weights": 1 << 14,
        "constants": 1 << 12,
        "program": 1 << 12,
        "signs": 1 << 12,
        "bank_a": 1 << 12,
    }
    limits = {"max_columns": 32, "max_tokens": 256, "max_channels": 256, "max_patch_length": 27}
    return replace(
        CONFIGS["2x64"], lanes=lanes, width=width, windows=windows, bank_b=1 << 13, **sizes, **limits
    )


def network(stages, side=8):
    config = preset("digits").with_(name="network", stages=stages, image=(side, side))
    return GoldenModel.blank(config)


def first_stage(model, config):
    return ConvolutionPasses(model.config.alone(0), Work(model, config))


WAYS = [  # channels, lanes, width, windows: way, steps
    (16, 32, 128, 0, "nine", 9),  # a tile that is not full
    (32, 32, 128, 0, "nine", 9),
    (32, 32, 128, 1, "window", 3),
    (64, 32, 128, 0, "pairs", 5),
    (64, 32, 128, 1, "pairs", 5),  # three tokens do not fit into a word
    (128, 32, 128, 1, "nine", 9),
    (192, 32, 128, 1, "nine", 18),  # two words
    (64, 32, 192, 1, "window", 3),
    (64, 32, 192, 0, "nine", 9),
    (96, 32, 192, 1, "pairs", 5),
    (32, 8, 96, 1, "window", 3),  # four tiles of a window
    (48, 8, 96, 1, "pairs", 5),
    (30, 8, 96, 1, "nine", 9),  # no whole tiles
    (48, 32, 96, 0, "nine", 9),  # half of a word, but a word has three chunks
    (8, 8, 16, 1, "pairs", 5),
    (8, 8, 24, 1, "window", 3),  # as wide as a word
    (8, 8, 8, 1, "nine", 9),
    (1, 1, 4, 1, "window", 3),
    (1, 1, 2, 1, "pairs", 5),
    (64, 16, 384, 1, "window", 3),
    (64, 16, 384, 2, "windows", 2),  # two rows in a word
    (128, 16, 384, 2, "window", 3),
    (32, 16, 384, 2, "window", 3),  # its half of a word would not be full
    (8, 8, 48, 2, "windows", 2),
    (1, 1, 6, 2, "windows", 2),
]


@pytest.mark.parametrize(("channels", "lanes", "width", "windows", "way", "steps"), WAYS)
def test_the_way_with_the_fewest_steps(channels, lanes, width, windows, way, steps):
    model, config = network(f"/1 c{channels}x2"), machine(lanes, width, windows)
    assert first_stage(model, config).way == way
    passes = [item for item in lower(model, config).passes if item["operation"] == OperationCode.CONVOLUTION]
    assert len(passes) == 2 * steps * -(-channels // lanes)
    activations = {Activation.PAIRS} if way in ("pairs", "windows") else {Activation.SIGNS_0}
    if way == "windows":  # the third row is alone
        activations.add(Activation.SIGNS_0)
    assert {item["activation"] for item in passes} == activations
    assert {item["tokens"] for item in passes} == {64}


def test_after_an_attention_within_windows_there_is_no_word_of_three_tokens():
    """A token's neighbours come with other windows."""
    config = machine(8, 96, 1)
    assert first_stage(network("/1 a32x1"), config).way == "window"
    assert first_stage(network("/1 a32x1w4"), config).way == "nine"


@pytest.mark.parametrize(("channels", "lanes", "width", "windows", "way", "steps"), WAYS)
def test_each_product_is_in_one_step(channels, lanes, width, windows, way, steps):
    """The weights of all steps, below their bounds, are those of the convolution. All others are pads."""
    model, config = network(f"/1 c{channels}x1"), machine(lanes, width, windows)
    stage = first_stage(model, config)
    name = "layers.0.convolution"
    weight = model.constants[f"{name}.weight"]
    weight[...] = np.random.default_rng(0).choice([-1, 1], weight.shape)
    signs = stage.tap_signs(name, 0)
    for tile in range(stage.tiles):
        rows = weight[stage.channels(tile)]
        found = stage._tap_steps(signs, tile)
        assert sum(step.bound for step in found) == 9 * channels
        ones = sum(int(step.weights[: len(rows), : step.bound].sum()) for step in found)
        assert ones == int((rows > 0).sum())
        for step in found:
            assert (step.weights[len(rows) :] == pads(width)).all()
            assert (step.weights[:, step.bound :] == pads(width)[step.bound :]).all()
        for step in found if way == "nine" else ():
            word, place = divmod(step.fields["signs_0"] - signs.base + 9, 64)  # the first tap is at −9
            (row, column), first = divmod(place, 8), word * width
            tap = rows[:, first : first + width, row, column]
            assert step.weights[: len(tap), : tap.shape[1]].tolist() == (tap > 0).tolist()


def test_four_blocks_of_32_channels_take_as_long_as_their_passes_and_the_end_of_the_image():
    """Twelve passes of 256 tokens, and little more."""
    lowered = lower(network("/2 c32x4", side=32), CONFIGS["32x128"])
    schedule(lowered)
    (convolution,) = (op for op in operations(lowered) if op.name == OperationCode.CONVOLUTION.title)
    assert convolution.passes == 12
    assert 12 * 256 <= convolution.cycles <= 3102


def test_signs_of_neighbours_are_in_words_of_their_own_where_there_is_no_room():
    """A machine without windows computes the same in three times as many passes."""
    model = network("/1 c8x2 c8x1")
    for windows, passes in ((1, 9), (0, 27)):
        program = compile_model(model, machine(8, 32, windows))
        code = OperationCode.CONVOLUTION
        assert sum(item["operation"] == code for item in program.lowered.passes) == passes


@pytest.mark.parametrize("tiles", [1, 2, 3])
@pytest.mark.parametrize("windows", [1, 2])
def test_all_tiles_of_a_neighbour_outside_the_grid_are_ones(windows, tiles):
    config = network(f"/1 c{8 * tiles}x1", side=4).config
    compile_model(freeze(random_model(config, seed=0)), machine(8, 8 * 3 * tiles * windows, windows))
