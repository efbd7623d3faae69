"""The passes of the MLP: expand and reduce."""

from collections.abc import Iterator

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.models.config import ModelConfig
from haarlequin.sw.compiler.attention import AttentionPasses
from haarlequin.sw.compiler.convolution import ConvolutionPasses
from haarlequin.sw.compiler.passes import Loads, Pass
from haarlequin.sw.compiler.regions import Signs
from haarlequin.sw.compiler.tiling import Work


class FeedForwardPasses(ConvolutionPasses):
    """The passes of the MLP, and of what is before it."""

    def __init__(self, config: ModelConfig, work: Work):
        super().__init__(config, work)
        self.attention = AttentionPasses(self, work)

    def expand_signs(self, layer: str) -> Signs:
        """Where the signs of x lie for expand."""
        name = f"{layer}.expand"
        return Signs(name, self.constants[f"{name}.move"], SignMemory.SIGNS_1, self.attention.regions.x_signs)

    def mlp(self, layer: str, following: Signs | None, last: bool) -> Iterator[Pass]:
        """The passes of both linears. They also make ``following``, if any; ``last`` if sums are pooled."""
        yield from self._expand(layer)
        yield from self._reduce(layer, following, last)

    def _sums(self) -> int:
        """Where partial sums lie, in bank A after the mean of u."""
        return self.partial_sums(self.tiles * self.n) if max(self.steps, self.hidden_steps) > 1 else 0

    def _hidden(self, repeat: int, tile: int) -> tuple[int, int]:
        """The word and chunk of a tile of u in its sign memory."""
        if self.dense:
            return self.word_of(repeat * self.tiles + tile)
        word, chunk = self.word_of(tile)
        return repeat * self.steps + word, chunk

    def _expand(self, layer: str) -> Iterator[Pass]:
        name, dim, ratio = f"{layer}.expand", self.config.dim, self.config.mlp_ratio
        self.uses.grow(signs_0=self.hidden_steps * self.n, bank_a=self.tiles * self.n)
        constants, shifts = self._irprelu_constants(name, self.constants[f"{layer}.reduce.move"])
        weight = self.constants[f"{name}.weight"]
        for repeat in range(ratio):
            for tile in range(self.tiles):
                word, chunk = self._hidden(repeat, tile)
                channels = self.channels(tile)
                channels = slice(repeat * dim + channels.start, repeat * dim + channels.stop)
                final = {
                    "shortcut": Operand.BANK_B,
                    "shortcut_base": tile * self.n,
                    **self._token(name),
                    "write_a": 1,
                    "base_a": tile * self.n,
                    "accumulate": int(repeat > 0),
                    "mean_shift": ratio.bit_length() - 1,
                    "bits_0": 1,
                    "bits_base": word * self.n,
                    "bits_chunk": chunk,
                    "lanes": self.valid(tile),
                    "count": 1,
                }
                shown = ("acc", f"{name}.acc"), ("y", name), ("bits_0", f"{layer}.reduce.signs")
                results = self.results(tile, *shown, before=repeat * dim)
                if repeat == ratio - 1:
                    results += self.results(tile, ("stored", f"{layer}.mean"))
                yield from self._projection(
                    name,
                    OperationCode.EXPAND,
                    (Activation.SIGNS_1, self.attention.regions.x_signs),
                    *self._steps(weight[channels]),
                    Loads(constants=self.add_constants(constants, channels), shifts=shifts),
                    final,
                    results,
                    self._sums(),
                )

    def _hidden_weights(self, rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Weights over r·C inputs, in the order in which the signs of u lie."""
        if self.dense:
            return self._steps(rows)
        parts = [self._steps(part) for part in np.split(rows, self.config.mlp_ratio, axis=1)]
        bounds = [bound for _, bounds in parts for bound in bounds]
        return np.concatenate([weight for weight, _ in parts], axis=1), bounds

    def _reduce(self, layer: str, following: Signs | None, last: bool) -> Iterator[Pass]:
        name = f"{layer}.reduce"
        constants, shifts = self._irprelu_constants(name, following.move if following else None)
        for tile in range(self.tiles):
            final = {
                "shortcut": Operand.BANK_A,
                "shortcut_base": tile * self.n,
                "residual": 1,
                "residual_base": tile * self.n,
                **self._token(name),
                "write_b": 1,
                "base_b": tile * self.n,
                "lanes": self.valid(tile),
                "count": 1,
                "pool": int(last),
                "wait_head": int(last and tile == 0),
            }
            shown = [("acc", f"{name}.acc"), ("y", name)]
            if following:
                final |= self.writes(following, tile)
                shown.append((following.memory.writes, f"{following.name}.signs"))
            yield from self._projection(
                name,
                OperationCode.REDUCE,
                (Activation.SIGNS_0, 0),
                *self._hidden_weights(self.constants[f"{name}.weight"][self.channels(tile)]),
                Loads(constants=self.add_constants(constants, self.channels(tile)), shifts=shifts),
                final,
                self.results(tile, *shown),
                self._sums(),
            )
