"""The passes of a merge of 2×2 tokens: their signs and x are put together by address, then projected."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.hw.timing import FETCH
from haarlequin.sw.compiler.feed_forward import FeedForwardPasses
from haarlequin.sw.compiler.passes import Loads, Pass
from haarlequin.sw.compiler.regions import Merged, Signs
from haarlequin.sw.compiler.tiling import Tiling

NEXT_RESULT = FETCH + 1
"""Cycles from a token to the first whose results can be accumulated onto its own: the word is looked up
`FETCH` cycles before the result, and written in the cycle after it."""


TWO_OF_A = 2
"""The field ``interval`` of a pass that looks up its shortcut and what it accumulates onto in bank A, four
cycles apart: in every third cycle, because in every second one both would take the port."""


class MergePasses(FeedForwardPasses):
    """The stage after the merge. ``before`` is the one whose tokens are merged."""

    def merge(self, signs: Signs, before: Tiling, following: Signs, made: bool) -> Iterator[Pass]:
        """The passes of the merge that reads ``signs``; these are ``made`` already if the passes that make x
        do it.
        """
        assert signs.merged
        if not made:
            yield from self._gather_signs(signs, before)
        yield from self._gather(signs, before, made)
        yield from self._merged(signs, before, following)

    def merged_signs(self, name: str, before: Tiling, base: int) -> Signs:
        """The inputs of the merge of that name: signs at ``base`` in sign memory 0, and x in bank A."""
        n, steps, tiles, (groups, _) = self.n, before.steps, before.tiles, self._stored(before)
        place = {
            1: {"odd_row": 2 * steps * n, "odd_column": steps * n},
            2: {"odd_column": n, "chunk_row": tiles},
            4: {"chunk_row": 2 * tiles, "chunk_column": tiles},
        }[self._packed(before)]
        span = 4 if groups == 1 else 2
        x = None
        # The same numbers of words move signs and x. Sums over rows stay where their first row is.
        if steps == 1 and "odd_column" in place and ("odd_row" in place) == (groups == 1):
            x = {"accumulate": int(groups > 1), "mean_shift": groups.bit_length() - 1}
            x |= {"interval": self._wait(before) if groups > 1 else 0}
        move = self.constants[f"{name}.move"]
        return Signs(name, move, SignMemory.SIGNS_0, base, merged=Merged(n, place, span, x))

    def merge_words(self, before: Tiling) -> int:
        """Words of the signs of merged tokens."""
        return math.ceil(4 / self._packed(before)) * before.steps * self.n

    def _packed(self, before: Tiling) -> int:
        """How many of the four tokens have their signs in one word: 1, 2 or 4."""
        room = self.width // before.config.dim
        return 4 if room >= 4 else 2 if room >= 2 else 1

    def _stored(self, before: Tiling) -> tuple[int, int]:
        """Tokens whose x are summed, and tiles of the sums, both of four tokens."""
        groups = max(1, 4 * before.config.dim // self.config.dim)
        return groups, 4 * before.tiles // groups

    @staticmethod
    def _wait(before: Tiling) -> int:
        """The ``interval`` of a pass that adds odd rows to the even ones."""
        return math.ceil(NEXT_RESULT / before.config.grid[1]) - 1

    def _gather_signs(self, signs: Signs, before: Tiling) -> Iterator[Pass]:
        constants = before.neutral_constants(before.config.dim, a=0, move=signs.move)
        assert signs.merged
        alone = replace(signs, merged=replace(signs.merged, x=None))
        for tile in range(before.tiles):
            fields = before.stream(
                OperationCode.MERGE,
                shortcut=Operand.BANK_B,
                shortcut_base=tile * before.n,
                lanes=before.valid(tile),
                **before.writes(alone, tile),
            )
            needs = Loads(
                constants=before.add_constants(constants, before.channels(tile)), shifts=before.unit_shifts
            )
            shown = (signs.memory.writes, f"{signs.name}.signs")
            yield Pass(
                f"{signs.name}.signs", fields, needs, before.results(tile, shown, merged=before.config.grid)
            )

    def _gather(self, signs: Signs, before: Tiling, made: bool) -> Iterator[Pass]:
        """x of the merged tokens, as the shortcut needs it, in bank A: sums are over rows, then columns."""
        merged, (groups, _) = signs.merged, self._stored(before)
        assert merged
        constants = before.neutral_constants(before.config.dim, a=0)
        for tile in range(before.tiles if merged.x is None or not made else 0):
            fields = before.stream(
                OperationCode.MERGE,
                shortcut=Operand.BANK_B,
                shortcut_base=tile * before.n,
                lanes=before.valid(tile),
                merge=1,
                write_a=1,
                base_a=tile * merged.span * self.n,
                odd_row=2 * self.n if groups == 1 else 0,
                odd_column=self.n,
                accumulate=int(groups > 1),
                mean_shift=groups.bit_length() - 1,
                interval=self._wait(before) if groups > 1 else 0,
            )
            needs = Loads(
                constants=before.add_constants(constants, before.channels(tile)), shifts=before.unit_shifts
            )
            yield Pass(f"{signs.name}.shortcut", fields, needs)
        self.uses.grow(bank_a=before.tiles * merged.span * self.n)
        for tile in range(before.tiles if groups == 4 else 0):
            fields = self.stream(
                OperationCode.MERGE,
                shortcut=Operand.BANK_A,
                shortcut_base=(tile * merged.span + 1) * self.n,
                lanes=before.valid(tile),
                write_a=1,
                base_a=tile * merged.span * self.n,
                accumulate=1,
                interval=TWO_OF_A,
            )
            needs = Loads(
                constants=before.add_constants(constants, before.channels(tile)), shifts=before.unit_shifts
            )
            yield Pass(f"{signs.name}.shortcut", fields, needs)

    def _merged(self, signs: Signs, before: Tiling, following: Signs) -> Iterator[Pass]:
        name, (_, stored), merged = signs.name, self._stored(before), signs.merged
        assert merged
        constants, shifts = self._irprelu_constants(name, following.move)
        self.uses.grow(signs_0=signs.base + self.merge_words(before))
        more = self.merge_words(before) > self.n
        partial = self.partial_sums(before.tiles * merged.span * self.n) if more else 0
        weight = self.constants[f"{name}.weight"]
        for tile in range(self.tiles):
            token, of = divmod(tile % stored, before.tiles)
            final = {
                "shortcut": Operand.BANK_A,
                "shortcut_base": (of * merged.span + token) * self.n,
                **self._token(name),
                "write_b": 1,
                "base_b": tile * self.n,
                **self.writes(following, tile),
                "lanes": self.valid(tile),
                "count": 1,
            }
            shown = ("acc", f"{name}.acc"), ("y", name), (following.memory.writes, f"{following.name}.signs")
            yield from self._projection(
                name,
                OperationCode.MERGE,
                (Activation.SIGNS_0, signs.base),
                *self._merged_weights(weight[self.channels(tile)], before),
                Loads(constants=self.add_constants(constants, self.channels(tile)), shifts=shifts),
                final,
                self.results(tile, *shown),
                partial,
            )

    def _merged_weights(self, rows: np.ndarray, before: Tiling) -> tuple[np.ndarray, list[int]]:
        """Weights over 4·C inputs, in the order in which the signs lie."""
        packed, tokens = self._packed(before), np.split(rows, 4, axis=1)  # row by row
        if packed == 2:  # a column in each word
            tokens = tokens[::2] + tokens[1::2]
        words = [np.concatenate(tokens[first : first + packed], axis=1) for first in range(0, 4, packed)]
        parts = [self._steps(word) for word in words]
        bounds = [bound for _, bounds in parts for bound in bounds]
        return np.concatenate([weight for weight, _ in parts], axis=1), bounds
