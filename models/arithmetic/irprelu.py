"""IRPReLU: RPReLU's shifts and slopes per channel plus DIDB-ViT's offset per token (arXiv 2507.02222, section
3).
"""

from torch import Tensor

from haarlequin.models.arithmetic.fixed import round_shift, sat


def irprelu(
    value: Tensor,
    positive: Tensor,
    negative: Tensor,
    offset: Tensor,
    token: Tensor,
    shift: int,
    wide_bits: int,
    residual: Tensor | int = 0,
) -> Tensor:
    """d = sat(value); y = sat(((slope_c·d + 2^(shift−1)) >> shift) + offset_c + token_n + residual).

    The slope is ``positive`` where d ≥ 0 and ``negative`` elsewhere, each (C,) with the LayerScale folded in,
    of either sign. ``value`` (..., N, C) is affine + shortcut with m1 folded into the affine; ``token`` is
    (N,). The ``residual`` (the stream a branch is added to) joins before the one saturation of the write.
    """
    d = sat(value, wide_bits)
    scaled = round_shift(positive * d.clamp(min=0) + negative * d.clamp(max=0), shift)
    return sat(scaled + offset + token[:, None] + residual, wide_bits)
