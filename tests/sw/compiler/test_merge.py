"""The passes of merges of 2×2 tokens."""

from collections import Counter
from dataclasses import replace

import pytest

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.compiler.grid import merged_places
from haarlequin.sw.compiler.lower import lower

MACHINE = replace(
    CONFIGS["2x64"],
    name="4x16",
    lanes=4,
    width=16,
    weights=1 << 15,
    constants=1 << 12,
    program=1 << 13,
    signs=1 << 11,
    bank_a=1 << 11,
    bank_b=1 << 12,
    max_columns=8,
    max_tokens=64,
    max_channels=128,
    max_patch_length=9,
)


def network(stages):
    return preset("digits").with_(name="network", stages=stages)


@pytest.mark.parametrize(
    ("inputs", "outputs", "packed", "groups"),
    [
        (4, 4, 4, 4),
        (4, 8, 4, 2),
        (4, 16, 4, 1),
        (4, 32, 4, 1),  # tokens are repeated
        (8, 8, 2, 4),
        (8, 16, 2, 2),
        (8, 32, 2, 1),
        (12, 12, 1, 4),
        (16, 32, 1, 2),
        (20, 40, 1, 2),  # two words
        (20, 80, 1, 1),
    ],
)
@pytest.mark.parametrize(("kind", "image"), [("c", (8, 8)), ("t", (2, 6)), ("c", (4, 2))])
def test_merged_tokens_are_exact(image, kind, inputs, outputs, packed, groups):
    """However many tokens have their signs in one word, and however many are summed. The number of passes
    is that of the tiles: signs of tokens, x of tokens, sums over columns, and the steps of the projection.
    """
    heads = "h4" if kind == "t" else ""
    config = network(f"/1 c{inputs}x1 {kind}{outputs}x1{heads}").with_(image=image)
    model = freeze(random_model(config, seed=inputs + outputs))
    program = compile_model(model, MACHINE)  # raises where a tensor differs
    passes = [item for item in program.lowered.passes if item["operation"] == OperationCode.MERGE]
    tiles, words = inputs // 4, -(-inputs // 16)
    steps = 4 // packed * words
    assert len(passes) == 2 * tiles + (tiles if groups == 4 else 0) + outputs // 4 * steps


@pytest.mark.parametrize(
    ("inputs", "outputs", "signs", "x"),
    [
        (4, 8, 0, 1),  # four tokens in a word: x needs places of its own
        (8, 8, 0, 0),  # sums over columns follow
        (8, 16, 0, 0),  # rows in chunks
        (8, 32, 0, 2),  # rows of signs in chunks, those of x apart
        (16, 32, 0, 4),
        (16, 64, 0, 0),
        (20, 80, 0, 5),  # two words a token
    ],
)
@pytest.mark.parametrize(("kind", "image"), [("c", (8, 8)), ("a", (2, 6)), ("c", (4, 2))])
def test_the_convolution_before_a_merge_makes_its_inputs(image, kind, inputs, outputs, signs, x):
    """In a machine with a third bank: signs, and x where it can be moved by as many words as they."""
    heads = "h2" if kind == "a" else ""
    config = network(f"/1 {kind}{inputs}x1{heads} c{outputs}x1").with_(image=image)
    program = compile_model(freeze(random_model(config, seed=inputs)), replace(MACHINE, bank_c=128))
    names = Counter(item.name.rpartition(".")[2] for item in program.lowered.passes if item["merge"])
    tiles = inputs // 4
    assert (names["signs"], names["shortcut"], names["convolution"]) == (signs, x, tiles)


def test_the_convolution_makes_no_signs_where_there_is_no_room():
    config = network("/1 c16x1 c32x1")
    for signs, alone in ((64 + 64, 0), (64 + 63, 4)):
        machine = replace(MACHINE, bank_c=128, signs=signs)
        passes = lower(GoldenModel.blank(config), machine).passes
        assert sum(item.name.endswith("merge.signs") for item in passes) == alone


def test_a_merge_makes_the_signs_for_the_layer_after_it():
    """There is no pass that only makes signs, but for the first layer of all and those of the merge."""
    lowered = lower(GoldenModel.blank(network("/1 c8x2 c16x2")), MACHINE)
    names = [item.name for item in lowered.passes if item["operation"] == OperationCode.SIGNS]
    assert names == ["begin", *2 * ["layers.0.convolution.signs"]]


def test_sums_of_merged_rows_wait_only_where_rows_are_short():
    """A token waits until the one above it has been written, five cycles later."""
    for columns, interval in ((2, 2), (4, 1), (8, 0)):
        config = network("/1 c4x1 c8x1").with_(image=(8, columns))
        passes = lower(GoldenModel.blank(config), MACHINE).passes
        assert [item["interval"] for item in passes if item["accumulate"]] == [interval]


def test_the_convolution_before_a_merge_that_sums_nothing_does_not_wait():
    """However short rows are: x of a token has a place of its own."""
    config = network("/1 c16x1 c64x1").with_(image=(8, 2))
    passes = lower(GoldenModel.blank(config), replace(MACHINE, bank_c=128)).passes
    moved = [item for item in passes if item["merge"] and item["write_a"]]
    assert [(item.name, item["interval"]) for item in moved] == 4 * [("layers.0.convolution", 0)]


@pytest.mark.parametrize(
    ("stages", "tiles"),
    [
        ("/1 c4x1 c16x1", 4),  # of x of four tokens
        ("/1 c20x1 c80x1", 4 * 5 + 1),  # and of partial sums
    ],
)
def test_bank_a_has_room_for_x_of_merged_tokens(stages, tiles):
    assert lower(GoldenModel.blank(network(stages)), MACHINE).uses.bank_a == tiles * 16


@pytest.mark.parametrize("stages", ["/1 c4x1 c8x1", "/1 c8x1 c8x1", "/1 c20x1 c80x1", "/1 c16x1 t16x1"])
def test_sign_memory_0_has_room_for_the_signs_of_merged_tokens(stages):
    """Wherever the signs of a convolution lie that are made meanwhile."""
    config = network(stages)
    lowered = lower(GoldenModel.blank(config), MACHINE)
    merged = [item for item in lowered.passes if item["merge"] and item["bits_0"]]
    last = max(item["bits_base"] + int(merged_places(item.fields).max()) for item in merged)
    projected = [item for item in lowered.passes if item.name.endswith(".merge")]
    read = max(item["signs_0"] + item["stop"] - 1 for item in projected)
    assert last == read < lowered.uses.signs_0
