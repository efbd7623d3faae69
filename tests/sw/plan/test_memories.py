import pytest

from haarlequin.sw.plan.cycles import operations
from haarlequin.sw.plan.machine import Machine, machine_of
from haarlequin.sw.plan.memories import Memory, memories, updates
from tests.sw.plan.rows import ROWS, Row, network


def stored(stages, machine, **changes):
    config = network(stages, **changes)
    return {m.name: m for m in memories(config, machine, operations(config, machine))}


@pytest.mark.parametrize(
    "row",
    [*(row for row in ROWS if row.block_rams), Row("32x128", "/2 c32x4 a128x7", 0, 199)],
    ids=lambda row: f"{row.machine} {row.stages}",
)
def test_block_rams_are_those_of_the_notes(row: Row):
    assert sum(m.columns for m in stored(row.stages, machine_of(row.machine)).values()) == row.block_rams


def test_a_network_of_patches_has_positions():
    """MACHINE.md counts 216 by adding to a part that was routed."""
    found = stored("p4 t128x7", Machine(32, 128))
    assert (found["positions"].words, found["positions"].columns) == (8192, 8)
    assert sum(m.columns for m in found.values()) == 218
    assert "positions" not in stored("/2 c32x4", Machine(32, 128))


@pytest.mark.parametrize(
    ("machine", "stages", "expected"),
    [
        (
            "32x128",
            "/2 c32x4 a128x5",
            {"weights": 75, "constants": 21, "signs 0": 4, "signs 1": 4, "bank A": 12, "bank B": 12}
            | {"bank C": 12, "V rows": 4, "V columns": 2, "Â": 2, "pixels": 3, "patch weights": 4},
        ),
        (
            "32x192",
            "/2 c64x4 a128x4",
            {"weights": 77, "constants": 18, "signs 0": 6, "signs 1": 6, "bank A": 12, "bank B": 24}
            | {"bank C": 12, "V rows": 6, "V columns": 2, "Â": 2, "pixels": 3, "patch weights": 4},
        ),
        (
            "8x64",
            "/2 c32x4 a64x3",
            {"weights": 16, "constants": 9, "signs 0": 2, "signs 1": 2, "bank A": 11, "bank B": 11}
            | {"bank C": 6, "V rows": 2, "V columns": 1, "Â": 2, "pixels": 3, "patch weights": 2},
        ),
        (
            "8x64",
            "/1 c16x2 c32x4 a64x3",
            {"weights": 16, "constants": 9, "signs 0": 8, "signs 1": 8, "bank A": 11, "bank B": 22}
            | {"bank C": 11, "V rows": 2, "V columns": 1, "Â": 2, "pixels": 3, "patch weights": 2},
        ),
    ],
)
def test_each_memory_is_that_of_the_notes(machine, stages, expected):
    found = stored(stages, machine_of(machine))
    assert {name: found[name].columns for name in expected} == expected


@pytest.mark.parametrize(
    ("machine", "stages", "prototype"),
    [
        ("32x128", "/2 c32x4 a128x5", 1127),
        ("32x128", "/2 c64x4 a128x4", 1007),
        ("32x192", "/2 c64x4 a128x4", 922),
        ("8x64", "/2 c32x4 a64x3", 1455),
        ("8x96", "/2 c32x4 a64x3", 1290),
        ("8x64", "/1 c16x2 c32x4 a64x3", 1516),
        ("32x128", "p4 t128x7", 1626),
        ("8x64", "p4 t64x3", 1261),
        ("64x128", "p4 t128x7", 998),
    ],
)
def test_the_program_is_about_as_long_as_the_prototype_s(machine, stages, prototype):
    words = updates(operations(network(stages), machine_of(machine)))
    assert 0.97 * prototype <= words <= 1.12 * prototype


def test_columns_and_what_is_routed():
    """A word of 128 bits has 14 columns of nine bits, and one of two."""
    weights = Memory("weights", "", 10_112, 128)
    assert (weights.columns, weights.block_rams) == (5 * 15, 5 * 14 + 2)
    assert Memory("rows", "", 128, 12, reads=2).columns == 0
    assert Memory("rows", "", 512, 12, reads=2).columns == 2


def test_what_a_network_lacks_needs_no_memory():
    assert not {"V rows", "Â", "rows", "bank C", "local"} & set(stored("/2 c32x4", Machine(8, 64)))
    assert "tokens" not in stored("/2 c32x4n a64x3n", Machine(8, 64))
    assert "tokens" not in stored("/2 c32x4 a64x3", Machine(8, 64), irprelu=False)
    assert "local" not in stored("/2 c32x4 a64x3", Machine(8, 64), diba=False)
    assert "head weights" not in stored("/2 c32x4", Machine(8, 64), segmentation=True)


def test_windows_need_scores_of_one_window():
    whole, windows = (stored(stages, Machine(32, 128)) for stages in ("/2 a64x1", "/2 a64x1w8"))
    assert whole["bank A"].words == 2 * 8 * 256 + 2 * 256
    assert windows["bank A"].words == 2 * 2 * 64 + 2 * 256
