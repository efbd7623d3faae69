"""When things happen to a token, in cycles behind its issue: shared by the machine and the compiler's
schedule.
"""

from dataclasses import dataclass

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.binary_lane import lane_latency
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.local_convolution import convolution_latency
from haarlequin.hw.lanes.postprocess import PostProcess

FETCH = 3
"""Cycles from a memory's look-up (address being computed) to its word in a register."""


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
        """Look-up of lane 0's weights; its load coincides with the swap, a cycle before `activation`."""
        return self.activation - 1 - FETCH

    @property
    def partial(self) -> int:
        """Look-up in bank A."""
        return self.operands - FETCH

    @property
    def acc(self) -> int:
        """Of the array, and with it the slot of the constants."""
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
        """First look-up of a softmax, behind the last shortcut of the pass before."""
        return self.shortcut + 1

    @property
    def write(self) -> int:
        """Into banks and sign memories."""
        return self.result + 1


def timing(config: AcceleratorConfig) -> Timing:
    """The stages of an accelerator. The array waits where the local convolution takes longer."""
    array, local = lane_latency(config.width), FETCH + convolution_latency(config.theta)
    activation = max(FETCH + 1, local + 1 - array)
    result = Timing(activation, activation + array)
    assert result.residual + FETCH + HaarSplit.LATENCY == result.result
    return result
