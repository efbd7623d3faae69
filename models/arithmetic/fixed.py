"""Saturation, shifts and exact products: what every other function of the arithmetic is built from.

Functions take integer tensors of any signed dtype wide enough for their result (int64 always is) and return
that dtype.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor, float32, float64

_FLOAT32_EXACT = 2**24
_FLOAT64_EXACT = 2**53

_counters: ContextVar[tuple["SaturationCounter", ...]] = ContextVar("counters", default=())
"""Those that are active in this thread."""


class SaturationCounter:
    """How many values :func:`sat` clipped while the counter was active, like the machine's own counters."""

    def __init__(self):
        self.clipped = 0


@contextmanager
def count_saturations() -> Iterator[SaturationCounter]:
    """Count every value that this thread clips by :func:`sat` within the ``with`` block."""
    counter = SaturationCounter()
    before = _counters.set((*_counters.get(), counter))
    try:
        yield counter
    finally:
        _counters.reset(before)


def sat(value: Tensor, bits: int) -> Tensor:
    """Clip to ``bits``-bit two's complement, [−2^(bits−1), 2^(bits−1) − 1]."""
    limit = 1 << (bits - 1)
    clipped = value.clamp(-limit, limit - 1)
    for counter in _counters.get():
        counter.clipped += int((clipped != value).sum())
    return clipped


def shift_right(value: Tensor, shift: int) -> Tensor:
    """Arithmetic shift right: floor(value / 2^shift)."""
    return value >> shift


def round_shift(value: Tensor, shift: int) -> Tensor:
    """Shift right to the nearest integer, halves up: (value + 2^(shift−1)) >> shift; the value itself where
    shift = 0.
    """
    return (value + (1 << (shift - 1))) >> shift if shift else value


def exact_matmul(left: Tensor, right: Tensor, bound: int) -> Tensor:
    """Integer matrix product left · right, computed on the floating-point units, which are far faster, and
    still exact.

    ``bound`` is a limit on the sum of |left|·|right| over the reduction: below 2^24 every partial sum is a
    float32, below 2^53 a float64. Raises ValueError beyond that.
    """
    if bound >= _FLOAT64_EXACT:
        raise ValueError(f"a product bounded by {bound} is not exact in float64 (2^53)")
    dtype = float32 if bound < _FLOAT32_EXACT else float64
    return (left.to(dtype) @ right.to(dtype)).to(left.dtype)
