from dataclasses import replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.attention.attention import Attention
from haarlequin.hw.common.pipeline import streamed
from haarlequin.hw.common.sliced_memory import SlicedMemory
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.lanes.lane_array import LaneArray, array_latency
from haarlequin.hw.lanes.local_convolution import LocalConvolution
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.postprocess import PostProcess
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.timing import (
    CLIPS_COUNTED,
    COUNT_TAKEN,
    FETCH,
    READ_BEFORE_WRITE,
    WRITE_BEFORE_READ,
    attention_written,
    clips_counted,
    timing,
)
from tests.hw.bench import simulate

ARRAYS = [config for config in CONFIGS.values() if isinstance(config, AcceleratorConfig)]
MACHINES = ARRAYS + [
    replace(CONFIGS["2x64"], name=f"{lanes}x{width}, {theta}x{theta}", lanes=lanes, width=width, theta=theta)
    for lanes, width in ((1, 2), (2, 4), (3, 12), (4, 16), (8, 32), (8, 256))
    for theta in (1, 3, 5)
]


@pytest.fixture(params=MACHINES, ids=lambda config: config.name)
def config(request):
    return request.param


def blocks(config):
    array = LaneArray(config.lanes, config.width, config.value_bits, config.widths)
    local = LocalConvolution(config.lanes, config.theta, config.max_columns, config.widths.local_shift)
    return array, local


def test_the_lanes_take_their_operands_when_the_array_wants_them(config):
    array, _ = blocks(config)
    stages = timing(config)
    assert stages.operands - stages.activation == array.operands
    assert stages.acc - stages.activation == array.operands + 2
    assert stages.partial + FETCH == stages.operands
    assert stages.shortcut + FETCH == stages.acc + PostProcess.SHORTCUT
    assert stages.residual + FETCH == stages.acc + PostProcess.RESIDUAL
    assert stages.mean + FETCH == stages.result == stages.acc + PostProcess.LATENCY
    assert stages.write == stages.result + 1


def test_the_program_ends_when_both_saturations_of_every_lane_are_counted(config):
    counted = Popcount(2 * config.lanes).latency
    assert clips_counted(config.lanes) == CLIPS_COUNTED + counted + COUNT_TAKEN


def test_signs_and_convolution_are_there_in_time_and_no_later_than_they_need(config):
    """The activation's word is registered once on its way, the convolution's V_i a cycle before the operands
    at the latest: one of the two leaves no cycle over.
    """
    _, local = blocks(config)
    stages = timing(config)
    spare = (
        stages.activation - stages.STREAM - 1,
        stages.operands - 1 - (stages.STREAM + local.latency),
    )
    assert min(spare) == 0


def test_moves_come_as_the_haar_unit_takes_those_before(config):
    """The pass that lets it begin a tile may load the next tile's."""
    stages = timing(config)
    assert (
        stages.haar + HaarUnit.TAKEN == stages.moves == stages.load + FETCH + array_latency(config.width) + 2
    )
    assert stages.haar >= 1


def test_the_haar_unit_writes_what_it_has_looked_up(config):
    assert HaarUnit.WRITTEN == FETCH + HaarSplit.LATENCY  # it has x before the lanes would


def test_weights_load_beside_the_swap(config):
    """Into the next ones, as the ones before become current for the activation of the cycle after."""
    stages = timing(config)
    assert stages.load + FETCH == stages.swap == stages.activation - 1
    assert stages.load >= 0


class Bank(wiring.Component):
    """A memory as the layers read it: ``address`` is computed in one cycle and waits in a register, the word
    in two.
    """

    write: In(4)
    data: In(8)
    enable: In(1)
    address: In(4)
    word: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = SlicedMemory(8, 16)
        m.d.sync += memory.read.addr.eq(self.address)
        m.d.comb += self.word.eq(streamed(m, memory.read.data, 2))
        m.d.comb += memory.read.en.eq(1)
        m.d.comb += [memory.write.addr.eq(self.write), memory.write.en.eq(self.enable)]
        m.d.comb += memory.write.data.eq(self.data)
        return m


@pytest.mark.parametrize(("cycle", "word"), [(-WRITE_BEFORE_READ, 7), (READ_BEFORE_WRITE, 0)])
def test_what_a_look_up_sees(cycle, word):
    """A write in that cycle after it; between these cycles it is undefined."""
    bank = Bank()

    async def testbench(context):
        for now in range(-1, FETCH):
            context.set(bank.address, 5 if now == 0 else 0)
            context.set(bank.write, 5)
            context.set(bank.data, 7)
            context.set(bank.enable, now == cycle)
            await context.tick()
        assert context.get(bank.word) == word

    simulate(bank, testbench)


def test_rows_of_attention_are_written_when_the_unit_has_them(config):
    """After a register before the sign memory."""
    assert attention_written(config.lanes) == Attention(config).latency + 1


def test_lookups_of_a_memory_come_in_the_order_in_which_it_is_written(config):
    stages = timing(config)
    assert stages.SIGNS + FETCH == stages.STREAM
    assert stages.partial < stages.shortcut < stages.softmax <= stages.mean < stages.write


@pytest.mark.parametrize("theta", [1, 3, 5])
@pytest.mark.parametrize("width", [2, 6, 64, 256])
def test_the_array_waits_for_a_convolution_that_takes_longer(width, theta):
    config = replace(CONFIGS["2x64"], lanes=1, width=width, theta=theta)
    _, local = blocks(config)
    longer = local.latency + 1 - array_latency(width)
    assert timing(config).activation == FETCH + max(1, longer)
