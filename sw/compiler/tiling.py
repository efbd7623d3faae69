"""Divide a model into tiles of channels, steps of inputs and regions of memory."""

import math
from collections.abc import Iterator

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.passes import Loads, Pass, Regions, Result
from haarlequin.sw.compiler.tables import CONSTANT_FIELDS, Tables


class Tiling:
    """A model on a machine, and the tables that grow as passes are made.

    Members, all of them counts except the last:
        tiles: tiles of C channels.
        steps: steps of C inputs.
        hidden_steps: steps of r·C inputs.
        key_tiles: tiles of N keys.
        row_words: words of a row of Â.
        chunks: chunks of L bits in a word.
        dense: whether C is a multiple of L. Otherwise each repeat of u begins in a word of its own, so that
            the valid bits of a word lie together.
    """

    def __init__(self, model: GoldenModel, machine: AcceleratorConfig):
        config = model.config
        self.model, self.machine, self.config = model, machine, config
        self.constants = model.constants
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
        self.token_base: dict[str, int] = {}
        """The address of each operation's t_n."""

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

    # Constants

    def _neutral_constants(self, count: int, **given: np.ndarray | int) -> dict[str, np.ndarray]:
        """Constants of ``count`` channels that leave a sum as it is, except for the ``given`` ones.

        Slopes are 1.0 once they are shifted by `unit_shifts`.
        """
        w = self.config.widths
        constants = dict.fromkeys(CONSTANT_FIELDS, 0) | {
            "a": 1 << w.affine_shift[0],
            "positive": 1 << w.slope_shift[0],
            "negative": 1 << w.slope_shift[0],
        }
        return {name: np.broadcast_to(value, count) for name, value in (constants | given).items()}

    @property
    def unit_shifts(self) -> tuple[int, int]:
        """The shifts that make 1.0 of the units of `_neutral_constants`: the lengths of the shift windows."""
        w = self.config.widths
        return w.affine_shift[1] - w.affine_shift[0], w.slope_shift[1] - w.slope_shift[0]

    def _tile(self, tile: int) -> slice:
        """The channels of a tile."""
        return slice(tile * self.lanes, min((tile + 1) * self.lanes, self.config.dim))

    def _add(self, constants: dict[str, np.ndarray], channels: slice) -> int:
        """Put a tile's constants into the table; returns the address of lane 0's."""
        return self.tables.add_constants({k: v[channels] for k, v in constants.items()}, self.lanes)

    def _irprelu_constants(
        self, name: str, move: np.ndarray | None
    ) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        """The constants and left shifts of an operation with IRPReLU; ``move`` is for its result's sign."""
        c, w = self.constants, self.config.widths
        constants = {part: c[f"{name}.{part}"] for part in ("a", "b", "positive", "negative", "offset")}
        constants["move"] = np.zeros_like(constants["a"]) if move is None else move
        return constants, (
            w.affine_shift[1] - int(c[f"{name}.shift"]),
            w.slope_shift[1] - int(c[f"{name}.slope_shift"]),
        )

    def _sign_constants(self, name: str) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        """The constants of queries or keys, and their left shifts: slopes are 1.0, and the move is part
        of b.
        """
        c, high = self.constants, self.config.widths.affine_shift[1]
        constants = self._neutral_constants(self.config.dim, a=c[f"{name}.a"], b=c[f"{name}.b"])
        return constants, (high - int(c[f"{name}.shift"]), self.unit_shifts[1])

    # Fields that many passes share

    def _stream(
        self, operation: OperationCode, tokens: int | None = None, lead: int = 0, **fields: int
    ) -> dict[str, int]:
        """The fields of a pass over ``tokens`` tokens, whose results come ``lead`` tokens late."""
        count = self.n if tokens is None else tokens
        stream = {"tokens": count + lead, "skip": lead, "stop": count + lead}
        return {"operation": operation, **stream, **fields}

    def _word(self, tile: int) -> tuple[int, int]:
        """The word and chunk of a tile of channels in a sign memory."""
        return tile // self.chunks, tile % self.chunks

    def _valid(self, tile: int) -> int:
        channels = self._tile(tile)
        return channels.stop - channels.start

    def _token(self, name: str, first: int = 0) -> dict[str, int]:
        if not self.config.irprelu:
            return {}
        return {"token": 1, "token_base": self.token_base[name] + first}

    def _signs(self, name: str, memory: SignMemory, base: int) -> Iterator[Pass]:
        """The passes that make the signs of x for a projection, where no earlier pass makes them."""
        constants = self._neutral_constants(self.config.dim, a=0, move=self.constants[f"{name}.move"])
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            fields = self._stream(
                OperationCode.SIGNS,
                shortcut=Operand.BANK_B,
                shortcut_base=tile * self.n,
                lanes=self._valid(tile),
                bits_base=base + word * self.n,
                bits_chunk=chunk,
            )
            fields[memory.writes] = 1
            address = self._add(constants, self._tile(tile))
            yield Pass(
                f"{name}.signs",
                fields,
                Loads(constants=address, shifts=self.unit_shifts),
                [Result(memory.writes, f"{name}.signs", tile)],
            )

    def _projection(
        self,
        name: str,
        operation: OperationCode,
        source: tuple[Activation, int],
        weight: np.ndarray,
        bounds: list[int],
        needs: Loads,
        final: dict[str, int],
        results: list[Result],
        tokens: tuple[int, int, int] | None = None,
        address: int | None = None,
        partial: int | None = None,
    ) -> Iterator[Pass]:
        """The passes of one tile of a projection: all steps but the last make partial sums.

        Arguments:
            name: of the operation, as the golden model's trace has it.
            operation: its code.
            source: the activation, and the address of its word for token 0 and step 0.
            weight: (lanes, steps, K) of 0 and 1.
            bounds: how many inputs of each step are valid.
            needs: what the last step needs loaded, besides its weights.
            final: further fields of the last step: the post-processing.
            results: what the trace shows of the last step.
            tokens: the first token, how many tokens stream, and how many of these count; by default all N.
            address: of the weights, where the table has them already.
            partial: where partial sums go; by default to `Regions.partial`.
        """
        first, count, stop = tokens or (0, self.n, self.n)
        partial = self.regions.partial if partial is None else partial
        activation, base = source
        memory = SignMemory[activation.name]
        steps = len(bounds)
        for step in range(steps):
            last = step == steps - 1
            fields = self._stream(operation, count, swap=1, activation=activation, gate_high=self.lanes)
            fields["stop"] = stop
            fields[memory.reads] = base + step * self.n + first
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
            reads_a = fields.get("shortcut") == Operand.BANK_A or fields.get("accumulate")
            fields["double"] = int(bool(step and reads_a))
            yield Pass(name, fields, Loads(**(vars(needs) | {"weights": rows})), results)

    def _square(self, name: str, tile: int) -> tuple[np.ndarray, list[int]]:
        """The weights of a tile over C inputs, and how many inputs of each step are valid."""
        return self._steps(self.constants[f"{name}.weight"][self._tile(tile)])

    def _steps(self, rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Rows of ±1 as (lanes, steps, K) of 0 and 1, and how many inputs of each step are valid."""
        steps = math.ceil(rows.shape[1] / self.width)
        bits = np.zeros((self.lanes, steps * self.width), np.uint8)
        bits[: rows.shape[0], : rows.shape[1]] = rows > 0
        bounds = [min(self.width, rows.shape[1] - step * self.width) for step in range(steps)]
        return bits.reshape(self.lanes, steps, self.width), bounds

    def _head_words(self, head: int) -> Iterator[tuple[int, int, int]]:
        """The words that have channels of a head, each with the first and the end of its bits there."""
        low, high = head * self.config.head_dim, (head + 1) * self.config.head_dim
        for word in range(low // self.width, (high - 1) // self.width + 1):
            start = word * self.width
            yield word, max(low - start, 0), min(high - start, self.width)

    def _heads(self, tile: int) -> range:
        """The heads that have channels in a tile."""
        channels, d = self._tile(tile), self.config.head_dim
        return range(channels.start // d, (channels.stop - 1) // d + 1)
