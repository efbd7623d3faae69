"""Read the trace of a component that `bench.v` has written."""

from pathlib import Path

import numpy as np

WORD = 4
"""Bytes of a word. A record is a word with the lowest bits of the cycle, then the words of ``trace``."""


def record_bytes(width: int) -> int:
    """The bytes of one event of a trace of ``width`` bits."""
    return WORD * (1 + -(-width // (8 * WORD)))


def read_trace(path: Path, width: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The events of a trace from number ``start`` on, uint8 (events, ⌈width / 8⌉), and their cycles, int64.

    Bit i of the ``width`` bits of ``trace`` is bit i mod 8 of byte ⌊i / 8⌋. Cycles are counted from the last
    reset before the first of these events, modulo 2^32; they go on from there however long the trace is, if
    no two neighbours are 2^32 cycles apart and no reset is between them.
    """
    record = record_bytes(width)
    words = np.fromfile(path, dtype=np.uint32, offset=start * record)
    records = words[: len(words) // (record // WORD) * (record // WORD)].reshape(-1, record // WORD)
    cycles = records[:, 0].astype(np.int64)
    cycles[1:] = cycles[:1] + np.cumsum(np.diff(records[:, 0]), dtype=np.int64)  # differences modulo 2^32
    events = records[:, 1:].astype("<u4").view(np.uint8)
    return events.reshape(len(records), record - WORD)[:, : -(-width // 8)], cycles
