"""Saturation, shifts and exact products, from which every other function of the arithmetic is built.

Functions take integer arrays of numpy or PyTorch (any that `array_api_compat` knows) and return arrays of the
same kind and dtype. Any signed dtype that is wide enough for the result will do; int64 always is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from array_api_compat import array_namespace, is_numpy_namespace

Array = Any
"""An integer array of numpy or PyTorch; the array API standard has no type for it."""

_FLOAT32_EXACT = 2**24
_FLOAT64_EXACT = 2**53

_counters: ContextVar[tuple["SaturationCounter", ...]] = ContextVar("counters", default=())
"""The counters that are active in this thread."""


class SaturationCounter:
    """Counts the values that `sat` clips while it is active, as the counters of the machine do."""

    def __init__(self) -> None:
        self.clipped = 0
        self._lock = Lock()

    def add(self, count: int) -> None:
        """Add ``count``; several threads of one computation may do so at once."""
        with self._lock:
            self.clipped += count


@contextmanager
def count_saturations() -> Iterator[SaturationCounter]:
    """Count every value that this thread clips by `sat` within the ``with`` block."""
    counter = SaturationCounter()
    before = _counters.set((*_counters.get(), counter))
    try:
        yield counter
    finally:
        _counters.reset(before)


def clip(value: Array, low: int | None, high: int | None) -> Array:
    """``value`` with everything below ``low`` raised to it and everything above ``high`` lowered to it.

    For numpy it is numpy's own method: the `clip` of `array_api_compat` selects element by element, which
    takes four times as long.
    """
    xp = array_namespace(value)
    if is_numpy_namespace(xp):
        return value.clip(low, high)
    return xp.clip(value, low, high)


def sat(value: Array, bits: int) -> Array:
    """Clip to ``bits``-bit two's complement, [−2^(bits−1), 2^(bits−1) − 1]."""
    limit = 1 << (bits - 1)
    clipped = clip(value, -limit, limit - 1)
    if counters := _counters.get():
        count = int(array_namespace(value).count_nonzero(clipped != value))
        for counter in counters:
            counter.add(count)
    return clipped


def shift_right(value: Array, shift: int) -> Array:
    """Arithmetic shift right: floor(value / 2^shift)."""
    return value >> shift


def round_shift(value: Array, shift: int) -> Array:
    """Shift right to the nearest integer, halves up: (value + 2^(shift−1)) >> shift.

    With a ``shift`` of 0, it is the value itself.
    """
    if not shift:
        return value
    rounded = value + (1 << (shift - 1))
    rounded >>= shift  # in place: half the time of another array
    return rounded


def exact_matmul(left: Array, right: Array, bound: int) -> Array:
    """Integer matrix product left · right, computed by the floating-point units, which are far faster.

    ``bound`` is a limit on the sum of |left|·|right| over the reduction. Below 2^24 every partial sum is
    exact in float32, below 2^53 in float64; for a larger bound it raises ValueError.
    """
    if bound >= _FLOAT64_EXACT:
        raise ValueError(f"a product bounded by {bound} is not exact in float64 (2^53)")
    xp = array_namespace(left)
    dtype = xp.float32 if bound < _FLOAT32_EXACT else xp.float64
    return xp.astype(xp.astype(left, dtype) @ xp.astype(right, dtype), left.dtype)
