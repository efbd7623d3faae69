"""When things happen to a token, in cycles after its issue, for the machine and the compiler's schedule."""

from dataclasses import dataclass

from haarlequin.hw.attention.attention import attention_latency
from haarlequin.hw.attention.softmax import maximum_latency
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.binary_lane import lane_latency
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.local_convolution import convolution_latency
from haarlequin.hw.lanes.popcount import popcount_latency
from haarlequin.hw.lanes.postprocess import PostProcess

FETCH = 3
"""Cycles from a memory's look-up (address being computed) to its word in a register."""

READ_BEFORE_WRITE = 2
"""Cycles from a look-up to the first write that may change the word: the address waits a cycle in a register,
and in the cycle after that the memory reads the word that was there before.
"""
WRITE_BEFORE_READ = 0
"""Cycles from a write to the first look-up that sees it: the same one, as the address waits in a register."""
WRITE_BEFORE_WRITE = 1
"""Cycles from a write of a word to the next write of it."""

NEXT = 1
"""Cycles from the last use of something to the first use by another pass: the cycle after it."""

SEQUENCER_READS = 1
"""Cycles of a pass beyond one for each update of the next pass: the last update, too, is in a register before
that pass begins.
"""

CLIPS_COUNTED = 2
"""Cycles from a pass's last write to its last saturations in the image's count, beyond those of the popcount:
their number waits in a register, then joins the count.
"""
COUNT_TAKEN = 2
"""Cycles from then to the end of the program, in whose last cycle the machine takes the count; one of them is
to spare.
"""

POOL_SPARE = 2
"""Cycles to spare between a tile's last pooled sum and the next tile's first token."""

SIGNS_WRITTEN = 1
"""Cycles from bits of Â to their write into sign memory 0, which has a register before it."""

MAXIMUM_READ = 2
"""Cycles from the look-up of a row's scores to that of its maximum."""

HIGH_AFTER_LOW = 1
"""Cycles from a token's lo to its hi, which is written in the token's second cycle."""


@dataclass(frozen=True)
class Timing:
    """Stages of the pipeline. A look-up is where an address is computed, `FETCH` before its word is used; it
    sees what is written in its own cycle, as its address waits a cycle in a register.
    """

    activation: int
    """The lanes take activation and mask."""
    operands: int
    """They take partial sums and the local convolution."""

    SIGNS = 0
    """Look-up of the sign memories."""
    STREAM = FETCH
    """Their words are there; the local convolution takes its token."""

    @property
    def load(self) -> int:
        """Look-up of lane 0's weights; its load coincides with the `swap`."""
        return self.swap - FETCH

    @property
    def swap(self) -> int:
        """The next weights become current, for the activation of the cycle after."""
        return self.activation - 1

    @property
    def constants(self) -> int:
        """Lane 0's constants are there: no slot is written sooner."""
        return self.load + FETCH

    @property
    def partial(self) -> int:
        """Look-up in bank A."""
        return self.operands - FETCH

    @property
    def acc(self) -> int:
        """The array's sum leaves, and the slot of the constants is taken."""
        return self.operands + 2

    @property
    def shortcut(self) -> int:
        """Look-up in either bank."""
        return self.acc + PostProcess.SHORTCUT - FETCH

    @property
    def residual(self) -> int:
        """Look-up in bank B, and of t_n."""
        return self.acc + PostProcess.RESIDUAL - FETCH

    @property
    def result(self) -> int:
        """y and its bit; as late, lo and hi."""
        return self.acc + PostProcess.LATENCY

    @property
    def mean(self) -> int:
        """Look-up in bank A of what a result is accumulated onto."""
        return self.result - FETCH

    @property
    def softmax(self) -> int:
        """First look-up of a softmax, after the last shortcut of the pass before."""
        return self.shortcut + 1

    @property
    def write(self) -> int:
        """Into banks and sign memories."""
        return self.result + 1

    @property
    def write_high(self) -> int:
        """The like of hi, of a Haar pass."""
        return self.write + HIGH_AFTER_LOW


def maximum_written(stages: Timing, lanes: int) -> int:
    """Stage in which a score has joined its row's maximum."""
    return stages.result + maximum_latency(lanes)


def attention_written(lanes: int) -> int:
    """Cycles from the look-up of a row's last tile of scores to the write of its first tile of Â."""
    return attention_latency(lanes) + SIGNS_WRITTEN


def clips_counted(lanes: int) -> int:
    """Cycles from a pass's last write until the program may end, with all saturations counted: two of a lane
    may clip.
    """
    return CLIPS_COUNTED + popcount_latency(2 * lanes) + COUNT_TAKEN


def pooled(lanes: int) -> int:
    """Cycles from a tile's last write until its sums have left the pool, one lane per cycle."""
    return lanes + POOL_SPARE


def updates_read(updates: int) -> int:
    """Cycles that a pass takes at least, while so many updates of the next pass are read."""
    return updates + SEQUENCER_READS


def timing(config: AcceleratorConfig) -> Timing:
    """The stages of an accelerator. The array waits where the local convolution takes longer."""
    array, local = lane_latency(config.width), FETCH + convolution_latency(config.theta)
    activation = max(FETCH + 1, local + 1 - array)
    result = Timing(activation, activation + array)
    assert result.residual + FETCH + HaarSplit.LATENCY == result.result
    return result
