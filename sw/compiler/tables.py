"""The tables of a program while it is being made: rows of small integers, one row per word.

`encode` makes words of them. A complete compiled model, as a folder of files, is `sw/table_folder.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

CONSTANT_FIELDS = ("a", "b", "positive", "negative", "offset", "move")


@dataclass
class Tables:
    """The rows of each memory that the lanes read; lowering appends them.

    - ``weights``: K bits, 0 or 1, per row.
    - ``constants``: a dict of `CONSTANT_FIELDS`, or of four moves, per row.
    - ``local``: (θ² bits, shift) per row.
    - ``token_offsets``: one t_n per row.
    """

    weights: list[np.ndarray] = field(default_factory=list)
    constants: list[dict[str, int]] = field(default_factory=list)
    local: list[tuple[np.ndarray, int]] = field(default_factory=list)
    token_offsets: list[int] = field(default_factory=list)

    def add_weights(self, rows: Sequence[np.ndarray]) -> int:
        """Append one row per lane; returns the address of the first."""
        self.weights += rows
        return len(self.weights) - len(rows)

    def add_constants(self, constants: Mapping[str, np.ndarray], count: int) -> int:
        """Append channels, one array per constant, and zeros up to ``count``; returns the first address."""
        given = len(next(iter(constants.values())))
        rows = [{name: int(values[i]) for name, values in constants.items()} for i in range(given)]
        self.constants += rows + [dict.fromkeys(constants, 0)] * (count - given)
        return len(self.constants) - count

    def add_local(self, weights: np.ndarray, shifts: np.ndarray, count: int) -> int:
        """Append channels, and zeros up to ``count``; ``weights`` are (channels, θ²), 0 or 1."""
        self.local += [(row, int(shift)) for row, shift in zip(weights, shifts, strict=True)]
        self.local += [(np.zeros_like(weights[0]), 0)] * (count - len(weights))
        return len(self.local) - count

    def add_token_offsets(self, values: np.ndarray) -> int:
        """Append an operation's t_n; returns the address of token 0's."""
        self.token_offsets += [int(v) for v in values]
        return len(self.token_offsets) - len(values)
