"""The blocks that run the layers, each made for the machine's sizes."""

from amaranth.hdl import Module

from haarlequin.hw.attention.attention import Attention
from haarlequin.hw.attention.row_maximum import RowMaximum
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.pool import Pool
from haarlequin.hw.lanes.banks import Banks
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.lanes.lane_array import LaneArray
from haarlequin.hw.lanes.loader import Loader
from haarlequin.hw.lanes.local_convolution import convolution_latency
from haarlequin.hw.lanes.local_unit import LocalUnit
from haarlequin.hw.lanes.operand import SignOperand
from haarlequin.hw.lanes.sequencer import Sequencer
from haarlequin.hw.lanes.sign_memories import SignMemories
from haarlequin.hw.lanes.weight_store import WeightStore
from haarlequin.hw.timing import timing


class Blocks:
    """The blocks of `Layers`, and when each has its turn.

    Parameters
    ----------
    config : AcceleratorConfig
        The sizes of the machine.

    Attributes
    ----------
    stages : Timing
        The stages of the pipeline.
    store : WeightStore or None
        Where weights come from that are not the loader's own.
    """

    def __init__(self, config: AcceleratorConfig):
        self.config, self.stages = config, timing(config)
        widths, lanes, stages = config.widths, config.lanes, self.stages
        self.sequencer, self.loader = Sequencer(config), Loader(config)
        self.signs, self.operand, self.banks = SignMemories(config), SignOperand(config), Banks(config)
        self.array = LaneArray(lanes, config.width, config.value_bits, widths)
        spare = stages.operands - 1 - stages.STREAM - convolution_latency(config.theta)
        self.local = LocalUnit(config, spare)
        self.haar, self.attention = HaarUnit(config), Attention(config)
        self.store = WeightStore(config) if config.weight_interval else None
        self.maximum = RowMaximum(lanes, widths.wide, config.rows)
        self.pool = Pool(lanes, widths.wide, config.max_tokens)

    def add(self, m: Module) -> None:
        """Make them submodules, but for a store."""
        names = "sequencer loader signs operand banks array local haar attention maximum pool"
        for name in names.split():
            m.submodules[name] = getattr(self, name)
