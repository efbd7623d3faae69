"""Binary attention in its two phases, float phase and deploy mode.

It has the Haar bands, the softmax with a threshold that makes bits of it, and DIBA, which applies these bits
to the values.
"""

import torch
from brevitas import nn as qnn
from torch import Tensor, nn
from torch.nn import functional as F

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import OWN_SHIFT_BITS, exp_table
from haarlequin.models.network.layers import Constants, Layer
from haarlequin.models.network.quant import (
    BinaryWeight,
    bounded,
    real_sign,
    round_constant,
    straight_through,
)

FULL = 0.01
"""A head with fewer zeros among its bits than that is full: it hardly attends to anything in particular."""


class HaarSplit(Layer):
    """x → (x_lo, x_hi), the low and the high Haar band of x on the token grid (`arithmetic.haar_split`)."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.grid = config.grid

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        # Each token plus the one below it, then plus the pair to the right; the last row and column repeat.
        # PyTorch's pooling would cost several times as much, because it wants the channels before the rows.
        grid = x.unflatten(1, self.grid)
        for axis in (1, 2):
            last = grid.shape[axis] - 1
            grid = grid + torch.cat([grid.narrow(axis, 1, last), grid.narrow(axis, last, 1)], axis)
        lo = (grid * 0.25).flatten(1, 2)
        hi = self.saturate(x - lo)
        if not self.deployed:
            return lo, hi
        lo_integer, hi_integer = arithmetic.haar_split(self.wide(x), self.grid, self.widths.wide)
        return self.exact(lo, lo_integer), self.exact(hi, hi_integer)


class BinaryAttention(Layer):
    """Â from the signs of queries and keys. In both phases the bits of Â are those of the integer rule,
    `arithmetic.binarise_softmax`, and their gradient is that of the float softmax.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.heads, self.scale = config.heads, config.head_dim**-0.5
        self.score_shift, self.score_scale = config.score_shift, config.score_scale
        self.alpha = nn.Parameter(torch.tensor(config.alpha), requires_grad=config.alpha_learned)
        self.start = min(1.0, 2.0 / config.tokens)
        self.beta = nn.Parameter(torch.full((config.heads,), self.start))
        self.table = exp_table(self.widths)

    def band_weights(self, bands: int) -> list[Tensor]:
        """The weights of the bands' scores: α and 1 − α for two bands, 1 for a single one."""
        alpha = bounded(self.alpha, 0, 1)
        return [alpha, 1 - alpha] if bands == 2 else [torch.ones_like(alpha)]

    def forward(self, bands: list[tuple[Tensor, Tensor]], allowed: Tensor | None = None) -> Tensor:
        """Signs (Q, K) of each band, each (B, N, C) → Â (B, heads, N, N). It is 0 where ``allowed``
        (B, 1, N, N), if given, is 0.
        """
        # Floats hold these products of signs exactly, so the integer rule and the softmax can both use them.
        dots = [
            arithmetic.split_heads(q, self.heads) @ arithmetic.split_heads(k, self.heads).mT for q, k in bands
        ]
        c = self.constants(len(bands))
        integer = sum(w * dot.detach().int() for w, dot in zip(c["score_weight"].int(), dots, strict=True))
        bits = arithmetic.binarise_softmax(
            integer, self.table, self.score_shift, c["threshold"], self.widths.threshold, allowed
        )
        if not torch.is_grad_enabled():
            return bits.to(bands[0][0].dtype)
        real = sum(w * dot for w, dot in zip(self.band_weights(len(bands)), dots, strict=True))
        if allowed is not None:
            real = real - (1 - allowed) * 1e4
        softmax = (real * self.scale).softmax(-1)
        beta = bounded(self.beta, 2.0**-self.widths.threshold, 2.0)[:, None, None]
        fixed = beta.detach()
        # Where nearly all bits are 1, hardly any is near its threshold, and that one has a gradient by β that
        # is out of all proportion. There each bit that had better be 0 raises β, as much as one at its
        # threshold does at the start. In all other heads it must not: it would push β one way only.
        zeros = (1 if allowed is None else allowed) - bits
        full = zeros.to(softmax.dtype).mean((0, 2, 3))[:, None, None] < FULL
        raised = bounded((1 + (fixed - beta) / self.start).expand_as(softmax), 0, 1) * full
        return straight_through((softmax / torch.where(full, fixed, beta)).clamp(0, 1) + raised, bits)

    def constants(self, bands: int) -> Constants:
        """score_weight (bands,) and threshold (heads,)."""
        weights = torch.stack(self.band_weights(bands)).detach().double() * self.score_scale
        # Half of β, because a bit is softmax / β, rounded.
        threshold = round_constant(self.beta / 2, self.widths.threshold, self.widths.threshold, signed=False)
        return {"score_weight": weights.round().long(), "threshold": threshold.clamp(min=1)}


class DIBA(Layer):
    """Σ_j Â_ij V_j + (1 − k_i)·V_i + 2^s_c · (local convolution of V), with a learned s_c for each channel.

    If ``config.diba`` is off, only the first sum is left. ``config.own`` is about the second term: where it
    is "learned", channel c of it has a factor of 2^−o_c, and the product is rounded to an integer.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.enabled, self.grid, self.own = config.diba, config.grid, config.own
        if self.enabled:
            self.local = qnn.QuantConv2d(
                config.dim,
                config.dim,
                config.theta,
                padding=config.theta // 2,
                groups=config.dim,
                bias=False,
                weight_quant=BinaryWeight,
            )
            nn.init.uniform_(self.local.weight, -0.5, 0.5)
            self.real_weights = False  # `DIDBViT.use_real_weights` changes it
            self.local_shift = nn.Parameter(torch.zeros(config.dim))
            if self.own == "learned":
                self.own_shift = nn.Parameter(torch.zeros(config.dim))

    def forward(self, attention: Tensor, v: Tensor) -> Tensor:
        """Â (B, heads, N, N) and the signs V (B, N, C) → acc (B, N, C), whose values are integers."""
        mixed = (attention @ arithmetic.split_heads(v, attention.shape[1])).transpose(1, 2).flatten(2)
        if not self.enabled:
            return mixed
        if self.own != "none":
            mixed = mixed + self._own_term(attention, v)
        image = v.transpose(1, 2).unflatten(-1, self.grid)
        shift = straight_through(self.local_shift, self.shifts())
        local = self._convolve(image).flatten(2).transpose(1, 2) * torch.exp2(shift)
        if not self.deployed:
            return mixed + local
        c, signs = self.integers(), v.detach().int()
        own, own_shift = self.own != "none", c.get("own_shift")
        exact = arithmetic.diba(
            attention.detach().int(), signs, c["weight"], c["shift"], self.grid, own, own_shift
        )
        return straight_through(mixed + local, exact)

    def _own_term(self, attention: Tensor, v: Tensor) -> Tensor:
        own = (1 - attention.sum(-1)).transpose(1, 2)
        own = own.repeat_interleave(v.shape[-1] // attention.shape[1], dim=-1) * v
        if self.own == "fixed":
            return own
        scaled = own * torch.exp2(-straight_through(self.own_shift, self.own_shifts()))
        return straight_through(scaled, (scaled.detach() + 0.5).floor())

    def _convolve(self, image: Tensor) -> Tensor:
        if not self.real_weights:
            return self.local(image)
        weight = self.local.weight
        return F.conv2d(image, weight, padding=weight.shape[-1] // 2, groups=len(weight))

    def shifts(self) -> Tensor:
        """s_c: the scale of the local convolution is 2^s_c."""
        return round_constant(self.local_shift, 0, self.widths.local_shift, signed=False)

    def own_shifts(self) -> Tensor:
        """o_c: the factor of a token's own term is 2^−o_c."""
        return round_constant(self.own_shift, 0, OWN_SHIFT_BITS, signed=False)

    def constants(self) -> Constants:
        """weight (C, θ, θ) and shift (C,) of the local convolution, and own_shift (C,) where it is learned;
        nothing without DIBA.
        """
        if not self.enabled:
            return {}
        constants = {"weight": real_sign(self.local.weight.detach())[:, 0].long(), "shift": self.shifts()}
        return constants | ({"own_shift": self.own_shifts()} if self.own == "learned" else {})
