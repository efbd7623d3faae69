"""IRPReLU (arXiv 2507.02222, section 3): RPReLU with its constants per channel, and one offset per token."""

from haarlequin.models.arithmetic.fixed import Array, clip, round_shift, sat


def irprelu(
    value: Array,
    positive: Array,
    negative: Array,
    offset: Array,
    token: Array,
    shift: int,
    wide_bits: int,
    residual: Array | int = 0,
) -> Array:
    """d = sat(value); y = sat(((slope_c·d + 2^(shift−1)) >> shift) + offset_c + token_n + residual).

    slope_c is ``positive`` where d ≥ 0 and ``negative`` elsewhere; both are (C,), have the LayerScale folded
    in, and may have either sign. ``value`` (..., N, C) is affine + shortcut, with m1 folded into the affine;
    ``token`` is (N,). ``residual`` is the residual stream that a branch adds to.
    """
    d = sat(value, wide_bits)
    scaled = round_shift(positive * clip(d, 0, None) + negative * clip(d, None, 0), shift)
    return sat(scaled + offset + token[:, None] + residual, wide_bits)
