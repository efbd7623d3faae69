"""A golden model → the scalar core's code, its data, and where its tensors are when.

The code is of one shape: loops over layers, tokens and channels, through which one pointer S walks along the
constants in the order in which they are used, and goes back for each token. Wide tensors are a word a value,
token by token; signs are 16 channels a word.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hw.config import ScalarConfig
from models.config import ModelConfig
from models.golden import GoldenModel, exp_table
from sw.compiler.resources import DoesNotFit

from .assembler import SIGNS, Assembler, At
from .isa import ADDRESS, REGISTERS, WORD, Alu, Control

LD, ADD, SUB, MIN, MUL, MAC, LDT, BIT, LDP, MULP = Alu
ST, STB, STR, STBR, DOT, DOTA, ASR, ASRR, SAT, JMP, DJNZ, OUT, HALT, LDX = Control

MARK = (1 << ADDRESS) - 1
"""Address of the word that is stored when tensors are complete: which, `Firmware.marks`."""

SPLIT = 14
"""Bits of a wide constant that its lower word holds."""

WIDE, FEATURE = 0, 1
"""What SAT clips to."""


@dataclass(frozen=True)
class Buffer:
    """Words of a tensor: ``address`` of its first and how its values lie."""

    tensor: str
    """By its name in the golden model's trace, ``{layer}`` for its layer's number."""
    address: int
    shape: tuple[int, ...]
    """Of words."""
    kind: str = "wide"
    """``signs`` and ``bits`` have 16 a word, along the last axis; ``planes`` are padded token grids, a
    channel each."""


@dataclass(frozen=True)
class Firmware:
    """A model compiled for the scalar machine."""

    model: GoldenModel
    code: list[int]
    data: list[int]
    """Words from address 0 on, unsigned; first those in whose place the core sees the image."""
    marks: list[list[Buffer]]


class _Full(Exception):
    """There are more words than addresses."""


class _Data:
    """Words of memory, laid out one after the other."""

    def __init__(self):
        self.words: list[int] = []

    def place(self, values: Iterable[int]) -> int:
        """Their address."""
        address = len(self.words)
        for value in values:
            assert -(1 << WORD >> 1) <= value < 1 << WORD, f"{value} does not fit a word"
            self.words.append(int(value) & (1 << WORD) - 1)
        if len(self.words) > MARK:
            raise _Full
        return address

    def reserve(self, count: int) -> int:
        """The address of so many zeros."""
        return self.place([0] * count)


def check_shape(model: GoldenModel, machine: ScalarConfig) -> None:
    """Raise `DoesNotFit` for a model that the firmware has no loops for."""
    config, hidden = model.config, model.config.dim * model.config.mlp_ratio
    if config.widths != machine.widths:
        raise DoesNotFit(f"{config.name}: its widths differ from those of {machine.name}")
    most = {
        "tokens": (config.tokens, WORD),
        "channels of the MLP": (hidden, WORD * (REGISTERS - SIGNS)),
        "values of a wide tensor": (config.dim * config.tokens, 2048),
        "values of a patch": (config.patch_length, 48),
        "bytes of an image": (_bytes(config), machine.pixels // 2),
    }
    wrong = [f"{name} {has}, {limit} at most" for name, (has, limit) in most.items() if has > limit]
    parts = {"channels": config.dim, "channels of a head": config.head_dim}
    wrong += [f"{name} {has}, no multiple of {WORD}" for name, has in parts.items() if has % WORD]
    if wrong:
        raise DoesNotFit(f"{config.name} does not fit {machine.name}: {'; '.join(wrong)}")


def _bytes(config: ModelConfig) -> int:
    return config.image[0] * config.image[1] * config.channels


def firmware(model: GoldenModel, machine: ScalarConfig) -> Firmware:
    """Code and data; raises `DoesNotFit`."""
    check_shape(model, machine)
    try:
        return _Builder(model, machine).build()
    except _Full:
        name = model.config.name
        raise DoesNotFit(f"{name} does not fit {machine.name}: more than {MARK:,} words of data") from None


class _Builder:
    def __init__(self, model: GoldenModel, machine: ScalarConfig):
        self.model, self.config, self.c = model, model.config, model.constants
        self.a, self.data, self.marks = Assembler(), _Data(), []
        self.image = self.data.reserve(machine.pixels // 2)
        config = self.config
        self.n, self.dim, self.words = config.tokens, config.dim, config.dim // WORD
        self.reach = config.theta // 2 if config.diba else 0
        self.plane_columns = config.grid[1] + 2 * self.reach
        self.plane = (config.grid[0] + 2 * self.reach) * self.plane_columns
        self.high = config.widths.affine_shift[1]
        self.slope_high = config.widths.slope_shift[1]

    def build(self) -> Firmware:
        self._place()
        a = self.a
        a.pair("one")
        for name, value in (("one", 1), ("one'", -1), ("S", self.stream), ("T", self.tokens), ("mark", MARK)):
            a.set(name, value)
        self._embed()
        with a.loop("layer", self.config.layers):
            self._layer()
        self._head()
        a(HALT)
        return Firmware(self.model, [one.encode() for one in a.code], self.data.words, self.marks)

    # Data

    def _place(self) -> None:
        config, n, dim, data = self.config, self.n, self.dim, self.data
        self.stream = data.place(self._stream())
        self.tokens = data.place(self._token_tables())
        self.positions = data.place(_flat(self.c["embedding.position"]))
        self.exp = data.place(exp_table(config.widths).tolist())
        self.ones = data.place([(1 << WORD) - 1])
        rows, columns = config.grid
        grid = [(y, x) for y in range(rows) for x in range(columns)]
        line = config.image[1] * config.channels
        corners = (y * config.patch * line + x * config.patch * config.channels for y, x in grid)
        self.corners = data.place(self.image + corner for corner in corners)
        self.x, self.value, self.context = (data.reserve(n * dim) for _ in range(3))
        self.parts = data.reserve(2 * n * dim) if config.hfsc else self.x
        self.bits = data.reserve(2 * len(config.bands) * n * self.words)
        self.planes = data.reserve(dim * self.plane)
        self.columns = data.reserve(dim)
        self.rows = data.reserve(config.heads * n)
        self.scores, self.entries = data.reserve(n), data.reserve(n)
        self.hidden, self.mean = data.reserve(n * dim * config.mlp_ratio), data.reserve(n * dim)
        self.features = data.reserve(dim)
        self.windows = data.place(y * self.plane_columns + x for y, x in grid)
        self.middle = self.reach * (self.plane_columns + 1)
        self.insides = data.place(self.planes + y * self.plane_columns + x + self.middle for y, x in grid)
        places = []
        for y, x in grid:
            below, right = min(y + 1, rows - 1), min(x + 1, columns - 1)
            places += [(y, right), (below, x), (below, right)]
        self.neighbours = data.place(self.x + dim * (y * columns + x) for y, x in places)

    def _stream(self) -> list[int]:
        """All constants that are a channel's, in the order in which S walks along them."""
        c, config = self.c, self.config
        found: list[int] = []
        weight, bias = c["embedding.weight"], c["embedding.bias"]
        for channel in range(self.dim):
            # Of the pixel less 128, that is of the pixel and a bias.
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
        return pack((self.c[f"{name}.weight"][channel] > 0).numpy()).tolist()

    def _affine(self, name: str, channel: int) -> list[int]:
        a, b, shift = (self.c[f"{name}.{part}"] for part in ("a", "b", "shift"))
        return [int(a[channel]) << self.high - int(shift), int(b[channel])]

    def _irprelu_words(self, name: str, channel: int) -> list[int]:
        places = self.slope_high - int(self.c[f"{name}.slope_shift"])
        slopes = [int(self.c[f"{name}.{side}"][channel]) << places for side in ("positive", "negative")]
        return [*self._affine(name, channel), *slopes, int(self.c[f"{name}.offset"][channel])]

    def _token_tables(self) -> list[int]:
        """t_n, in the order in which T walks along them: the context's once a head."""
        times = {"value": 1, "context": self.config.heads, "output": 1, "expand": 1, "reduce": 1}
        return [
            value
            for layer in range(self.config.layers)
            for name, count in times.items()
            for value in self.c[f"layers.{layer}.{name}.token"].tolist() * count
        ]

    # Code

    def _mark(self, *buffers: Buffer) -> None:
        self.a(LD, len(self.marks))
        self.a(ST, At("mark"))
        self.marks.append(list(buffers))

    def _wide(self, name: str, address: int, repeats: int = 1) -> Buffer:
        return Buffer(name, address, (self.n, self.dim * repeats))

    def _signs(self, words: int) -> None:
        """A row of signs from where X points, by the moves that S points at; X is behind the row then."""
        a = self.a
        for word in range(words):
            with a.loop("bit", WORD):
                a(LD, At("X", 1))
                a(BIT, At("S", 1))
            a(STBR, SIGNS + word)

    def _dot(self, words: int) -> None:
        """ACC = W·s of a channel."""
        self.a(LD, -WORD * words)
        self.a.dot(DOT, "S", words)

    def _affine_code(self) -> None:
        self.a(MUL, At("S", 1))
        self.a(ASRR, 0, self.high)
        self.a(ADD, At("S", 1))

    def _irprelu(self, shortcut: At, residual: At | None = None) -> None:
        a = self.a
        self._affine_code()
        a(ADD, shortcut)
        a(SAT, 0, WIDE)
        a(MULP, At("S", 2))
        a(ASRR, 0, self.slope_high)
        a(ADD, At("S", 1))
        a(ADD, "t")
        if residual:
            a(ADD, residual)
        a(SAT, 0, WIDE)

    def _tokens(self, offsets: bool = True):
        """A loop over the tokens, each with the constants from where S is now, and its t_n."""
        return _Tokens(self.a, self.n, offsets)

    def _embed(self) -> None:
        a, config = self.a, self.config
        shift = int(self.c["embedding.shift"])
        run = config.patch * config.channels  # taps of a patch's row
        line = config.image[1] * config.channels
        with a.scope():
            for name, address in (("at", self.corners), ("position", self.positions), ("Y", self.x)):
                a.set(name, address)
            with self._tokens(offsets=False):
                a.set("pixel", At("at", 1))
                with a.loop("channel", self.dim):
                    self._split_constant()
                    for tap in range(config.patch_length):
                        row_ends, ends = (tap + 1) % run == 0, tap == config.patch_length - 1
                        step = 1 + (line - run) * row_ends
                        a(LDT, At("S", 1))
                        a(MAC, At("pixel", -line * (config.patch - 1) - run + 1 if ends else step))
                    if config.embedding_acc_shift:
                        a(ASR, 0, config.embedding_acc_shift)
                    a(MUL, At("S", 1))
                    a(ASRR, 0, shift)
                    a(ADD, At("S", 1))
                    a(SAT, 0, WIDE)
                    a(ADD, At("position", 1))
                    a(SAT, 0, WIDE)
                    a(ST, At("Y", 1))
        self._mark(self._wide("embedding.x", self.x))

    def _split_constant(self) -> None:
        a = self.a
        a(LD, At("S", 1))
        a(LDT, At("S", 1))
        a(MAC, 1 << SPLIT)

    def _layer(self) -> None:
        a = self.a
        with a.scope():
            for band in range(len(self.config.bands)):
                a.set(f"weight {band}", At("S", 1))
            if self.config.hfsc:
                with a.scope():
                    self._haar()
            with a.scope():
                self._queries_and_keys()
            with a.scope():
                self._value()
            with a.scope():
                self._attention()
        with a.scope():
            self._output()
        with a.scope():
            self._expand()
        with a.scope():
            self._mean()
        with a.scope():
            self._reduce()

    def _haar(self) -> None:
        a, low, high = self.a, self.parts, self.parts + self.n * self.dim
        pointers = {"X": self.x, "at": self.neighbours, "low": low, "high": high}
        for name, address in pointers.items():
            a.set(name, address)
        with a.loop("token", self.n):
            for name in ("right", "below", "across"):
                a.set(name, At("at", 1))
            with a.loop("channel", self.dim):
                a(LD, At("X"))
                for name in ("right", "below", "across"):
                    a(ADD, At(name, 1))
                a(ASR, 0, 2)
                a(ST, At("low", 1))
                a(STR, "mean")
                a(LD, At("X", 1))
                a(SUB, "mean")
                a(SAT, 0, WIDE)
                a(ST, At("high", 1))
        self._mark(self._wide("layers.{layer}.x_lo", low), self._wide("layers.{layer}.x_hi", high))

    def _queries_and_keys(self) -> None:
        a, bands = self.a, self.config.bands
        a.set("part", self.parts)
        a.set("Q", self.bits)
        with a.loop("band", len(bands)):
            with a.loop("role", 2):
                a.set("X", "part")
                with self._tokens(offsets=False):
                    a.set("Y", "X")
                    self._signs(self.words)
                    with a.loop("word", self.words):
                        with a.loop("bit", WORD):
                            self._dot(self.words)
                            self._affine_code()
                            a(ADD, At("Y", 1))
                            a(BIT, 0)
                        a(STB, At("Q", 1))
            a.set("part", "X")
        size = self.n * self.words
        self._mark(
            *(
                Buffer(
                    f"layers.{{layer}}.{role}.{band}",
                    self.bits + (2 * i + j) * size,
                    (self.n, self.words),
                    "signs",
                )
                for i, band in enumerate(bands)
                for j, role in enumerate(("query", "key"))
            )
        )

    def _value(self) -> None:
        """V', and V as numbers in planes and as bits, a word of tokens a channel."""
        a, (rows, columns) = self.a, self.config.grid
        for name, address in {"X": self.x, "V": self.value, "at": self.insides}.items():
            a.set(name, address)
        with self._tokens():
            a.set("plane", At("at", 1))
            a.set("Y", "X")
            self._signs(self.words)
            with a.loop("channel", self.dim):
                self._dot(self.words)
                self._irprelu(At("Y", 1))
                a(ST, At("V", 1))
                a(ADD, At("S", 1))
                a(LDP, "one")
                a(ST, At("plane", self.plane))
        a.set("plane", self.planes + self.middle)
        a.set("column", self.columns)
        with a.loop("channel", self.dim):
            with a.loop("row", rows):
                with a.loop("token", columns):
                    a(LD, At("plane", 1))
                    a(BIT, 0)
                a.move_on("plane", 2 * self.reach)
            a.move_on("plane", 2 * self.reach * self.plane_columns)
            self._fill_up()
            a(STB, At("column", 1))
        shape = self.dim, self.plane // self.plane_columns, self.plane_columns
        planes = Buffer("layers.{layer}.v", self.planes, shape, "planes")
        self._mark(self._wide("layers.{layer}.value", self.value), planes)

    def _fill_up(self) -> None:
        """Zeros for tokens that a word has beyond the last."""
        if self.n < WORD:
            with self.a.loop("bit", WORD - self.n, start=-1):
                self.a(BIT, 0)

    def _attention(self) -> None:
        a, config = self.a, self.config
        own = config.head_dim // WORD  # words of a head
        walks = {
            "head's queries": (self.bits, own),
            "head's planes": (self.planes, config.head_dim * self.plane),
            "head's columns": (self.columns, config.head_dim),
            "head's V": (self.value, config.head_dim),
            "head's context": (self.context, config.head_dim),
        }
        for name, (address, _) in walks.items():
            a.set(name, address)
        a.set("row", self.rows)
        a.pair("own term")
        a.set("own term'", -1)
        with a.loop("head", config.heads):
            a.set("threshold", At("S", 1))
            a.set("rest", At("S", 1))
            a.set("window", self.windows)
            for name, head in {"query": "queries", "V": "V", "C": "context"}.items():
                a.set(name, f"head's {head}")
            with self._tokens():
                self._row(own)
                self._context()
            for name, (_, step) in walks.items():
                a(LD, name)
                a(ADD, step)
                a(STR, name)
        rows = Buffer("layers.{layer}.attention", self.rows, (config.heads, self.n, 1), "bits")
        self._mark(rows, self._wide("layers.{layer}.context", self.context))

    def _row(self, own: int) -> None:
        """A row of Â of a head, into a word and into the first register of signs."""
        a, config = self.a, self.config
        band = 2 * self.n * self.words  # words of a band's queries and keys
        a.set("at", "query")
        for i in range(len(config.bands)):
            for word in range(own):
                a(LD, At("at", 1 if word < own - 1 else band - own + 1))
                a(STR, SIGNS + i * own + word)
        a.move_on("query", self.words)
        # Keys are where the head's queries are, behind all queries.
        a(LD, "head's queries")
        for i in range(len(config.bands)):
            a(ADD, band if i else self.n * self.words)
            a(STR, f"keys {i}")
        a.set("smallest", (1 << WORD - 1) - 1)
        a.set("score", self.scores)
        with a.loop("key", self.n):
            # −S, so that the smallest is the largest's.
            for i in range(len(config.bands)):
                a(LD, -config.head_dim)
                a.dot(DOT, f"keys {i}", own, i * own)
                a(MUL, f"weight {i}")
                if i:
                    a(ADD, "sum")
                if i < len(config.bands) - 1:
                    a(STR, "sum")
            a(ST, At("score", 1))
            a(MIN, "smallest")
            a(STR, "smallest")
            for i in range(len(config.bands)):
                a.move_on(f"keys {i}", self.words - own)
        a.set("score", self.scores)
        a.set("entry", self.entries)
        a.set("exp", self.exp)
        a.set("sum", 0)
        with a.loop("key", self.n):
            a(LD, At("score", 1))
            a(SUB, "smallest")
            if config.score_shift:
                a(ASR, 0, config.score_shift)
            a(MIN, len(exp_table(config.widths)) - 1)
            a(LDX, "exp")
            a(ST, At("entry", 1))
            a(ADD, "sum")
            a(STR, "sum")
        # Less the least entry that is enough: ⌊−τ·Σ / 2^16⌋, τ in two parts as it has no sign.
        a(LDT, "sum")
        a(LD, 0)
        for part in ("threshold", "threshold", "rest"):
            a(MAC, part)
        a(ASR, 0, config.widths.threshold)
        a(STR, "sum")
        a.set("entry", self.entries)
        with a.loop("key", self.n):
            a(LD, At("entry", 1))
            a(BIT, "sum")
        self._fill_up()
        a(STBR, SIGNS)
        a(STB, At("row", 1))

    def _context(self) -> None:
        """The context of a token and head, by its row of Â."""
        a, config = self.a, self.config
        a.set("at", self.ones)
        a(LD, 0)
        a.dot(DOTA, "at", 1)  # 2·k
        if config.diba:
            # Σ Â V = 2·n − k; with (1 − k)·V_i that is 2·n and either of two terms.
            a(MUL, -1)
            a(ADD, 1)
            a(STR, "own term")
            a(LD, At("window", 1))
            a(ADD, "head's planes")
            a(STR, "tap")
            a(ADD, self.middle)
            a(STR, "own")
        else:
            a(ASR, 0, 1)
            a(STR, "own term")
        a.set("column", "head's columns")
        with a.loop("channel", config.head_dim):
            if config.diba:
                a(LD, 0)
                self._convolution()
                a(STR, "sum")
                a(LD, At("own", self.plane))
                a(LDP, "own term")
                a(ADD, "sum")
            else:
                a(LD, 0)
                a(SUB, "own term")
            a.dot(DOTA, "column", 1)
            self._irprelu(At("V", 1))
            a(ST, At("C", 1))
        for name in ("V", "C"):
            a.move_on(name, self.dim - config.head_dim)

    def _convolution(self) -> None:
        a, theta = self.a, self.config.theta
        for row in range(theta):
            for column in range(theta):
                step = 1 if column < theta - 1 else self.plane_columns - theta + 1
                if row == column == theta - 1:
                    step = self.plane - (theta - 1) * (self.plane_columns + 1)
                a(LDT, At("S", 1))
                a(MAC, At("tap", step))
        a(MUL, At("S", 1))

    def _output(self) -> None:
        a = self.a
        for name, address in {"X": self.context, "residual": self.x, "R": self.x}.items():
            a.set(name, address)
        with self._tokens():
            a.set("Y", "X")
            self._signs(self.words)
            with a.loop("channel", self.dim):
                self._dot(self.words)
                self._irprelu(At("Y", 1), At("residual", 1))
                a(ST, At("R", 1))
        self._mark(self._wide("layers.{layer}.output", self.x))

    def _expand(self) -> None:
        a, repeats = self.a, self.config.mlp_ratio
        a.set("X", self.x)
        a.set("U", self.hidden)
        with self._tokens():
            a.set("own", "X")
            self._signs(self.words)
            with a.loop("repeat", repeats):
                a.set("Y", "own")
                with a.loop("channel", self.dim):
                    self._dot(self.words)
                    self._irprelu(At("Y", 1))
                    a(ST, At("U", 1))
        self._mark(self._wide("layers.{layer}.expand", self.hidden, repeats))

    def _mean(self) -> None:
        a, repeats = self.a, self.config.mlp_ratio
        a.set("U", self.hidden)
        a.set("M", self.mean)
        back = (repeats - 1) * self.dim
        with a.loop("token", self.n):
            with a.loop("channel", self.dim):
                for repeat in range(repeats):
                    last = repeat == repeats - 1
                    a(LD, At("U", 1 - back if last else self.dim))
                    if repeats > 1:
                        a(ASR, 0, repeats.bit_length() - 1)
                    if repeat:
                        a(ADD, "sum")
                    if not last:
                        a(STR, "sum")
                a(ST, At("M", 1))
            a.move_on("U", back)
        self._mark(self._wide("layers.{layer}.mean", self.mean))

    def _reduce(self) -> None:
        a, words = self.a, self.words * self.config.mlp_ratio
        for name, address in {"X": self.hidden, "Y": self.mean, "residual": self.x, "R": self.x}.items():
            a.set(name, address)
        with self._tokens():
            self._signs(words)
            with a.loop("channel", self.dim):
                self._dot(words)
                self._irprelu(At("Y", 1), At("residual", 1))
                a(ST, At("R", 1))
        self._mark(self._wide("layers.{layer}.reduce", self.x))

    def _head(self) -> None:
        a, size = self.a, self.n * self.dim
        with a.scope():
            a.set("X", self.x + size - 1)
            a.set("feature", self.features)
            with a.loop("channel", self.dim):
                a.move_on("X", 1 - size)
                with a.loop("token", self.n, start=0):
                    a(ADD, At("X", self.dim))
                a(MUL, At("S", 1))
                a(ASRR, 0, int(self.c["head.shift"]))
                a(ADD, At("S", 1))
                a(SAT, 0, FEATURE)
                a(ST, At("feature", 1))
            with a.loop("class", len(self.config.classes)):
                a.set("feature", self.features)
                a.set("channel", self.dim)
                self._split_constant()
                here = len(a.code)
                a(LDT, At("S", 1))
                a(MAC, At("feature", 1))
                a(DJNZ, "channel", here)
                a(OUT)


class _Tokens:
    """A loop over tokens; each begins with S where it was before the first."""

    def __init__(self, a: Assembler, tokens: int, offsets: bool):
        self._a, self._offsets, self._loop = a, offsets, a.loop("token", tokens)

    def __enter__(self) -> None:
        self._a.set("start", "S")
        self._loop.__enter__()
        self._a.set("S", "start")
        if self._offsets:
            self._a.set("t", At("T", 1))

    def __exit__(self, *exception: object) -> None:
        self._loop.__exit__(*exception)


def _flat(tensor: Tensor) -> list[int]:
    return tensor.flatten().tolist()


def _split(value: int) -> list[int]:
    """A constant of more than a word, lower part first."""
    return [value & (1 << SPLIT) - 1, value >> SPLIT]


def pack(bits: np.ndarray) -> np.ndarray:
    """Bits (..., K) → words (..., ⌈K / 16⌉), the first bit lowest."""
    whole = np.packbits(bits, axis=-1, bitorder="little")
    whole = np.concatenate([whole, np.zeros((*whole.shape[:-1], whole.shape[-1] % 2), np.uint8)], axis=-1)
    return whole.view("<u2").astype(int)
