"""The timing of a token in cycles after its issue, for the machine and for the compiler's schedule."""

from dataclasses import dataclass

from haarlequin.hw.attention.attention import attention_latency
from haarlequin.hw.attention.row_maximum import maximum_latency
from haarlequin.hw.common.pipeline import SPREAD
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.lanes.lane_array import array_latency
from haarlequin.hw.lanes.local_convolution import convolution_latency
from haarlequin.hw.lanes.popcount import popcount_latency
from haarlequin.hw.lanes.postprocess import PostProcess

FETCH = 4
"""Cycles from the look-up of a word (in which its address is computed) until it is where it is used. After
the block RAM it waits in a register, which an ECP5's block RAM has itself, and in a second one at its lane.
"""
READ_BEFORE_WRITE = 2
"""Cycles from a look-up to the first write that may change the word. The address waits one cycle in a
register, and in the next cycle the memory still reads the word from before the write.
"""
WRITE_BEFORE_READ = 0
"""Cycles from a write to the first look-up that sees it. It may be the same cycle, because the address of the
look-up waits one cycle in a register.
"""
WRITE_BEFORE_WRITE = 1
"""Cycles from one write of a word to the next."""

NEXT = 1
"""Cycles from the last use of something by a pass to its first use by another pass."""

SEQUENCER_READS = 4
"""Cycles that a pass needs beyond one for each update of the next pass. The last update has to be in a
register before that pass begins, and after the program's end its first update takes three cycles more.
"""

CLIPS_COUNTED = 2
"""Cycles from the last write of a pass until the image's count includes its saturations, beyond the latency
of the popcount: their number waits in a register, and is then added to the count.
"""
COUNT_TAKEN = 2
"""Cycles from then to the end of the program. The machine takes the count in the program's last cycle. One of
the two cycles is a spare.
"""

POOL_SPARE = 2
"""Spare cycles between the last pooled sum of a tile and the first token of the next tile."""

SIGNS_WRITTEN = 1
"""Cycles from bits of Â to their write into sign memory 0, because they wait in a register."""

MAXIMUM_READ = 2
"""Cycles from the look-up of the scores of a row to the look-up of its maximum."""

HAAR_TOKEN = 2
"""Cycles that the Haar unit takes for a token."""
HIGH_AFTER_LOW = 1
"""Cycles from the write of a token's lo to the write of its hi, which comes in the token's second cycle."""


@dataclass(frozen=True)
class Timing:
    """The stages of the pipeline, in cycles after the issue of a token.

    A look-up is the stage in which an address is computed, `FETCH` cycles before the word is used. It sees a
    write in the same cycle, because the address waits one cycle in a register.
    """

    activation: int
    """The lanes take the activation."""
    operands: int
    """The lanes take partial sums and the result of the local convolution."""

    SIGNS = 0
    """Look-up in the sign memories."""
    STREAM = FETCH
    """The words of the sign memories are there, and the local convolution takes its token."""

    @property
    def load(self) -> int:
        """Look-up of the weights of lane 0, which are loaded in the same cycle as `swap`."""
        return self.swap - FETCH

    @property
    def swap(self) -> int:
        """The next weights become the current ones, for the activation of the next cycle; in the lanes, which
        both reach `SPREAD` later.
        """
        return self.activation - 1

    @property
    def local(self) -> int:
        """The lanes take their weights of the local convolution, which load beside those of the array."""
        return self.STREAM - SPREAD

    @property
    def partial(self) -> int:
        """Look-up of partial sums, in bank C or bank A."""
        return self.operands - FETCH

    @property
    def acc(self) -> int:
        """The sum leaves the array, and the lanes take their constants. The next ones load from here on."""
        return self.operands + 2

    @property
    def shortcut(self) -> int:
        """Look-up of shortcuts in bank A or bank B."""
        return self.acc + PostProcess.SHORTCUT - FETCH

    @property
    def residual(self) -> int:
        """Look-up of residuals in bank B, and of t_n."""
        return self.acc + PostProcess.RESIDUAL - FETCH

    @property
    def result(self) -> int:
        """The result y and its bit are there."""
        return self.acc + PostProcess.LATENCY

    @property
    def mean(self) -> int:
        """Look-up in bank A of the values to which results are added."""
        return self.result - FETCH

    @property
    def softmax(self) -> int:
        """First look-up of a softmax, after the last look-up of a shortcut by the pass before."""
        return self.shortcut + 1

    @property
    def write(self) -> int:
        """Results are written into banks and sign memories."""
        return self.result + 1

    @property
    def moves(self) -> int:
        """Lane 0's moves come for the next tile that the Haar unit splits."""
        return self.acc - 1

    @property
    def haar(self) -> int:
        """First look-up of the Haar unit. It then takes its moves as the next ones, which the same pass may
        load, begin to come.
        """
        return self.moves - HaarUnit.TAKEN


def maximum_written(stages: Timing, lanes: int) -> int:
    """The stage in which the maximum of a row includes a score."""
    return stages.result + maximum_latency(lanes)


def attention_written(lanes: int) -> int:
    """Cycles from the look-up of the last tile of scores of a row to the write of its first tile of Â."""
    return attention_latency(lanes) + SIGNS_WRITTEN


def clips_counted(lanes: int) -> int:
    """Cycles from the last write of a pass until the program may end, with all saturations counted.

    There may be two of them for each lane.
    """
    return CLIPS_COUNTED + popcount_latency(2 * lanes) + COUNT_TAKEN


def pooled(lanes: int) -> int:
    """Cycles from the last write of a tile until its sums have left the pool, one lane per cycle."""
    return lanes + POOL_SPARE


def updates_read(updates: int) -> int:
    """The fewest cycles that a pass can take if the next pass has so many updates."""
    return updates + SEQUENCER_READS


def timing(config: AcceleratorConfig) -> Timing:
    """The stages of an accelerator. If the local convolution takes longer than the array, the array waits."""
    array, local = array_latency(config.width), FETCH + convolution_latency(config.theta)
    activation = max(FETCH + 1, local + 1 - array)
    return Timing(activation, activation + array)
