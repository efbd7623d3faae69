"""Tokens on the grid of a pass: which see beyond an edge, and where a merge puts their results.

All functions take the fields of a pass; the numbers of tokens count from the first of the grid on.
"""

from collections.abc import Mapping

import numpy as np

from haarlequin.hw.config import AcceleratorConfig

EDGES = ("above", "below", "left", "right")
"""Fields that say what is beyond an edge, in the order of the rows of `at_edges`."""


def rows_and_columns(fields: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """The row and the column of each token."""
    rows, columns = np.divmod(np.arange(fields["stop"]), fields["columns"])
    return rows, columns


def outside(fields: Mapping[str, int]) -> bool:
    """Whether some part of a word is beyond an edge for some tokens."""
    return any(fields.get(edge, 0) for edge in EDGES)


def at_edges(fields: Mapping[str, int]) -> np.ndarray:
    """Whether each token is at each of the four `EDGES` of the grid: (4, tokens)."""
    rows, columns = rows_and_columns(fields)
    return np.array([rows == 0, rows == rows[-1], columns == 0, columns == fields["columns"] - 1])


def beyond(fields: Mapping[str, int], machine: AcceleratorConfig) -> np.ndarray:
    """Which chunks of its word are beyond an edge for each token: (tokens, chunks)."""
    halves = [machine.half(chunk) for chunk in range(machine.chunks)]
    found = np.zeros((fields["stop"], machine.chunks), bool)
    for name, tokens in zip(EDGES, at_edges(fields), strict=True):
        parts = halves if name in ("above", "below") else machine.edge_parts
        chunks = np.array([fields.get(name, 0) >> part & 1 for part in parts], bool)
        found |= tokens[:, None] & chunks
    return found


def inside(fields: Mapping[str, int], machine: AcceleratorConfig, chunks: slice) -> np.ndarray:
    """The tokens for which not all of these ``chunks`` of their word are beyond an edge."""
    return np.flatnonzero(~beyond(fields, machine)[:, chunks].all(axis=1))


def window_places(fields: Mapping[str, int], count: int) -> np.ndarray:
    """Where the first ``count`` tokens of a window are on the whole grid: tokens after the first of them."""
    numbers = np.arange(count)
    return numbers + numbers // max(1, fields["columns"]) * fields.get("jump", 0)


def merged_places(fields: Mapping[str, int]) -> np.ndarray:
    """Where a merge puts the results of each token: words after those of token 0."""
    rows, columns = rows_and_columns(fields)
    among = rows // 2 * (fields["columns"] // 2) + columns // 2
    return among + rows % 2 * fields.get("odd_row", 0) + columns % 2 * fields.get("odd_column", 0)


def merged_chunks(fields: Mapping[str, int]) -> np.ndarray:
    """By how many chunks the signs of each token are moved."""
    rows, columns = rows_and_columns(fields)
    return rows % 2 * fields.get("chunk_row", 0) + columns % 2 * fields.get("chunk_column", 0)


def accumulated(fields: Mapping[str, int]) -> np.ndarray:
    """The tokens of a merge whose results are added to those of the token above: those of odd rows."""
    rows, _ = rows_and_columns(fields)
    return np.flatnonzero(rows % 2)
