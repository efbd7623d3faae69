"""IRPReLU: RPReLU's shifts and slopes per channel plus DIDB-ViT's offset per token (arXiv 2507.02222, section
3).
"""

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

    The slope is ``positive`` where d ≥ 0 and ``negative`` elsewhere, each (C,) with the LayerScale folded in,
    of either sign. ``value`` (..., N, C) is affine + shortcut with m1 folded into the affine; ``token`` is
    (N,). The ``residual`` (the stream a branch is added to) joins before the one saturation of the write.
    """
    d = sat(value, wide_bits)
    scaled = round_shift(positive * clip(d, 0, None) + negative * clip(d, None, 0), shift)
    return sat(scaled + offset + token[:, None] + residual, wide_bits)
