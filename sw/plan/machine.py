"""The next machine: its sizes, and the stages of its pipeline that a schedule feels."""

import re
from dataclasses import dataclass

from haarlequin.hw.attention.attention import attention_latency
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.binary_lane import lane_latency
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import UsageError

GROUP = 8
"""Lanes of a group. Each group has its own slice of the banks, and works a cycle after its neighbour."""


@dataclass(frozen=True)
class Machine:
    """The next machine with so many lanes and bits of a word, L and K. Raises `UsageError` for sizes that it
    cannot have.

    Look-ups and writes are in cycles after the issue of a token, as in `hw.timing`, with the longer pipeline
    of the next machine: a memory takes one cycle more, and post-processing takes three.
    """

    lanes: int
    width: int
    values_twice: bool = False
    """Whether a word of V holds each value twice, so that one of Â meets only K / 2 tokens."""

    def __post_init__(self):
        # A word of scores has one band in each half, and tiles must not lie across the two.
        if not (self.lanes and self.width) or self.width % (2 * self.lanes):
            raise UsageError(
                f"{self.name}: half of a word must be a multiple of the lanes, as in 32x128, not "
                f"{self.width} / 2 for {self.lanes}"
            )

    @property
    def name(self) -> str:
        return f"{self.lanes}x{self.width}"

    @property
    def macs(self) -> int:
        """Multipliers of the stem: 8 for up to 8 lanes, otherwise 16."""
        return 8 if self.lanes <= 8 else 16

    @property
    def multipliers(self) -> int:
        """Two for each lane, those of the stem, and those of its affine, of the head and of the softmax."""
        return 2 * self.lanes + self.macs + 3

    @property
    def slow(self) -> int:
        """Cycles that the softmax takes for a tile of keys: it is at most 16 lanes wide, or half of them."""
        return -(-self.lanes // max(16, self.lanes // 2))

    @property
    def rounds(self) -> int:
        """Rounds in which a tile of V is transposed, 16 columns, or half of the lanes, in each."""
        return self.slow

    @property
    def partial(self) -> int:
        """Look-up of partial sums in bank A."""
        return 1 + lane_latency(self.width)

    @property
    def shortcut(self) -> int:
        """Look-up of shortcuts in any bank."""
        return self.partial + 5

    @property
    def residual(self) -> int:
        """Look-up of residuals in bank B, and of x by the Haar unit."""
        return self.shortcut + 4

    @property
    def softmax(self) -> int:
        """First look-up of a softmax that begins with a pass."""
        return self.shortcut + 1

    @property
    def written(self) -> int:
        """A result is in a bank."""
        return self.softmax + 11

    @property
    def signed(self) -> int:
        """A result's sign is in a sign memory: the last group of lanes is the latest."""
        return self.written + -(-self.lanes // GROUP) - 1

    @property
    def attention(self) -> int:
        """Cycles from the look-up of a row's last scores until the first signs of Â are written."""
        return attention_latency(self.lanes)


_SIZES = re.compile(r"(\d{1,4})x(\d{1,4})")


def machine_of(name: str) -> Machine:
    """The machine of that name: lanes × bits of a word, such as 32x192, or a preset's lanes and width."""
    if found := _SIZES.fullmatch(name):
        return Machine(int(found[1]), int(found[2]))
    config = CONFIGS.get(name)
    if isinstance(config, AcceleratorConfig):
        return Machine(config.lanes, config.width)
    raise UsageError(f"stages need lanes × bits of a word, such as 32x128 or 8x96, not {name!r}")
