"""The sizes of an accelerator; those that have a name are in `hw.presets`.

`AcceleratorConfig` describes an accelerator with lanes, `ScalarConfig` one for the smallest parts. All shapes
in `hw/` come from them.
"""

import json
import math
import zlib
from dataclasses import asdict, dataclass, field

from haarlequin.hw.link.protocol import CLASS_BITS
from haarlequin.models.common.errors import ConfigError
from haarlequin.models.widths import Widths

FORMAT = 4
"""The version of the tables that the host loads. It is part of the digest: raise it when the words of a table
get another meaning, and older bitstreams refuse the new tables.
"""


@dataclass(frozen=True)
class AcceleratorConfig:
    """The sizes of one accelerator. An illegal combination raises `ConfigError`.

    The sizes of memories are numbers of words. A word of the weights (one lane's share of a step) and of the
    signs has ``width`` bits. A word of a bank has one wide value for each lane. A word of the constants is
    for one lane, and a word of the token offsets is one t_n.
    """

    name: str
    lanes: int
    width: int
    """K: the number of weight bits of a lane, and of activation bits per cycle."""
    weights: int
    constants: int
    local: int
    """Words of the local convolution. Each has the weights and the shift of one channel."""
    tokens: int
    """Token offsets t_n, of all layers together."""
    signs: int
    """Words of each of the two sign memories."""
    bank_a: int
    bank_b: int
    program: int
    """Updates of the program. A pass has about four of them."""
    macs: int = 4
    """The number of multipliers of the embedding."""
    pixels: int = 2 * 64
    """Bytes of the image memory, which holds two images."""
    max_columns: int = 16
    """The width of the widest token grid."""
    max_tokens: int = 64
    """N, the number of tokens of the largest grid."""
    max_keys: int = 0
    """N of the largest grid with attention; 0 is ``max_tokens``."""
    max_channels: int = 128
    """C, the number of channels of the widest tokens."""
    max_values: int = 0
    """N·C, the number of values of the largest embedded image; 0 is ``max_tokens`` · ``max_channels``."""
    positions: int = 0
    """Words of the stem's positions; 0 is as many as an embedded image has values."""
    bank_c: int = 0
    """Words of a third bank, for partial sums. With 0 they lie in bank A, which has one port to read."""
    weight_interval: int = 0
    """With 0 the weights lie in block RAMs. Otherwise they come in a stream, tile by tile: here from a store
    that stands in for an SDRAM and has a word in so many cycles."""
    windows: int = 0
    """In how many of the sign memories a word can have the signs of three tokens of a row side by side: 1 is
    memory 0, with 2 memory 1 can as well, in the upper half of its words. Each of these chunks is a memory of
    its own then."""
    max_patch_length: int = 48
    """The number of values of the largest patch."""
    max_classes: int = 10
    answers: int = 0
    """Words for the answers of a segmentation network, which has one for each token; 0 is none of them."""
    rows: int = 128
    """Rows of scores, of all heads together."""
    theta: int = 3
    """The size of the largest local convolution."""
    widths: Widths = field(default_factory=Widths)

    @property
    def value_bits(self) -> int:
        """How many of a lane's weight bits can take V, one for each token. They are the highest ones."""
        return min(self.width, self.lanes * math.ceil(self.keys / self.lanes))

    @property
    def keys(self) -> int:
        """N of the largest grid with attention."""
        return self.max_keys or self.max_tokens

    @property
    def partial_sums(self) -> int:
        """Words of the bank in which partial sums lie."""
        return self.bank_c or self.bank_a

    @property
    def values(self) -> int:
        """N·C, the number of values of the largest embedded image."""
        return self.max_values or self.max_tokens * self.max_channels

    @property
    def position_words(self) -> int:
        """Words of the stem's positions."""
        return self.positions or self.values

    @property
    def chunks(self) -> int:
        """Chunks of a word of signs, each with a bit for each lane."""
        return self.width // self.lanes

    @property
    def edge_parts(self) -> tuple[int, ...]:
        """Which bit of a pass's ``left`` and ``right`` is for each chunk of a word: with windows its own,
        otherwise that of its half.
        """
        return tuple(i if self.windows else self.half(i) for i in range(self.chunks))

    def half(self, chunk: int) -> int:
        """The half of a word in which a chunk is: 0 or 1."""
        return int(chunk >= self.chunks // 2)

    @property
    def digest(self) -> int:
        """32 bits that host and machine compare, to know that they agree on all sizes and on the tables."""
        return _digest(self)

    def __post_init__(self):
        sizes = (
            "lanes",
            "width",
            "weights",
            "constants",
            "local",
            "tokens",
            "signs",
            "bank_a",
            "bank_b",
            "program",
        )
        limits = ("max_columns", "max_tokens", "max_channels", "max_patch_length", "max_classes")
        derived = ("keys", "values", "position_words")
        for name in (*sizes, "macs", "pixels", *limits, *derived, "rows"):
            value = getattr(self, name)
            if not (type(value) is int and value >= 1):
                raise ConfigError(f"{name} must be a positive integer, not {value!r}")
        for name, what in (("bank_c", "words"), ("weight_interval", "cycles")):
            value = getattr(self, name)
            if not (type(value) is int and value >= 0):
                raise ConfigError(f"{name} must be a number of {what}, or 0, not {value!r}")
        if self.width % self.lanes or self.width % 2:
            raise ConfigError(f"width must be even and a multiple of lanes: {self.width} for {self.lanes}")
        if self.answers and self.max_classes > 1 << CLASS_BITS:
            raise ConfigError(f"a class of a token has {CLASS_BITS} bits: max_classes is {self.max_classes}")
        if self.bank_b & (self.bank_b - 1):
            raise ConfigError(f"bank_b must be a power of two, two regions, not {self.bank_b}")
        w = self.widths
        if 4 * w.offset > w.multiplier + w.bias + 2 * w.slope + 2 * w.offset:
            raise ConfigError(f"offset must be narrower: four of {w.offset} bits share a word of constants")
        units = {"multiplier": w.affine_shift[0] + 1, "slope": w.slope_shift[0] + 1}
        units["multiplier"] = max(units["multiplier"], w.score_weight + w.affine_shift[0] - 1)
        for name, bits in units.items():
            if getattr(w, name) <= bits:
                raise ConfigError(
                    f"{name} must have more than {bits} bits to hold what leaves a sum as it is"
                )
        if w.affine_shift[1] < 1:
            raise ConfigError("affine_shift must end at 1 at least: scores are stored as halves")
        if self.theta not in (1, 3, 5):
            raise ConfigError(f"theta must be 1, 3 or 5, not {self.theta}")


@dataclass(frozen=True)
class ScalarConfig:
    """The sizes of an accelerator with a scalar core and its firmware (`hw/scalar/`) in place of lanes.

    An illegal combination raises `ConfigError`.
    """

    name: str
    data: int = 1 << 16
    """Words of the data memory."""
    pixels: int = 2 * 256
    """Bytes of the image memory, which holds two images."""
    widths: Widths = field(default_factory=Widths)

    lanes = 1
    width = 16
    """The number of bits whose agreements are counted in one cycle."""

    def __post_init__(self):
        if not (type(self.data) is int and 1 <= self.data <= 1 << 16):
            raise ConfigError(f"data must be 1 to 65536 words, not {self.data!r}")
        if not (type(self.pixels) is int and self.pixels in (2 << bits for bits in range(14))):
            raise ConfigError(f"pixels must be a power of two, 2 to 16384, not {self.pixels!r}")

    @property
    def digest(self) -> int:
        """32 bits that host and machine compare, to know that they agree on all sizes and on the tables."""
        return _digest(self)


AnyConfig = AcceleratorConfig | ScalarConfig


def _digest(config: AnyConfig) -> int:
    return zlib.crc32(json.dumps({"format": FORMAT} | asdict(config), sort_keys=True).encode())
