"""Divide a stage into tiles of channels and steps of inputs."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.loader import pads
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.passes import Loads, Pass, Result, Uses
from haarlequin.sw.compiler.regions import Signs, Window
from haarlequin.sw.compiler.tables import CONSTANT_FIELDS, Tables

DOUBLE = 1
"""The field ``interval`` of a pass whose tokens take two cycles."""


@dataclass
class Work:
    """A model that is being lowered, and what grows meanwhile."""

    model: GoldenModel
    machine: AcceleratorConfig
    tables: Tables = field(default_factory=Tables)
    uses: Uses = field(default_factory=Uses)
    token_base: dict[str, int] = field(default_factory=dict)
    """The address of each operation's t_n."""


class Tiling:
    """A stage on a machine. ``config`` is that of the stage alone.

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

    def __init__(self, config: ModelConfig, work: Work):
        machine, model = work.machine, work.model
        self.model, self.machine, self.config = model, machine, config
        self.constants = model.constants
        self.tables, self.uses, self.token_base = work.tables, work.uses, work.token_base
        self.n, self.lanes, self.width = config.tokens, machine.lanes, machine.width
        self.chunks = machine.chunks
        self.tiles = math.ceil(config.dim / self.lanes)
        self.steps = math.ceil(config.dim / self.width)
        self.key_tiles = math.ceil(self.n / self.lanes)
        self.row_words = math.ceil(self.key_tiles / self.chunks)
        self.dense = config.dim % self.lanes == 0
        repeat_words = math.ceil(config.mlp_ratio * config.dim / self.width)
        self.hidden_steps = repeat_words if self.dense else config.mlp_ratio * self.steps
        self.uses.grow(bank_b=self.tiles * self.n)

    # Partial sums

    def partial_sums(self, after: int, words: int | None = None) -> int:
        """Where so many words of partial sums lie, by default one for each token: in bank C, or in bank A
        ``after`` all else where there is no third bank.
        """
        count = self.n if words is None else words
        if self.machine.bank_c:
            self.uses.grow(bank_c=count)
            return 0
        self.uses.grow(bank_a=after + count)
        return after

    @property
    def beside_sums(self) -> int:
        """The ``interval`` of a pass that reads another word of bank A beside its partial sum."""
        return 0 if self.machine.bank_c else DOUBLE

    # Constants

    def neutral_constants(self, count: int, **given: np.ndarray | int) -> dict[str, np.ndarray]:
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
        """The shifts that make 1.0 of the units of `neutral_constants`: the lengths of the shift windows."""
        w = self.config.widths
        return w.affine_shift[1] - w.affine_shift[0], w.slope_shift[1] - w.slope_shift[0]

    def channels(self, tile: int) -> slice:
        """The channels of a tile."""
        return slice(tile * self.lanes, min((tile + 1) * self.lanes, self.config.dim))

    def add_constants(self, constants: dict[str, np.ndarray], channels: slice) -> int:
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
        constants = self.neutral_constants(self.config.dim, a=c[f"{name}.a"], b=c[f"{name}.b"])
        return constants, (high - int(c[f"{name}.shift"]), self.unit_shifts[1])

    def head_constants(self, classes: int) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
        """The constants of the head of a segmentation network, and their left shifts: slopes are 1.0."""
        c, high = self.constants, self.config.widths.affine_shift[1]
        constants = self.neutral_constants(classes, a=c["head.a"], b=c["head.b"])
        return constants, (high - int(c["head.shift"]), self.unit_shifts[1])

    # Fields that many passes share

    def stream(
        self, operation: OperationCode, tokens: int | None = None, lead: int = 0, **fields: int
    ) -> dict[str, int]:
        """The fields of a pass over ``tokens`` tokens, whose results come ``lead`` tokens late."""
        count = self.n if tokens is None else tokens
        stream = {"tokens": count + lead, "skip": lead, "stop": count + lead}
        return {"operation": operation, "columns": self.config.grid[1], **stream, **fields}

    def results(
        self,
        tile: int,
        *shown: tuple[str, str],
        before: int = 0,
        phase: int = 0,
        merged: tuple[int, int] | None = None,
        window: Window | None = None,
    ) -> list[Result]:
        """The tile of each (port, tensor) that the trace shows; ``before`` is how many channels are before
        those of the tiles.
        """
        first, valid = before + self.channels(tile).start, self.valid(tile)
        return [Result(port, name, first, valid, phase, merged=merged, window=window) for port, name in shown]

    def writes(self, signs: Signs, tile: int, first: int = 0) -> dict[str, int]:
        """The fields of a pass that writes a tile of signs, of token ``first`` and those after it."""
        word, chunk = self.word_of(tile)
        tokens = signs.merged.tokens if signs.merged else self.n
        base = signs.base + word * tokens + first
        fields = {signs.memory.writes: 1, "bits_base": base, "bits_chunk": chunk}
        if signs.merged:
            fields |= {"merge": 1, **signs.merged.place}
            if signs.merged.x is not None:
                base_a = tile * signs.merged.span * tokens
                fields |= {"write_a": 1, "base_a": base_a, "write_b": 0, **signs.merged.x}
        if signs.pairs:
            fields |= {"bits_0": 1, "bits_1": 1, "pairs": 1}
        if signs.window:
            fields |= {"window": signs.window}
        return fields

    def word_of(self, tile: int) -> tuple[int, int]:
        """The word and chunk of a tile of channels in a sign memory."""
        return tile // self.chunks, tile % self.chunks

    def valid(self, tile: int) -> int:
        channels = self.channels(tile)
        return channels.stop - channels.start

    def _token(self, name: str, first: int = 0) -> dict[str, int]:
        if not self.config.irprelu:
            return {}
        return {"token": 1, "token_base": self.token_base[name] + first}

    def signs(self, signs: Signs) -> Iterator[Pass]:
        """The passes that make the signs of x for an operation, where no earlier pass makes them."""
        constants = self.neutral_constants(self.config.dim, a=0, move=signs.move)
        for tile in range(self.tiles):
            fields = self.stream(
                OperationCode.SIGNS,
                shortcut=Operand.BANK_B,
                shortcut_base=tile * self.n,
                lanes=self.valid(tile),
                **self.writes(signs, tile),
            )
            address = self.add_constants(constants, self.channels(tile))
            yield Pass(
                f"{signs.name}.signs",
                fields,
                Loads(constants=address, shifts=self.unit_shifts),
                self.results(tile, (signs.memory.writes, f"{signs.name}.signs")),
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
        partial: int,
        tokens: tuple[int, int, int] | None = None,
        address: int | None = None,
        of: int = 0,
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
            partial: where partial sums go, as `partial_sums` has it.
            tokens: the first token, how many tokens stream, and how many of these count; by default all N.
            address: of the weights, where the table has them already.
            of: how many tokens the source has, if it is x on a grid of which these are a window.
        """
        first, count, stop = tokens or (0, self.n, self.n)
        activation, base = source
        memory = SignMemory[activation.name]
        steps = len(bounds)
        for step in range(steps):
            last = step == steps - 1
            fields = self.stream(operation, count, swap=1, activation=activation, gate_high=self.lanes)
            fields["stop"] = stop
            fields[memory.reads] = base + step * (of or self.n) + first
            fields["place_in"] = int(bool(of))
            fields["inputs_high"] = bounds[step]
            if step:
                fields |= {"partial": 1, "partial_base": partial}
            rows = address + step * self.lanes if address is not None else None
            if rows is None:
                rows = self.tables.add_weights(list(weight[:, step]))
            if not last:
                fields |= {"write_c": 1, "base_a": partial, "stop": min(count, self.n - first)}
                yield Pass(name, fields, Loads(weights=rows))
                continue
            fields |= final
            reads_a = fields.get("shortcut") == Operand.BANK_A or fields.get("accumulate")
            fields.setdefault("interval", self.beside_sums if step and reads_a else 0)
            yield Pass(name, fields, Loads(**(vars(needs) | {"weights": rows})), results)

    def _square(self, name: str, tile: int) -> tuple[np.ndarray, list[int]]:
        """The weights of a tile over C inputs, and how many inputs of each step are valid."""
        return self._steps(self.constants[f"{name}.weight"][self.channels(tile)])

    def _steps(self, rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Rows of ±1 as (lanes, steps, K) of 0 and 1, and how many inputs of each step are valid."""
        steps = math.ceil(rows.shape[1] / self.width)
        bits = self.padded((0, rows), words=steps)
        bounds = [min(self.width, rows.shape[1] - step * self.width) for step in range(steps)]
        return bits.reshape(self.lanes, steps, self.width), bounds

    def padded(self, *placed: tuple[int, np.ndarray], words: int = 1) -> np.ndarray:
        """Words of weights (lanes, ``words``·K), 0 or 1: ±1 from each first bit on, and pads elsewhere."""
        bits = np.tile(np.array(pads(self.width), np.uint8), (self.lanes, words))
        for first, rows in placed:
            bits[: len(rows), first : first + rows.shape[1]] = rows > 0
        return bits
