"""The passes of a binary 3×3 convolution: partial sums of the taps, in the order in which the signs lie.

A word of signs holds as much of the nine taps as it has room for (`ConvolutionPasses.way`):

    nine      up to K channels of a token, in one word or several: a step for each tap and word
    pairs     where 2·C = K, two taps, one from each sign memory: five steps
    window    where 3·C ≤ K, a token between its neighbours in the row: three steps
    windows   where 6·C = K, two of these, one from each sign memory: two steps

Taps outside the grid are +1. The machine puts ones in their place, for the tokens of an edge.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.sw.compiler.passes import Loads, Pass
from haarlequin.sw.compiler.regions import Signs
from haarlequin.sw.compiler.tiling import Tiling

_TAPS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


@dataclass(frozen=True)
class _Step:
    """A step of a convolution: ``fields`` of its pass, its weights (lanes, K), and how many bits count."""

    fields: dict[str, int]
    weights: np.ndarray
    bound: int


class ConvolutionPasses(Tiling):
    """Each method yields the passes of one operation of a layer, in order."""

    @property
    def way(self) -> str:
        """Which of the four ways takes the fewest steps."""
        dim, machine = self.config.dim, self.machine
        steps = {"nine": 9 * self.steps}
        if 2 * dim == self.width and self.chunks % 2 == 0:
            steps["pairs"] = 5
        # An attention within windows writes window by window: a neighbour may be in one that comes later.
        whole = not self.config.stage.window
        if machine.windows and whole and self.dense and 3 * dim <= self.width:
            steps["window"] = 3
            if machine.windows == 2 and 6 * dim == self.width:
                steps["windows"] = 2
        return min(steps, key=lambda name: steps[name])

    @property
    def halves(self) -> bool:
        """Whether the signs are in both sign memories: in the lower half of the words of 0, and in the upper
        one of those of 1.
        """
        return self.way in ("pairs", "windows")

    @property
    def tap_words(self) -> int:
        """Words of signs for a convolution."""
        return self.steps * self.n

    def tap_signs(self, name: str, base: int) -> Signs:
        """Where the signs of x lie for the convolution of that name."""
        self.uses.grow(signs_0=base + self.tap_words, signs_1=base + self.tap_words if self.halves else 0)
        window = self.tiles if self.way in ("window", "windows") else 0
        move = self.constants[f"{name}.move"]
        return Signs(name, move, SignMemory.SIGNS_0, base, self.halves, window)

    def convolution(
        self, signs: Signs, operation: OperationCode, following: Signs | None, last: bool
    ) -> Iterator[Pass]:
        """The passes of the convolution that reads ``signs``. They also make ``following``, if any; ``last``
        if its sums are pooled.
        """
        name = signs.name
        constants, shifts = self._irprelu_constants(name, following.move if following else None)
        partial = self.partial_sums(0)
        for tile in range(self.tiles):
            steps = self._tap_steps(signs, tile)
            for number, step in enumerate(steps):
                fields = self.stream(operation, swap=1, gate_high=self.lanes, inputs_high=step.bound)
                fields |= step.fields
                if number:
                    fields |= {"partial": 1, "partial_base": partial}
                needs = Loads(weights=self.tables.add_weights(list(step.weights)))
                if number < len(steps) - 1:
                    yield Pass(name, fields | {"write_c": 1, "base_a": partial}, needs)
                    continue
                fields |= {
                    "shortcut": Operand.BANK_B,
                    "shortcut_base": tile * self.n,
                    **self._token(name),
                    "write_b": 1,
                    "base_b": tile * self.n,
                    "lanes": self.valid(tile),
                    "count": 1,
                    "pool": int(last),
                    "wait_head": int(last and tile == 0),
                }
                needs.constants, needs.shifts = self.add_constants(constants, self.channels(tile)), shifts
                results = self.results(tile, ("acc", f"{name}.acc"), ("y", name))
                if following:
                    fields |= self.writes(following, tile)
                    shown = following.memory.writes, f"{following.name}.signs"
                    merged = self.config.grid if following.merged else None
                    results += self.results(tile, shown, merged=merged)
                yield Pass(name, fields, needs, results)

    def _tap_steps(self, signs: Signs, tile: int) -> list[_Step]:
        """The steps of a tile, the row above first: the next convolution then reads what is long written."""
        weight = self.constants[f"{signs.name}.weight"][self.channels(tile)]
        half = self.width // 2

        if signs.window:
            return self._window_steps(signs, weight)
        if signs.pairs:
            steps = []
            for first in range(0, 9, 2):
                (row, column), *second = _TAPS[first : first + 2]
                fields = {"activation": Activation.PAIRS, "signs_0": self._tap(signs.base, row, column)}
                fields |= self._edges(1, row, column)
                placed = [(0, weight[:, :, row + 1, column + 1])]
                for row, column in second:
                    fields["signs_1"] = self._tap(signs.base, row, column)
                    for edge, flags in self._edges(2, row, column).items():
                        fields[edge] |= flags
                    placed.append((half, weight[:, :, row + 1, column + 1]))
                steps.append(_Step(fields, self.padded(*placed), self.width if second else half))
            return steps
        steps = []
        for row, column in _TAPS:
            for word in range(self.steps):
                channels = slice(word * self.width, (word + 1) * self.width)
                rows = weight[:, channels, row + 1, column + 1]
                base = signs.base + word * self.n
                fields = {"activation": Activation.SIGNS_0, "signs_0": self._tap(base, row, column)}
                fields |= self._edges(3, row, column)
                steps.append(_Step(fields, self.padded((0, rows)), rows.shape[1]))
        return steps

    def _window_steps(self, signs: Signs, weight: np.ndarray) -> list[_Step]:
        """The steps of windows: a row in each, or in each half of a word."""
        stride, chunks, steps = signs.window * self.lanes, self.machine.chunks, []
        ones = (1 << signs.window) - 1
        edge = {"left": ones, "right": ones << 2 * signs.window}
        rows = [(-1, 0), (1,)] if signs.pairs else [(-1,), (0,), (1,)]
        for both in rows:
            pair = len(both) == 2
            fields: dict[str, int] = {"activation": Activation.PAIRS if pair else Activation.SIGNS_0}
            placed = []
            for upper, row in enumerate(both):
                # One row alone is beyond the first or the last one with all of its word.
                flags = self._edges(1 + upper if pair else 3, row, 0)
                flags |= {side: bits << upper * chunks // 2 for side, bits in edge.items()}
                for name, bits in flags.items():
                    fields[name] = fields.get(name, 0) | bits
                fields[f"signs_{upper}"] = self._tap(signs.base, row, 0)
                first = upper * self.width // 2
                placed += [(first + slot * stride, weight[:, :, row + 1, slot]) for slot in range(3)]
            steps.append(_Step(fields, self.padded(*placed), len(both) * 3 * self.config.dim))
        return steps

    def _tap(self, base: int, row: int, column: int) -> int:
        """The address of token 0's tap; before the first token it may be negative."""
        return base + row * self.config.grid[1] + column

    def _edges(self, halves: int, row: int, column: int) -> dict[str, int]:
        """At which edges a tap is outside, for ``halves`` of a word (1 the lower, 2 the upper, 3 both)."""
        machine = self.machine
        parts = {part for i, part in enumerate(machine.edge_parts) if halves >> machine.half(i) & 1}
        flags = sum(1 << part for part in parts)
        return {
            "above": halves if row < 0 else 0,
            "below": halves if row > 0 else 0,
            "left": flags if column < 0 else 0,
            "right": flags if column > 0 else 0,
        }
