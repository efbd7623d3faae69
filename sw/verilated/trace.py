"""Read the trace of a component that `bench.v` has written."""

from pathlib import Path

import numpy as np


def read_trace(path: Path, width: int, start: int = 0) -> np.ndarray:
    """The events of a trace from number ``start`` on: uint8 (events, ⌈width / 8⌉).

    Bit i of the ``width`` bits of ``trace`` is bit i mod 8 of byte ⌊i / 8⌋.
    """
    record = -(-width // 32) * 4
    words = np.fromfile(path, dtype=np.uint32, offset=start * record)
    events = words[: len(words) // (record // 4) * (record // 4)].astype("<u4").view(np.uint8)
    return events.reshape(-1, record)[:, : -(-width // 8)]
