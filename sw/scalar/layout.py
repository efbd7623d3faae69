"""The data of a model's firmware: its constants, in the order of their use, and its tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from haarlequin.hw.config import ScalarConfig
from haarlequin.hw.scalar.isa import WORD
from haarlequin.models.golden import GoldenModel, exp_table

SPLIT = 14
"""How many bits of a constant of two words its lower word holds."""


@dataclass(frozen=True)
class Buffer:
    """Where a tensor lies, and how its values lie in its words."""

    tensor: str
    """Its name in the golden model's trace, with ``{layer}`` for the layer's number."""
    address: int
    """Address of its first word."""
    shape: tuple[int, ...]
    """Its shape in words."""
    kind: str = "wide"
    """``wide`` tensors have one value per word. ``signs`` and ``bits`` have 16 per word, along the last axis.
    ``planes`` are padded token grids, one per channel, with one value per word."""


class Full(Exception):
    """There are more words than addresses."""


class _Data:
    """Words of memory, laid out one after the other."""

    def __init__(self, size: int):
        self.words: list[int] = []
        self._size = size

    def place(self, values: Iterable[int]) -> int:
        """Put values after all others; returns the address of the first."""
        address = len(self.words)
        for value in values:
            assert -(1 << WORD >> 1) <= value < 1 << WORD, f"{value} does not fit a word"
            self.words.append(int(value) & (1 << WORD) - 1)
        if len(self.words) > self._size:
            raise Full
        return address

    def reserve(self, count: int) -> int:
        """Put ``count`` zeros after all others; returns the address of the first."""
        return self.place([0] * count)

    def share(self, *groups: Sequence[int]) -> list[int]:
        """Reserve one region for several groups of tensors, of which only one group is in use at a time.

        Takes the sizes of each group's tensors; returns the addresses of all tensors, group after group.
        """
        first = self.reserve(max(sum(sizes) for sizes in groups))
        return [first + start for sizes in groups for start in accumulate([0, *sizes[:-1]])]


class Layout:
    """The layout of the data memory: addresses as attributes, and the words that it begins with in ``data``.

    Wide tensors have one word per value, token by token; signs have 16 channels per word. Raises `Full` where
    there is not enough memory.
    """

    def __init__(self, model: GoldenModel, machine: ScalarConfig):
        self.model, self.config, self.c = model, model.config, model.constants
        self.milestone_address = machine.data - 1
        """The firmware stores a number here when tensors are complete: an index of `Firmware.milestones`."""
        self.data = _Data(self.milestone_address)
        self.image = self.data.reserve(machine.pixels // 2)
        config = self.config
        self.n, self.dim, self.words = config.tokens, config.dim, config.dim // WORD
        self.reach = config.theta // 2 if config.diba else 0
        self.plane_columns = config.grid[1] + 2 * self.reach
        self.plane = (config.grid[0] + 2 * self.reach) * self.plane_columns
        self.high = config.widths.affine_shift[1]
        self.slope_high = config.widths.slope_shift[1]
        self._place()

    def _place(self) -> None:
        config, n, dim, data = self.config, self.n, self.dim, self.data
        self.stream = data.place(self._stream())
        self.tokens = data.place(self._token_tables())
        self.positions = data.place(_flat(self.c["embedding.position"]))
        self.exp = data.place(exp_table(config.widths))
        self.ones = data.place([(1 << WORD) - 1])
        rows, columns = config.grid
        grid = [(y, x) for y in range(rows) for x in range(columns)]
        line = config.image[1] * config.channels
        corners = (y * config.patch * line + x * config.patch * config.channels for y, x in grid)
        self.corners = data.place(self.image + corner for corner in corners)
        wide, attention = n * dim, config.heads * n
        bits = 2 * len(config.bands) * n * self.words
        self.x = data.reserve(wide)
        self.parts, self.value, self.context, self.hidden = data.share(
            (2 * wide if config.hfsc else 0, wide, wide), (wide * config.mlp_ratio,)
        )
        if not config.hfsc:
            self.parts = self.x
        self.bits, self.columns, self.rows, self.scores, self.entries, self.mean, self.features = data.share(
            (bits, dim, attention, n, n), (wide,), (dim,)
        )
        self.planes = data.reserve(dim * self.plane)
        self.windows = data.place(y * self.plane_columns + x for y, x in grid)
        self.middle = self.reach * (self.plane_columns + 1)
        self.insides = data.place(self.planes + y * self.plane_columns + x + self.middle for y, x in grid)
        places = []
        for y, x in grid:
            below, right = min(y + 1, rows - 1), min(x + 1, columns - 1)
            places += [(y, right), (below, x), (below, right)]
        self.neighbours = data.place(self.x + dim * (y * columns + x) for y, x in places)

    def _stream(self) -> list[int]:
        """All constants of channels, in the order in which the pointer S walks along them."""
        c, config = self.c, self.config
        found: list[int] = []
        weight, bias = c["embedding.weight"], c["embedding.bias"]
        for channel in range(self.dim):
            # The weights are for the pixel less 128. Here they are for the pixel, with 128 in the bias.
            found += _split(int(bias[channel]) - 128 * int(weight[channel].sum()))
            found += [
                *weight[channel].tolist(),
                int(c["embedding.a"][channel]),
                int(c["embedding.b"][channel]),
            ]
        for layer in range(config.layers):
            found += self._layer_stream(f"layers.{layer}")
        for channel in range(self.dim):
            found += [int(c["head.a"][channel]), int(c["head.b"][channel])]
        for k in range(len(config.classes)):
            found += [*_split(int(c["head.bias"][k])), *c["head.weight"][k].tolist()]
        return found

    def _layer_stream(self, layer: str) -> list[int]:
        c, config = self.c, self.config
        found = [-weight for weight in c[f"{layer}.attention.score_weight"].tolist()]
        for band in config.bands:
            for role in ("query", "key"):
                name = f"{layer}.{role}.{band}"
                found += c[f"{name}.move"].tolist()
                for channel in range(self.dim):
                    found += [*self._weights(name, channel), *self._affine(name, channel)]
        moves = c[f"{layer}.value_move"].tolist()
        found += self._projection(f"{layer}.value", [[move] for move in moves])
        for head in range(config.heads):
            threshold = int(c[f"{layer}.attention.threshold"][head])
            found += [-(threshold >> 1), -(threshold & 1)]
            for channel in range(head * config.head_dim, (head + 1) * config.head_dim):
                if config.diba:
                    found += _flat(c[f"{layer}.local.weight"][channel])
                    found.append(1 << int(c[f"{layer}.local.shift"][channel]))
                found += self._irprelu_words(f"{layer}.context", channel)
        for name in ("output", "expand", "reduce"):
            found += self._projection(f"{layer}.{name}")
        return found

    def _projection(self, name: str, more: list[list[int]] | None = None) -> list[int]:
        found = self.c[f"{name}.move"].tolist()
        for channel in range(len(self.c[f"{name}.weight"])):
            found += [*self._weights(name, channel), *self._irprelu_words(name, channel)]
            found += more[channel] if more else []
        return found

    def _weights(self, name: str, channel: int) -> list[int]:
        return pack(self.c[f"{name}.weight"][channel] > 0).tolist()

    def _affine(self, name: str, channel: int) -> list[int]:
        a, b, shift = (self.c[f"{name}.{part}"] for part in ("a", "b", "shift"))
        return [int(a[channel]) << self.high - int(shift), int(b[channel])]

    def _irprelu_words(self, name: str, channel: int) -> list[int]:
        places = self.slope_high - int(self.c[f"{name}.slope_shift"])
        slopes = [int(self.c[f"{name}.{side}"][channel]) << places for side in ("positive", "negative")]
        return [*self._affine(name, channel), *slopes, int(self.c[f"{name}.offset"][channel])]

    def _token_tables(self) -> list[int]:
        """All t_n, in the order in which the pointer T walks along them; the context's come once per head."""
        times = {"value": 1, "context": self.config.heads, "output": 1, "expand": 1, "reduce": 1}
        return [
            value
            for layer in range(self.config.layers)
            for name, count in times.items()
            for value in self.c[f"layers.{layer}.{name}.token"].tolist() * count
        ]


def _flat(tensor: np.ndarray) -> list[int]:
    return tensor.flatten().tolist()


def _split(value: int) -> list[int]:
    """A constant as two words, the lower part first."""
    return [value & (1 << SPLIT) - 1, value >> SPLIT]


def pack(bits: np.ndarray) -> np.ndarray:
    """Bits (..., K) → words (..., ⌈K / 16⌉), the first bit lowest."""
    whole = np.packbits(bits, axis=-1, bitorder="little")
    whole = np.concatenate([whole, np.zeros((*whole.shape[:-1], whole.shape[-1] % 2), np.uint8)], axis=-1)
    return whole.view("<u2").astype(int)
