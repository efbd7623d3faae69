"""DIBA: the context of binary attention with its differential term and its local convolution (arXiv
2507.02222).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from haarlequin.models.arithmetic.fixed import exact_matmul
from haarlequin.models.arithmetic.softmax import split_heads


def context(attention: Tensor, v: Tensor) -> Tensor:
    """Σ_j Â_ij·V_j: attention (..., heads, N, N) of 0 and 1, v (..., N, C) of ±1; (..., N, C), in [−N, N]."""
    heads, tokens = attention.shape[-3], attention.shape[-1]
    mixed = exact_matmul(attention, split_heads(v, heads), tokens)
    return mixed.transpose(-2, -3).flatten(-2)


def differential(attention: Tensor, v: Tensor) -> Tensor:
    """(1 − k_i)·V_i with k_i = Σ_j Â_ij counted per head: with :func:`context`, V_i + Σ_{j: Â_ij = 1} (V_j −
    V_i).
    """
    k = attention.sum(-1, dtype=v.dtype).transpose(-1, -2)  # (..., N, heads)
    return (1 - k).repeat_interleave(v.shape[-1] // k.shape[-1], dim=-1) * v


def local_convolution(v: Tensor, weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """Binary depthwise θ×θ convolution of V around each token; taps outside the grid count 0.

    v (B, N, C) of ±1, weight (C, θ, θ) of ±1 (a correlation, as in PyTorch: weight[c, θ//2, θ//2] meets the
    token itself); (B, N, C), in [−θ², θ²].
    """
    channels, theta = weight.shape[0], weight.shape[-1]
    image = v.transpose(-1, -2).unflatten(-1, grid).to(torch.float32)
    taps = F.conv2d(image, weight[:, None].to(torch.float32), padding=theta // 2, groups=channels)
    return taps.flatten(-2).transpose(-1, -2).to(v.dtype)


def diba(attention: Tensor, v: Tensor, weight: Tensor, local_shift: Tensor, grid: tuple[int, int]) -> Tensor:
    """acc = Σ_j Â_ij·V_j + (1 − k_i)·V_i + (θ×θ convolution of V)·2^local_shift_c; (B, N, C)."""
    return (
        context(attention, v)
        + differential(attention, v)
        + (local_convolution(v, weight, grid) << local_shift)
    )
