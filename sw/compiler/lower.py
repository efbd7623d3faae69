"""Lowering: a golden model's operations → passes over tiles of channels and steps of inputs, with addresses.

The order of passes and what each computes is fixed here; when each begins is `schedule`'s.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from hw.config import AcceleratorConfig
from hw.program import OPERATIONS
from models.golden import GoldenModel

from .tables import CONSTANT_FIELDS, Tables


@dataclass(frozen=True)
class Result:
    """What the machine's trace shows of a pass: a tile of a tensor of the golden model, for all tokens.

    ``port`` is the trace's: acc, y, stored, bits_0, bits_1 or attention; ``phase`` that of a Haar pass, or
    a softmax's tile.
    ``tile`` counts lanes' worths of channels, or keys where the tensor is (heads, N, N) and ``head`` given.
    """

    port: str
    tensor: str
    tile: int = 0
    phase: int = 0
    head: int = 0
    repeat: int = 0


@dataclass
class Loads:
    """What a pass needs in the lanes before it begins: addresses in the tables, or the first word of keys."""

    weights: int | None = None
    keys: int | None = None
    constants: int | None = None
    moves: bool = False
    same: bool = False
    local: int | None = None
    shifts: tuple[int, int] = (0, 0)
    """By which constants are shifted left: the affine's and the slopes'."""


@dataclass
class Pass:
    """One word of the program to be: its ``fields`` that are not 0, and what it needs loaded."""

    name: str
    fields: dict[str, int]
    needs: Loads | None = None
    results: list[Result] = field(default_factory=list)

    def __getitem__(self, name: str) -> int:
        return self.fields.get(name, 0)


@dataclass(frozen=True)
class Regions:
    """Where tensors lie, as addresses of words; a tensor takes the place of one that is used no more.

    Sign memories hold word k of a tensor's tokens at base + k·N, banks tile t at base + t·N.
    """

    inputs: int
    """Signs of the bands that Q (in sign memory 0) and K (in 1) are made from."""
    projected: int
    """Queries in 0, keys in 1."""
    attention: int
    """In 0: Â."""
    context: int
    """In 0: signs for the output projection."""
    u: int
    """In 0."""
    value_in: int
    """In 1: signs for the values; they outlast Q and K."""
    v: int
    """In 1."""
    x_signs: int
    """In 1: signs for expand."""
    low: int
    """In bank A: lo, then the scores, then the mean of u."""
    high: int
    """In bank A: hi, then V', then the context."""
    partial: int
    """In bank A; those of reduce lie in the context's place."""
    context_partial: int
    """In bank A: where values are computed again between a context's steps."""
    signs_0: int
    signs_1: int
    """Words that each sign memory must have."""
    bank_a: int
    """Words that bank A must have."""


@dataclass
class Lowered:
    """A model's passes and tables."""

    model: GoldenModel
    machine: AcceleratorConfig
    passes: list[Pass]
    tables: Tables
    regions: Regions


def lower(model: GoldenModel, machine: AcceleratorConfig) -> Lowered:
    """The passes of one image."""
    return _Lowering(model, machine).run()


class _Lowering:
    def __init__(self, model: GoldenModel, machine: AcceleratorConfig):
        config = model.config
        self.model, self.machine, self.config = model, machine, config
        self.constants = {name: value.numpy() for name, value in model.constants.items()}
        self.tables = Tables()
        self.n, self.lanes, self.width = config.tokens, machine.lanes, machine.width
        self.chunks = self.width // self.lanes
        self.tiles = math.ceil(config.dim / self.lanes)
        self.steps = math.ceil(config.dim / self.width)
        self.key_tiles = math.ceil(self.n / self.lanes)
        self.row_words = math.ceil(self.key_tiles / self.chunks)
        self.dense = config.dim % self.lanes == 0
        repeat_words = math.ceil(config.mlp_ratio * config.dim / self.width)
        self.hidden_steps = repeat_words if self.dense else config.mlp_ratio * self.steps
        self.regions = self._regions()

    def _regions(self) -> Regions:
        n, heads = self.n, self.config.heads
        inputs, words, tile_words = self.steps * n, len(self.config.bands) * self.steps * n, self.tiles * n
        attention = heads * self.row_words * n
        low = max(tile_words, heads * self.key_tiles * n)
        partial = low + tile_words
        context_steps = self.row_words > 1 or any(len(self._heads(tile)) > 1 for tile in range(self.tiles))
        score_steps = any(len(list(self._head_words(head))) > 1 for head in range(heads))
        context_partial = partial + (n if self.steps > 1 and self.row_words > 1 else 0)
        needed = context_steps or score_steps or self.steps > 1
        return Regions(
            inputs=inputs,
            projected=inputs + words,
            attention=0,
            context=attention,
            u=0,
            value_in=0,
            v=inputs,
            x_signs=inputs + words,
            low=0,
            high=low,
            partial=partial,
            context_partial=context_partial,
            signs_0=max(inputs + 2 * words, attention + inputs, self.hidden_steps * n),
            signs_1=inputs + 2 * words,
            bank_a=context_partial + n if needed else partial,
        )

    def run(self) -> Lowered:
        begin = Pass("begin", {"operation": OPERATIONS.index("signs")})
        passes = [begin, *self._signs("layers.0.value", 1, self.regions.value_in)]
        for i in range(self.config.layers):
            passes += self._layer(i)
        passes[-1].fields["end"] = 1
        return Lowered(self.model, self.machine, self._loaded(passes), self.tables, self.regions)

    # Constants

    def _columns(self, count: int, **given) -> dict[str, np.ndarray]:
        """Constants that leave a sum as it is, but for those given: slopes of 1.0 once they are shifted by
        `unit_shifts`.
        """
        w = self.config.widths
        columns = dict.fromkeys(CONSTANT_FIELDS, 0) | {
            "a": 1 << w.affine_shift[0],
            "positive": 1 << w.slope_shift[0],
            "negative": 1 << w.slope_shift[0],
        }
        return {name: np.broadcast_to(value, count) for name, value in (columns | given).items()}

    @property
    def unit_shifts(self) -> tuple[int, int]:
        """What brings the stored units of `_columns` to 1.0: the windows' lengths."""
        w = self.config.widths
        return w.affine_shift[1] - w.affine_shift[0], w.slope_shift[1] - w.slope_shift[0]

    def _tile(self, tile: int, limit: int | None = None) -> slice:
        return slice(tile * self.lanes, min((tile + 1) * self.lanes, limit or self.config.dim))

    def _add(self, columns: dict[str, np.ndarray], channels: slice) -> int:
        return self.tables.add_constants({k: v[channels] for k, v in columns.items()}, self.lanes)

    def _irprelu_columns(
        self, name: str, move: np.ndarray | None
    ) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        c, w = self.constants, self.config.widths
        columns = {part: c[f"{name}.{part}"] for part in ("a", "b", "positive", "negative", "offset")}
        columns["move"] = np.zeros_like(columns["a"]) if move is None else move
        return columns, (
            w.affine_shift[1] - int(c[f"{name}.shift"]),
            w.slope_shift[1] - int(c[f"{name}.slope_shift"]),
        )

    def _sign_columns(self, name: str) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        """Of a query or key: slopes of 1.0, its move folded into b."""
        c, high = self.constants, self.config.widths.affine_shift[1]
        columns = self._columns(self.config.dim, a=c[f"{name}.a"], b=c[f"{name}.b"])
        return columns, (high - int(c[f"{name}.shift"]), self.unit_shifts[1])

    # Fields that many passes share

    def _stream(
        self, operation: str, tokens: int | None = None, lead: int = 0, **fields: int
    ) -> dict[str, int]:
        count = self.n if tokens is None else tokens
        stream = {"tokens": count + lead, "skip": lead, "stop": count + lead}
        return {"operation": OPERATIONS.index(operation), **stream, **fields}

    def _word(self, tile: int) -> tuple[int, int]:
        """Word and chunk of a tile of channels in a sign memory."""
        return tile // self.chunks, tile % self.chunks

    def _valid(self, tile: int) -> int:
        channels = self._tile(tile)
        return channels.stop - channels.start

    def _token(self, name: str, first: int = 0) -> dict[str, int]:
        if not self.config.irprelu:
            return {}
        return {"token": 1, "token_base": self.token_base[name] + first}

    # Operations

    def _signs(self, name: str, memory: int, base: int) -> Iterator[Pass]:
        """Signs of x for a projection, where no pass before has made them."""
        columns = self._columns(self.config.dim, a=0, move=self.constants[f"{name}.move"])
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            fields = self._stream(
                "signs",
                shortcut=2,
                shortcut_base=tile * self.n,
                lanes=self._valid(tile),
                bits_base=base + word * self.n,
                bits_chunk=chunk,
            )
            fields[f"bits_{memory}"] = 1
            address = self._add(columns, self._tile(tile))
            yield Pass(
                f"{name}.signs",
                fields,
                Loads(constants=address, shifts=self.unit_shifts),
                [Result(f"bits_{memory}", f"{name}.signs", tile)],
            )

    def _layer(self, i: int) -> Iterator[Pass]:
        layer = f"layers.{i}"
        self.token_base = {}
        if self.config.irprelu:
            for name in ("value", "context", "output", "expand", "reduce"):
                tokens = self.constants[f"{layer}.{name}.token"]
                self.token_base[f"{layer}.{name}"] = self.tables.add_tokens(tokens)
        if self.config.hfsc:
            yield from self._haar(layer)
        else:
            for memory, role in enumerate(("query", "key")):
                yield from self._signs(f"{layer}.{role}.x", memory, self.regions.inputs)
        yield from self._queries_and_keys(layer)
        yield from self._scores(layer)
        yield from self._attend(layer)
        yield from self._output(layer)
        yield from self._expand(layer)
        yield from self._reduce(layer, last=i == self.config.layers - 1)

    def _haar(self, layer: str) -> Iterator[Pass]:
        r, lead, words = self.regions, self.config.grid[1] + 1, self.steps * self.n
        projections = [f"{role}.{band}" for band in ("lo", "hi") for role in ("query", "key")]
        moves = {name: self.constants[f"{layer}.{name}.move"] for name in projections}
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            fields = self._stream(
                "Haar",
                lead=lead,
                double=1,
                haar=1,
                residual=1,
                residual_base=tile * self.n,
                lanes=self._valid(tile),
                write_a=1,
                base_a=r.low + tile * self.n - lead,
                base_b=r.high + tile * self.n - lead,
                bits_0=1,
                bits_1=1,
                bits_base=r.inputs + word * self.n - lead,
                token_base=r.inputs + words + word * self.n - lead,
                bits_chunk=chunk,
            )
            address = self._add(moves, self._tile(tile))
            results = [
                Result("stored", f"{layer}.x_{band}", tile, phase=p) for p, band in enumerate(("lo", "hi"))
            ]
            results += [
                Result(f"bits_{side}", f"{layer}.{role}.{band}.signs", tile, phase=p)
                for p, band in enumerate(("lo", "hi"))
                for side, role in enumerate(("query", "key"))
            ]
            yield Pass(f"{layer}.haar", fields, Loads(constants=address, moves=True), results)

    def _projection(
        self,
        name: str,
        operation: str,
        source: tuple[int, int],
        weight: np.ndarray,
        bounds: list[int],
        needs: Loads,
        final: dict[str, int],
        results: list[Result],
        tokens: tuple[int, int, int] | None = None,
        address: int | None = None,
        partial: int | None = None,
    ) -> Iterator[Pass]:
        """A tile: steps with partial sums, the last one into post-processing.

        ``weight`` (lanes, steps, K) of 0 and 1, ``bounds`` the valid inputs of each step, ``source`` the sign
        memory and the word of token 0, step 0; ``tokens`` the first one, how many stream and how many of
        them count; ``address`` of the weights where they are in the table already; where ``partial`` sums go.
        """
        first, count, stop = tokens or (0, self.n, self.n)
        partial = self.regions.partial if partial is None else partial
        memory, base = source
        steps = len(bounds)
        for step in range(steps):
            last = step == steps - 1
            fields = self._stream(operation, count, swap=1, activation=1 + memory, gate_high=self.lanes)
            fields["stop"] = stop
            fields[f"signs_{memory}"] = base + step * self.n + first
            fields["mask_high"] = bounds[step]
            if step:
                fields |= {"partial": 1, "partial_base": partial}
            rows = address + step * self.lanes if address is not None else None
            if rows is None:
                rows = self.tables.add_weights(list(weight[:, step]))
            if not last:
                fields |= {"write_a": 1, "base_a": partial, "stop": min(count, self.n - first)}
                yield Pass(name, fields, Loads(weights=rows))
                continue
            fields |= final
            reads_a = fields.get("shortcut") == 1 or fields.get("accumulate")
            fields["double"] = int(bool(step and reads_a))
            yield Pass(name, fields, Loads(**(vars(needs) | {"weights": rows})), results)

    def _square(self, name: str, tile: int) -> tuple[np.ndarray, list[int]]:
        """Weights of a tile over C inputs, and the valid inputs of each step."""
        return self._steps(self.constants[f"{name}.weight"][self._tile(tile)])

    def _steps(self, rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Rows of ±1 as (lanes, steps, K) of 0 and 1."""
        steps = math.ceil(rows.shape[1] / self.width)
        bits = np.zeros((self.lanes, steps * self.width), np.uint8)
        bits[: rows.shape[0], : rows.shape[1]] = rows > 0
        bounds = [min(self.width, rows.shape[1] - step * self.width) for step in range(steps)]
        return bits.reshape(self.lanes, steps, self.width), bounds

    def _queries_and_keys(self, layer: str) -> Iterator[Pass]:
        r, words = self.regions, self.steps * self.n
        # Keys first: those of the first band then load while the last queries stream.
        for side, role in ((1, "key"), (0, "query")):
            for band, part in enumerate(self.config.bands):
                name = f"{layer}.{role}.{part}"
                columns, shifts = self._sign_columns(name)
                for tile in range(self.tiles):
                    word, chunk = self._word(tile)
                    final = {
                        "shortcut": 1 if self.config.hfsc else 2,
                        "shortcut_base": ((r.low, r.high)[band] if self.config.hfsc else 0) + tile * self.n,
                        f"bits_{side}": 1,
                        "bits_base": r.projected + band * words + word * self.n,
                        "bits_chunk": chunk,
                        "lanes": self._valid(tile),
                    }
                    needs = Loads(constants=self._add(columns, self._tile(tile)), shifts=shifts)
                    results = [Result("acc", f"{name}.acc", tile), Result(f"bits_{side}", name, tile)]
                    yield from self._projection(
                        name,
                        "queries and keys",
                        (side, r.inputs + band * words),
                        *self._square(name, tile),
                        needs,
                        final,
                        results,
                    )

    def _head_words(self, head: int) -> Iterator[tuple[int, int, int]]:
        """Words that a head's channels lie in, each with the bits that are theirs."""
        low, high = head * self.config.head_dim, (head + 1) * self.config.head_dim
        for word in range(low // self.width, (high - 1) // self.width + 1):
            start = word * self.width
            yield word, max(low - start, 0), min(high - start, self.width)

    def _scores(self, layer: str) -> Iterator[Pass]:
        r, words, heads = self.regions, self.steps * self.n, self.config.heads
        high = self.config.widths.affine_shift[1]
        weights = self.constants[f"{layer}.attention.score_weight"]
        bands = len(weights)
        # w·dot / 2 = w·2^(high − 1 − h) << h, h as large as the window allows.
        most = high - self.config.widths.affine_shift[0]
        constants = []
        for weight in weights:
            shift = min(most, high - 1)
            stored = int(weight) << (high - 1 - shift)
            address = self.tables.add_constants(self._columns(1, a=stored), 1)
            constants.append(Loads(constants=address, same=True, shifts=(shift, self.unit_shifts[1])))
        for tile in range(self.key_tiles):
            lanes = min(self.lanes, self.n - tile * self.lanes)
            for band in range(bands):
                held = None
                for head in range(heads):
                    parts = list(self._head_words(head))
                    for step, (word, low, end) in enumerate(parts):
                        last = step == len(parts) - 1
                        scores = r.low + (head * self.key_tiles + tile) * self.n
                        fields = self._stream(
                            "scores",
                            activation=1,
                            signs_0=r.projected + band * words + word * self.n,
                            mask_low=low,
                            mask_high=end,
                            gate_high=self.lanes,
                            write_a=1,
                            base_a=scores if last else r.partial,
                            lanes=lanes,
                        )
                        if step:
                            fields |= {"partial": 1, "partial_base": r.partial}
                        if last and band:
                            fields |= {"shortcut": 1, "shortcut_base": scores, "double": int(step > 0)}
                        results = []
                        if last and band == bands - 1:
                            fields |= {"maximum": 1, "row_base": head * self.n, "first_keys": int(tile == 0)}
                            results = [Result("y", f"{layer}.scores", tile, head=head)]
                        needs = Loads()
                        if held != word:
                            held, fields["swap"] = word, 1
                            needs.keys = r.projected + band * words + word * self.n + tile * self.lanes
                        if last:
                            # Loaded again for every pass: it costs nothing beside the keys.
                            needs = Loads(**(vars(constants[band]) | {"keys": needs.keys}))
                        yield Pass(f"{layer}.scores", fields, needs, results)

    def _heads(self, tile: int) -> range:
        """Those that have channels in a tile."""
        channels, d = self._tile(tile), self.config.head_dim
        return range(channels.start // d, (channels.stop - 1) // d + 1)

    def _lane_range(self, head: int, tile: int) -> tuple[int, int]:
        """Lanes of a tile that a head's channels are in."""
        d, channels = self.config.head_dim, self._tile(tile)
        low, high = max(head * d, channels.start), min((head + 1) * d, channels.stop)
        return low - channels.start, high - channels.start

    def _attend(self, layer: str) -> Iterator[Pass]:
        """Values and context, tile by tile: a tile's V is in the lanes' weights while its context is made."""
        issued = 0
        # Tokens that the words of a row of Â, and of a column of V, begin with, and how many.
        short = self.key_tiles - (self.row_words - 1) * self.chunks
        starts = [0] + [(short + w * self.chunks) * self.lanes for w in range(self.row_words - 1)]
        lengths = [short * self.lanes] + [self.width] * (self.row_words - 1)
        for tile in range(self.tiles):
            heads = self._heads(tile)
            softmaxes = [self._softmax(layer, head) for head in range(issued, heads.stop)]
            issued = max(issued, heads.stop)
            yield from softmaxes[:-1]
            order = [self.row_words - 1, *range(self.row_words - 1)]
            address = None
            for place, word in enumerate(order):
                if place == 0:
                    tokens = (0, self.key_tiles * self.lanes, self.n)
                else:
                    tokens = (starts[word], lengths[word], 0)
                rows = len(self.tables.weights)
                values = list(self._values(layer, tile, tokens, address))
                if softmaxes and place == 0:  # the last one goes along with the values
                    values[0].fields |= softmaxes[-1].fields
                    values[0].results += softmaxes[-1].results
                yield from values
                address = rows if address is None else address
                for head in heads:
                    begins, ends = head == heads[0], head == heads[-1]
                    first, last = begins and place == 0, ends and place == len(order) - 1
                    unused = self.width - lengths[word]
                    yield self._context(layer, tile, head, word, unused, begins, first, last)

    def _softmax(self, layer: str, head: int) -> Pass:
        r = self.regions
        fields = {
            "operation": OPERATIONS.index("values"),
            "softmax": 1,
            "scores_base": r.low + head * self.key_tiles * self.n,
            "softmax_row": head * self.n,
            "attention_base": r.attention + head * self.row_words * self.n,
            "threshold": int(self.constants[f"{layer}.attention.threshold"][head]),
        }
        tiles = range(self.key_tiles)
        results = [Result("attention", f"{layer}.attention", tile, phase=tile, head=head) for tile in tiles]
        return Pass(f"{layer}.attention", fields, None, results)

    def _values(
        self, layer: str, tile: int, tokens: tuple[int, int, int], address: int | None
    ) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.value"
        word, chunk = self._word(tile)
        move = self.constants[f"{layer}.value_move"]
        columns, shifts = self._irprelu_columns(name, move)
        first, _, live = tokens
        final = {
            "shortcut": 2,
            "shortcut_base": tile * self.n + first,
            **self._token(name, first),
            "write_a": 1,
            "base_a": r.high + tile * self.n + first,
            "bits_1": 1,
            "bits_base": r.v + word * self.n + first,
            "bits_chunk": chunk,
            "columns": 1,
            "lanes": self._valid(tile),
            "count": 1,
        }
        if address is None:
            self._value_constants = self._add(columns, self._tile(tile))
        results = [
            Result("acc", f"{name}.acc", tile),
            Result("y", name, tile),
            Result("bits_1", f"{layer}.v", tile),
        ]
        yield from self._projection(
            name,
            "values",
            (1, r.value_in),
            *self._square(name, tile),
            Loads(constants=self._value_constants, shifts=shifts),
            final,
            results if live else [],
            tokens,
            address,
        )

    def _context(
        self, layer: str, tile: int, head: int, word: int, unused: int, swap: bool, first: bool, last: bool
    ) -> Pass:
        """A step, that is a head of the tile's and a word of its rows (whose lowest bits may be ``unused``),
        over the columns of V at hand, which the first head swaps in.
        """
        r, name, diba = self.regions, f"{layer}.context", self.config.diba
        lead = self.machine.theta // 2 * (self.config.grid[1] + 1) if diba else 0
        v_word, chunk = self._word(tile)
        low, high = self._lane_range(head, tile)
        fields = self._stream(
            "context",
            lead=lead,
            activation=0,
            row_mask=1,
            mask_low=unused,
            mask_high=self.width,
            signs_0=r.attention + (head * self.row_words + word) * self.n - lead,
            signs_1=r.v + v_word * self.n,
            chunk=chunk,
            gate_low=low,
            gate_high=high,
            differential=int(diba),
            write_a=1,
            lanes=self._valid(tile),
            swap=int(swap),
        )
        if not first:
            fields |= {"partial": 1, "partial_base": r.context_partial - lead}
        if not last:
            fields["base_a"] = r.context_partial - lead
            return Pass(name, fields, Loads())
        wide = r.high + tile * self.n - lead
        out_word, out_chunk = self._word(tile)
        token = self._token(name, -lead)
        fields |= {
            "local": int(diba),
            "shortcut": 1,
            "shortcut_base": wide,
            **token,
            "base_a": wide,
            "bits_0": 1,
            "bits_base": r.context + out_word * self.n - lead,
            "bits_chunk": out_chunk,
            "count": 1,
            "double": int(not first),
        }
        columns, shifts = self._irprelu_columns(name, self.constants[f"{layer}.output.move"])
        needs = Loads(constants=self._add(columns, self._tile(tile)), shifts=shifts)
        if diba:
            needs.local = self._local(layer, tile)
        results = [
            Result("acc", f"{name}.acc", tile),
            Result("y", name, tile),
            Result("bits_0", f"{layer}.output.signs", tile),
        ]
        return Pass(name, fields, needs, results)

    def _local(self, layer: str, tile: int) -> int:
        """Local weights of a tile, in the middle of the unit's window."""
        theta, size = self.config.theta, self.machine.theta
        given = self.constants[f"{layer}.local.weight"][self._tile(tile)] > 0
        weights = np.zeros((len(given), size, size), np.uint8)
        margin = (size - theta) // 2
        weights[:, margin : margin + theta, margin : margin + theta] = given
        shifts = self.constants[f"{layer}.local.shift"][self._tile(tile)]
        return self.tables.add_local(weights.reshape(len(given), -1), shifts, self.lanes)

    def _output(self, layer: str) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.output"
        columns, shifts = self._irprelu_columns(name, self.constants[f"{layer}.expand.move"])
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            final = {
                "shortcut": 1,
                "shortcut_base": r.high + tile * self.n,
                "residual": 1,
                "residual_base": tile * self.n,
                **self._token(name),
                "write_b": 1,
                "base_b": tile * self.n,
                "bits_1": 1,
                "bits_base": r.x_signs + word * self.n,
                "bits_chunk": chunk,
                "lanes": self._valid(tile),
                "count": 1,
            }
            results = [
                Result("acc", f"{name}.acc", tile),
                Result("y", name, tile),
                Result("bits_1", f"{layer}.expand.signs", tile),
            ]
            yield from self._projection(
                name,
                "output",
                (0, r.context),
                *self._square(name, tile),
                Loads(constants=self._add(columns, self._tile(tile)), shifts=shifts),
                final,
                results,
            )

    def _hidden(self, repeat: int, tile: int) -> tuple[int, int]:
        """Word and chunk of a tile of u."""
        if self.dense:
            return self._word(repeat * self.tiles + tile)
        word, chunk = self._word(tile)
        return repeat * self.steps + word, chunk

    def _expand(self, layer: str) -> Iterator[Pass]:
        r, name, dim, ratio = self.regions, f"{layer}.expand", self.config.dim, self.config.mlp_ratio
        columns, shifts = self._irprelu_columns(name, self.constants[f"{layer}.reduce.move"])
        weight = self.constants[f"{name}.weight"]
        for repeat in range(ratio):
            for tile in range(self.tiles):
                word, chunk = self._hidden(repeat, tile)
                channels = self._tile(tile)
                channels = slice(repeat * dim + channels.start, repeat * dim + channels.stop)
                final = {
                    "shortcut": 2,
                    "shortcut_base": tile * self.n,
                    **self._token(name),
                    "write_a": 1,
                    "base_a": r.low + tile * self.n,
                    "accumulate": int(repeat > 0),
                    "share": ratio.bit_length() - 1,
                    "bits_0": 1,
                    "bits_base": r.u + word * self.n,
                    "bits_chunk": chunk,
                    "lanes": self._valid(tile),
                    "count": 1,
                }
                results = [
                    Result("acc", f"{name}.acc", tile, repeat=repeat),
                    Result("y", name, tile, repeat=repeat),
                    Result("bits_0", f"{layer}.reduce.signs", tile, repeat=repeat),
                ]
                if repeat == ratio - 1:
                    results.append(Result("stored", f"{layer}.mean", tile))
                yield from self._projection(
                    name,
                    "expand",
                    (1, r.x_signs),
                    *self._steps(weight[channels]),
                    Loads(constants=self._add(columns, channels), shifts=shifts),
                    final,
                    results,
                )

    def _hidden_weights(self, rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Weights over r·C inputs, where u's signs lie."""
        if self.dense:
            return self._steps(rows)
        parts = [self._steps(part) for part in np.split(rows, self.config.mlp_ratio, axis=1)]
        bounds = [bound for _, bounds in parts for bound in bounds]
        return np.concatenate([weight for weight, _ in parts], axis=1), bounds

    def _reduce(self, layer: str, last: bool) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.reduce"
        following = f"layers.{int(layer.partition('.')[2]) + 1}.value"
        move = None if last else self.constants[f"{following}.move"]
        columns, shifts = self._irprelu_columns(name, move)
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            final = {
                "shortcut": 1,
                "shortcut_base": r.low + tile * self.n,
                "residual": 1,
                "residual_base": tile * self.n,
                **self._token(name),
                "write_b": 1,
                "base_b": tile * self.n,
                "bits_1": int(not last),
                "bits_base": r.value_in + word * self.n,
                "bits_chunk": chunk,
                "lanes": self._valid(tile),
                "count": 1,
                "pool": int(last),
                "wait_head": int(last and tile == 0),
            }
            results = [Result("acc", f"{name}.acc", tile), Result("y", name, tile)]
            if not last:
                results.append(Result("bits_1", f"{following}.signs", tile))
            yield from self._projection(
                name,
                "reduce",
                (0, r.u),
                *self._hidden_weights(self.constants[f"{name}.weight"][self._tile(tile)]),
                Loads(constants=self._add(columns, self._tile(tile)), shifts=shifts),
                final,
                results,
                partial=r.high,
            )

    def _loaded(self, passes: list[Pass]) -> list[Pass]:
        """Put each pass's needs into the pass before that streams, and give its constants a slot.

        Slot 0 keeps the constants that leave a sum as it is, for the steps before a last one. They load with
        the first pass that has room for them.
        """
        before, slot = passes[0], 0
        for item in passes[1:]:
            needs = item.needs
            if needs is None:
                continue
            loads = before.fields
            if needs.weights is not None:
                loads |= {"load_weights": 1, "weights_base": needs.weights}
            if needs.keys is not None:
                loads |= {"load_keys": 1, "weights_base": needs.keys}
            if needs.constants is not None:
                slot = slot % (self.machine.slots - 1) + 1
                loads |= {"load_constants": 1, "constants_base": needs.constants, "load_slot": slot}
                loads |= {"load_moves": int(needs.moves), "same_constants": int(needs.same)}
                loads |= {"affine_shift": needs.shifts[0], "slope_shift": needs.shifts[1]}
                item.fields["slot"] = slot
            if needs.local is not None:
                loads |= {"load_local": 1, "local_base": needs.local}
            before = item
        steps = [i for i, item in enumerate(passes) if item["write_a"] and not (item["slot"] or item["haar"])]
        if not steps:
            return passes
        free = next(
            (item for item in passes[: steps[0]] if item.needs is not None and not item["load_constants"]),
            None,
        )
        if free is None:
            free = Pass("begin", {"operation": passes[0]["operation"]})
            passes = [free, *passes]
        address = self.tables.add_constants(self._columns(1), 1)
        affine, slope = self.unit_shifts
        free.fields |= {"load_constants": 1, "constants_base": address, "same_constants": 1}
        free.fields |= {"affine_shift": affine, "slope_shift": slope}
        return passes
