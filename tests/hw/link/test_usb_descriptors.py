"""Descriptors as bytes, and which of them the speed chooses. What goes over wires is in test_ulpi.py."""

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.sim import Simulator

from haarlequin.hw.link.usb_descriptors import BySpeed, descriptors

DEVICE, CONFIGURATION, STRING, QUALIFIER, OTHER_SPEED = 1, 2, 3, 6, 7


def found(high_speed):
    return {(int(kind), index): bytes(raw) for kind, index, raw in descriptors("0123", high_speed)}


def test_both_speeds_are_described():
    """The own one's packets first, then those of the other (USB 2.0, sections 9.6.2 to 9.6.4)."""
    all_ = found(high_speed=True)
    sizes = {
        of: [raw[at + 4] | raw[at + 5] << 8 for at in (18, 25)]
        for of, raw in all_.items()
        if of[0] in (CONFIGURATION, OTHER_SPEED)
    }
    assert sizes == {
        (CONFIGURATION, 0): [512] * 2,
        (OTHER_SPEED, 0): [64] * 2,
        (CONFIGURATION, 1): [64] * 2,
        (OTHER_SPEED, 1): [512] * 2,
    }
    assert all(raw[1] == kind for (kind, _), raw in all_.items())


def test_the_device_is_the_same_at_its_other_speed():
    qualifier, device = found(high_speed=True)[QUALIFIER, 0], found(high_speed=True)[DEVICE, 0]
    assert qualifier[0] == len(qualifier) == 10
    assert qualifier[2:8] == device[2:8]
    assert qualifier[8:] == bytes([device[17], 0])


def test_one_of_full_speed_has_no_other():
    all_ = found(high_speed=False)
    assert sorted(of for of in all_ if of[0] != STRING) == [(DEVICE, 0), (CONFIGURATION, 0)]
    assert all_[CONFIGURATION, 0] == found(high_speed=True)[CONFIGURATION, 1]


class Handler(Elaboratable):
    """One that shows what it is asked for."""

    def __init__(self):
        self.value, self.length, self.start_position = Signal(16), Signal(16), Signal(11)
        self.start, self.stall, self.tx = Signal(), Signal(), None

    def elaborate(self, platform):
        return Module()


@pytest.mark.parametrize("full_speed", [0, 1])
def test_the_speed_chooses_a_configuration_and_nothing_else(full_speed):
    """Number 0 may be asked for, whatever the speed, and no number of another configuration."""
    handler, speed = Handler(), Signal()
    block = BySpeed(handler, speed)

    async def testbench(context):
        context.set(speed, full_speed)
        for kind in (DEVICE, CONFIGURATION, STRING, QUALIFIER, OTHER_SPEED):
            for index in (0, 1, 2, 3, 0xEE):
                context.set(block.value, kind << 8 | index)
                if kind in (CONFIGURATION, OTHER_SPEED):
                    wanted = full_speed if index == 0 else 0xFF
                else:
                    wanted = index
                assert context.get(handler.value) == kind << 8 | wanted

    simulator = Simulator(block)
    simulator.add_testbench(testbench)
    simulator.run()
