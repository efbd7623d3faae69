"""What lowering decides beyond single operations: where the Haar unit begins, and who loads its moves."""

from dataclasses import replace

import pytest

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.lower import lower
from tests.small_machines import MACHINES

TINY, MACHINE = preset("cifar10-tiny").with_(layers=3), CONFIGS["32x128"]


def network(stages, **changes):
    return preset("digits").with_(stages=stages, image=(4, 4), **changes)


def lowered(config, machine):
    return lower(GoldenModel.blank(config), machine).passes


def begun(passes):
    """(layer, operation that goes on meanwhile, tile) of each tile that the Haar unit splits."""
    found = []
    for item in passes:
        if item["haar"]:
            (layer,) = {result.tensor.split(".")[1] for result in item.results if result.port == "haar"}
            beside = OperationCode(item["operation"]).name if item["tokens"] else ""
            found.append((int(layer), beside, item["haar_x"] // item["keys"]))
    return found


def test_tiles_are_split_while_the_next_ones_are_made():
    alone = [(0, "", tile) for tile in range(4)]
    later = [(layer, "" if tile == 3 else "REDUCE", tile) for layer in (1, 2) for tile in range(4)]
    assert begun(lowered(TINY, MACHINE)) == alone + later


@pytest.mark.parametrize(
    ("stages", "machine", "expected"),
    [
        ("p1 a16x2h2", MACHINES["4x16"], 3),  # a convolution of nine steps
        ("p1 a8x2h2", MACHINES["4x16"], 1),  # of pairs of taps
        ("p1 t4x2h2", MACHINES["4x16"], 0),  # a single tile
        ("p1 a16x2h2w2", MACHINES["4x16"], 0),  # several windows
        ("p1 t8x2h2", MACHINES["8x8"], 0),  # no third bank
    ],
)
def test_where_that_is_possible(stages, machine, expected):
    found = begun(lowered(network(stages), machine))
    assert sum(beside != "" for _, beside, _ in found) == expected


def test_no_tile_is_split_while_the_next_one_reads_x():
    """With a single step in place of several, its pass needs bank B itself."""
    machine = replace(MACHINES["4x16"], width=64)
    assert not any(beside for _, beside, _ in begun(lowered(network("p1 t8x2h2"), machine)))


@pytest.mark.parametrize(("ratio", "alone"), [(8, 0), (2, 1)])
def test_moves_are_loaded_once_after_the_tile_before_has_begun(ratio, alone):
    """By a step whose successor has the same constants; of two steps each has its own."""
    passes = lowered(network("p1 t12x2h2", mlp_ratio=ratio), MACHINES["4x16"])
    order = [
        name
        for item in passes
        for name, there in (
            ("begins", item["haar"]),
            ("loads", item["load_constants"] and item["load_moves"]),
        )
        if there
    ]
    assert order == ["loads", "begins"] * (len(order) // 2)
    assert sum(item.name == "moves" for item in passes) == alone


@pytest.mark.parametrize("bank_c", [0, 128])
def test_partial_sums_are_in_the_third_bank_or_in_bank_a(bank_c):
    """With one of their own no pass waits for two words of bank A."""
    machine = replace(MACHINES["4x16"], bank_c=bank_c)
    found = lower(GoldenModel.blank(network("p1 t16x1h2", mlp_ratio=4)), machine)
    assert (found.uses.bank_c > 0) == (bank_c > 0)
    reduce = [item for item in found.passes if item["operation"] == OperationCode.REDUCE]
    assert {item["interval"] for item in reduce if item["write_b"]} == {int(not bank_c)}
    assert {item["partial_base"] for item in reduce if item["partial"]} == ({0} if bank_c else {4 * 16})
