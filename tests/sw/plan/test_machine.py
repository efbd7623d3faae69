import pytest

from haarlequin.hw.common.pipeline import SPREAD
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.timing import timing
from haarlequin.models.common.errors import UsageError
from haarlequin.sw.plan.machine import Machine, machine_of


@pytest.mark.parametrize(
    ("name", "lanes", "width"),
    [("32x192", 32, 192), ("8x96", 8, 96), ("64x128-large", 64, 128), ("2x64", 2, 64)],
)
def test_names(name, lanes, width):
    assert machine_of(name) == Machine(lanes, width)


@pytest.mark.parametrize("name", ["scalar", "32", "x", "32x128x2", "-8x64", "letters"])
def test_names_that_are_none(name):
    with pytest.raises(UsageError, match="stages need lanes × bits of a word, such as 32x128 or 8x96, not"):
        machine_of(name)


@pytest.mark.parametrize("name", ["8x60", "32x96", "0x64", "8x0", "8x8"])
def test_sizes_that_no_machine_has(name):
    with pytest.raises(UsageError, match=f"{name}: half of a word must be a multiple of the lanes"):
        machine_of(name)


@pytest.mark.parametrize(("lanes", "multipliers"), [(8, 27), (16, 51), (32, 83)])
def test_multipliers(lanes, multipliers):
    """MACHINE.md §4 counts these for its design points."""
    assert Machine(lanes, 128).multipliers == multipliers


@pytest.mark.parametrize(
    ("lanes", "width", "written"), [(8, 64, 23), (8, 96, 23), (32, 128, 24), (32, 192, 24)]
)
def test_stages_of_the_pipeline(lanes, width, written):
    """As the prototype has them, and longer than today's by three cycles of the sum, less
    the one in which what goes to all lanes waits for each group of them.
    """
    machine = Machine(lanes, width)
    assert (machine.written, machine.signed) == (written, written + lanes // 8 - 1)
    assert machine.residual - machine.shortcut == 4
    config = CONFIGS.get(machine.name)
    if config:
        today = timing(config)
        assert machine.written == today.write + 3 - SPREAD
        assert machine.partial == today.partial - SPREAD
