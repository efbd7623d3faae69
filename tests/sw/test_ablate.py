"""What a network costs in the tables of `haarlequin ablate`."""

import pytest

from haarlequin.models.presets import preset
from haarlequin.sw.ablate import cost
from haarlequin.sw.compiler.resources import bit_macs

NANO = preset("cifar10-nano")


@pytest.mark.parametrize(
    ("stages", "machine", "block_rams"),
    [
        ("/2 c32x4 c64x6", "8x64, 25F", 55),
        ("/2 c32x4 a128x5", "32x128, 85F", 162),
        ("/2 c128x4 a128x9", None, None),
    ],
)
def test_the_smallest_machine_that_has_room(stages, machine, block_rams):
    found = cost(NANO.with_(stages=stages))
    assert (found.machine, found.block_rams) == (machine, block_rams)
    assert (found.cycles is None) == (machine is None)


def test_the_bit_macs_are_those_of_the_compiler():
    assert cost(NANO).bit_macs == sum(bit_macs(NANO).values()) == 13_369_344


def test_shifted_windows_cost_no_machine_cycles():
    shifted, still = (cost(NANO.with_(stages=f"p2 t32x2{kind}8 t64x3")) for kind in "sw")
    assert shifted.machine is None
    assert (shifted.weights, shifted.bit_macs) == (still.weights, still.bit_macs)
