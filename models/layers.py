"""The parts of a DIDB-ViT, each in two phases.

In the *float phase* BatchNorm sees batches and constants are real numbers. `deploy()` folds the norms,
chooses the shifts and turns to *deploy mode*: every value a layer hands on is then what the function of
`models.arithmetic` of that name returns (on int64, scaled to real units by a power of two, which is exact),
with the gradient of the float formula. `constants()` gives the integers that it used; `models.freeze`
collects them.
"""

import math

import torch
from brevitas import nn as qnn
from torch import Tensor, nn

from . import arithmetic
from .config import ModelConfig, Widths
from .golden import FEATURE_BITS, HEAD_BIAS_BITS, exp_table
from .quant import (
    INT8_UNIT,
    BinaryActivation,
    BinaryWeight,
    Int8Weight,
    quantise_constant,
    round_constant,
    straight_through,
    to_integer,
)

Constants = dict[str, Tensor]


def fitting_shift(real: Tensor, bits: int, window: tuple[int, int]) -> int:
    """The largest shift in the window at which the largest |real|·2^shift still fits ``bits`` signed bits."""
    largest = real.abs().max().item()
    limit = (1 << (bits - 1)) - 1
    shift = math.floor(math.log2(limit / largest)) if largest > 0 else window[1]
    return min(max(shift, window[0]), window[1])


class Layer(nn.Module):
    """A module that knows the widths and its phase."""

    def __init__(self, widths: Widths):
        super().__init__()
        self.widths = widths
        self.deployed = False

    def deploy(self) -> None:
        """Turn from the float phase to deploy mode; submodules turn themselves."""
        self.deployed = True

    def saturate(self, value: Tensor) -> Tensor:
        """The range of a wide tensor, in real units."""
        limit = 2.0 ** (self.widths.wide - 1 - self.widths.fraction)
        return value.clamp(-limit, limit - 2.0**-self.widths.fraction)

    def offset(self, value: Tensor) -> Tensor:
        """A constant of the `offset` width, quantised in deploy mode."""
        return quantise_constant(value, self.widths.fraction, self.widths.offset) if self.deployed else value

    def offset_constant(self, value: Tensor) -> Tensor:
        """The same as int64."""
        return round_constant(value, self.widths.fraction, self.widths.offset)

    def wide(self, value: Tensor) -> Tensor:
        """A wide tensor on its grid as int64."""
        return to_integer(value, self.widths.fraction)

    def exact(self, surrogate: Tensor, integer: Tensor) -> Tensor:
        """The wide tensor ``integer`` in real units with the gradient of ``surrogate``."""
        return straight_through(surrogate, integer.to(surrogate.dtype) * 2.0**-self.widths.fraction)


class Affine(Layer):
    """BatchNorm over the last axis; in deploy mode the affine it folds into, trained on as such."""

    def __init__(self, channels: int, widths: Widths, window: tuple[int, int], fraction: int | None = None):
        super().__init__(widths)
        self.window = window
        self.fraction = widths.fraction if fraction is None else fraction
        self.norm = nn.BatchNorm1d(channels)

    def deploy(self) -> None:
        super().deploy()
        norm = self.norm
        gain = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        self.register_buffer("shift", torch.tensor(0))
        self.shift.fill_(fitting_shift(gain * 2.0**self.fraction, self.widths.multiplier, self.window))
        # The multiplier as a share of its range: one learning rate then suits gains of any size.
        self.multiplier = nn.Parameter(gain / self.gain_unit)
        self.bias = nn.Parameter(norm.bias.detach() - norm.running_mean * gain)
        del self.norm

    @property
    def gain_unit(self) -> float:
        """Gain of a multiplier of 1, that is a_c = 2^(multiplier bits − 1)."""
        return 2.0 ** (self.widths.multiplier - 1 - self.fraction - int(self.shift))

    def forward(self, acc: Tensor, folded: Tensor | float = 0.0) -> Tensor:
        """The float formula on an accumulator, plus a constant that folds into b_c."""
        if not self.deployed:
            return self.norm(acc.flatten(0, -2)).view_as(acc) + folded
        bits = self.widths.multiplier
        gain = quantise_constant(self.multiplier, bits - 1, bits) * self.gain_unit
        return gain * acc + quantise_constant(self.bias + folded, self.fraction, self.widths.bias)

    def constants(self, folded: Tensor | float = 0.0) -> Constants:
        """a, b and shift of `arithmetic.affine`."""
        bits = self.widths.multiplier
        a = round_constant(self.multiplier, bits - 1, bits)
        b = round_constant(self.bias + folded, self.fraction, self.widths.bias)
        return {"a": a, "b": b, "shift": self.shift.long()}


class BinaryLinear(Layer):
    """W·sign(x + move): an input move, Brevitas's sign and a ±1 Brevitas linear; (..., K) → (..., M)."""

    def __init__(self, inputs: int, outputs: int, widths: Widths):
        super().__init__(widths)
        self.move = nn.Parameter(torch.zeros(inputs))
        self.act = qnn.QuantIdentity(act_quant=BinaryActivation)
        self.linear = qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=BinaryWeight)
        nn.init.uniform_(self.linear.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.act(x + self.offset(self.move)))

    def constants(self) -> Constants:
        """move and weight."""
        return {
            "move": self.offset_constant(self.move),
            "weight": arithmetic.sign(self.linear.weight.detach()).long(),
        }


class IRPReLU(Layer):
    """PReLU_c(x − m1_c)·layer_scale_c + m2_c + t_n, and the residual it is added to, if any.

    Sits behind an affine and owns it, because m1 folds into the affine's b_c.
    """

    def __init__(self, channels: int, config: ModelConfig, layer_scale: float | None = None):
        super().__init__(config.widths)
        self.affine = Affine(channels, config.widths, config.widths.affine_shift)
        self.m1 = nn.Parameter(torch.zeros(channels))
        self.m2 = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.scale = None if layer_scale is None else nn.Parameter(torch.full((channels,), layer_scale))
        if config.irprelu:
            self.token = nn.Parameter(torch.zeros(config.tokens))
        else:
            self.register_buffer("token", torch.zeros(config.tokens), persistent=False)

    def deploy(self) -> None:
        super().deploy()
        slopes = torch.cat([part.detach() for part in self.slopes()])
        shift = fitting_shift(slopes, self.widths.slope, self.widths.slope_shift)
        self.register_buffer("shift", torch.tensor(shift))

    def slopes(self) -> tuple[Tensor, Tensor]:
        """(positive, negative), the LayerScale folded in."""
        positive = torch.ones_like(self.slope) if self.scale is None else self.scale
        return positive, positive * self.slope

    def shifted_m2(self) -> Tensor:
        """m2 behind the LayerScale."""
        return self.m2 if self.scale is None else self.m2 * self.scale

    def forward(self, acc: Tensor, shortcut: Tensor, residual: Tensor | None = None) -> Tensor:
        positive, negative = self.slopes()
        if self.deployed:
            positive, negative = (
                quantise_constant(s, int(self.shift), self.widths.slope) for s in (positive, negative)
            )
        d = self.saturate(self.affine(acc, -self.m1) + shortcut)
        y = torch.where(d >= 0, positive, negative) * d
        y = y + self.offset(self.shifted_m2()) + self.offset(self.token)[:, None]
        y = self.saturate(y if residual is None else y + residual)
        return self.exact(y, self.integer(acc, shortcut, residual)) if self.deployed else y

    def integer(self, acc: Tensor, shortcut: Tensor, residual: Tensor | None) -> Tensor:
        """The same by the integer arithmetic."""
        c = self.constants()
        value = arithmetic.affine(acc.detach().long(), c["a"], c["b"], int(c["shift"])) + self.wide(shortcut)
        return arithmetic.irprelu(
            value,
            c["positive"],
            c["negative"],
            c["offset"],
            c["token"],
            int(c["slope_shift"]),
            self.widths.wide,
            0 if residual is None else self.wide(residual),
        )

    def constants(self) -> Constants:
        """Those of the affine, and positive, negative, slope_shift, offset and token of
        `arithmetic.irprelu`.
        """
        positive, negative = (round_constant(s, int(self.shift), self.widths.slope) for s in self.slopes())
        return self.affine.constants(-self.m1) | {
            "positive": positive,
            "negative": negative,
            "slope_shift": self.shift.long(),
            "offset": self.offset_constant(self.shifted_m2()),
            "token": self.offset_constant(self.token),
        }


class Projection(Layer):
    """IRPReLU(BN(W·sign(x + move)) + shortcut), and the residual it is added to, if any."""

    def __init__(self, inputs: int, outputs: int, config: ModelConfig, layer_scale: float | None = None):
        super().__init__(config.widths)
        self.linear = BinaryLinear(inputs, outputs, config.widths)
        self.irprelu = IRPReLU(outputs, config, layer_scale)

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.irprelu(self.linear(x), shortcut, residual)

    def constants(self) -> Constants:
        """Those of both parts."""
        return self.linear.constants() | self.irprelu.constants()


class SignProjection(Layer):
    """sign(BN(W·sign(x + move)) + x + move'): a query or a key; move' folds into the affine's b_c."""

    def __init__(self, channels: int, widths: Widths):
        super().__init__(widths)
        self.linear = BinaryLinear(channels, channels, widths)
        self.affine = Affine(channels, widths, widths.affine_shift)
        self.output_move = nn.Parameter(torch.zeros(channels))
        self.act = qnn.QuantIdentity(act_quant=BinaryActivation)

    def forward(self, x: Tensor) -> Tensor:
        acc = self.linear(x)
        value = self.affine(acc, self.output_move) + x
        if self.deployed:
            c = self.affine.constants(self.output_move)
            integer = arithmetic.affine(acc.detach().long(), c["a"], c["b"], int(c["shift"])) + self.wide(x)
            value = self.exact(value, integer)
        return self.act(value)

    def constants(self) -> Constants:
        """move, weight, a, b (with move' in it) and shift."""
        return self.linear.constants() | self.affine.constants(self.output_move)


class HaarSplit(Layer):
    """x → (x_lo, x_hi) on the token grid."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.grid = config.grid

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        grid = x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        padded = nn.functional.pad(grid, (0, 1, 0, 1), mode="replicate")
        lo = nn.functional.avg_pool2d(padded, 2, stride=1).flatten(2).transpose(1, 2)
        hi = self.saturate(x - lo)
        if not self.deployed:
            return lo, hi
        lo_integer, hi_integer = arithmetic.haar_split(self.wide(x), self.grid, self.widths.wide)
        return self.exact(lo, lo_integer), self.exact(hi, hi_integer)


class BinaryAttention(Layer):
    """Â from the signs of queries and keys: the integer rule forward, the float softmax backward, in both
    phases.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.heads, self.scale = config.heads, config.head_dim**-0.5
        self.score_shift, self.score_scale = config.score_shift, config.score_scale
        self.alpha = nn.Parameter(torch.tensor(config.alpha), requires_grad=config.alpha_learned)
        self.beta = nn.Parameter(torch.full((config.heads,), min(1.0, 2.0 / config.tokens)))
        self.register_buffer("table", exp_table(self.widths), persistent=False)

    def band_weights(self, bands: int) -> list[Tensor]:
        """α and 1 − α, or 1 where there is one band."""
        alpha = self.alpha.clamp(0, 1)
        return [alpha, 1 - alpha] if bands == 2 else [torch.ones_like(alpha)]

    def forward(self, bands: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Signs (Q, K) of each band, (B, N, C) → Â, (B, heads, N, N)."""
        c = self.constants(len(bands))
        integer = arithmetic.scores(
            [
                (q.detach().long(), k.detach().long(), int(w))
                for (q, k), w in zip(bands, c["score_weight"], strict=True)
            ],
            self.heads,
        )
        bits = arithmetic.binarise_softmax(
            integer, self.table, self.score_shift, c["threshold"], self.widths.threshold
        )
        if not torch.is_grad_enabled():
            return bits.to(bands[0][0].dtype)
        real = sum(
            weight * (arithmetic.split_heads(q, self.heads) @ arithmetic.split_heads(k, self.heads).mT)
            for weight, (q, k) in zip(self.band_weights(len(bands)), bands, strict=True)
        )
        beta = self.beta.clamp(min=2.0**-self.widths.threshold)[:, None, None]
        return straight_through(((real * self.scale).softmax(-1) / beta).clamp(0, 1), bits)

    def constants(self, bands: int) -> Constants:
        """score_weight (bands,) and threshold (heads,)."""
        weights = torch.stack(self.band_weights(bands)).detach().double() * self.score_scale
        threshold = round_constant(self.beta / 2, self.widths.threshold, self.widths.threshold, signed=False)
        return {"score_weight": weights.round().long(), "threshold": threshold.clamp(min=1)}


class DIBA(Layer):
    """Σ_j Â_ij V_j, with DIBA also (1 − k_i)·V_i and the local convolution of V at its learned power of
    two.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.enabled, self.grid = config.diba, config.grid
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
            self.local_shift = nn.Parameter(torch.zeros(config.dim))

    def forward(self, attention: Tensor, v: Tensor) -> Tensor:
        """Â (B, heads, N, N) and the signs V (B, N, C) → acc (B, N, C), integers."""
        mixed = (attention @ arithmetic.split_heads(v, attention.shape[1])).transpose(1, 2).flatten(2)
        if not self.enabled:
            return mixed
        own = (1 - attention.sum(-1)).transpose(1, 2).repeat_interleave(
            v.shape[-1] // attention.shape[1], dim=-1
        ) * v
        image = v.transpose(1, 2).unflatten(-1, self.grid)
        shift = straight_through(self.local_shift, self.shifts())
        local = self.local(image).flatten(2).transpose(1, 2) * torch.exp2(shift)
        c = self.constants()
        exact = arithmetic.diba(
            attention.detach().long(), v.detach().long(), c["weight"], c["shift"], self.grid
        )
        return straight_through(mixed + own + local, exact)

    def shifts(self) -> Tensor:
        """s_c, the exponents of the local convolution's scale."""
        return round_constant(self.local_shift, 0, self.widths.local_shift, signed=False)

    def constants(self) -> Constants:
        """weight (C, θ, θ) and shift (C,) of the local convolution; nothing without DIBA."""
        if not self.enabled:
            return {}
        return {"weight": arithmetic.sign(self.local.weight.detach())[:, 0].long(), "shift": self.shifts()}


class Embedding(Layer):
    """Pixels → x: an 8-bit linear on patches, BN, and a position per token and channel."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.patch, self.acc_shift = config.patch, config.embedding_acc_shift
        self.linear = qnn.QuantLinear(config.patch_length, config.dim, bias=False, weight_quant=Int8Weight)
        nn.init.uniform_(self.linear.weight, -0.5, 0.5)
        self.affine = Affine(config.dim, config.widths, config.widths.embedding_shift)
        self.position = nn.Parameter(torch.randn(config.tokens, config.dim) * 0.1)
        # Subtracting the mean pixel is a bias: Σ w·(pixel − mean) = Σ w·(pixel − 128) + Σ w·(128 − mean).
        centre = 128 - torch.tensor(config.mean, dtype=torch.float32).repeat(config.patch**2)
        self.register_buffer("centre", centre, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = arithmetic.patches(pixels, self.patch).to(self.position.dtype) - 128
        acc = (self.linear(patches) + self.linear(self.centre)) / (INT8_UNIT * 2**self.acc_shift)
        position = self.position
        if self.deployed:
            position = quantise_constant(position, self.widths.fraction, self.widths.wide)
        x = self.saturate(self.saturate(self.affine(acc)) + position)
        if not self.deployed:
            return x
        c = self.constants()
        integer = arithmetic.embedding(
            pixels.long(),
            c["weight"],
            c["bias"],
            self.acc_shift,
            c["a"],
            c["b"],
            int(c["shift"]),
            c["position"],
            self.patch,
            self.widths.wide,
        )
        return self.exact(x, integer)

    def constants(self) -> Constants:
        """weight (int8), bias (int32), a, b, shift and position."""
        weight = self.linear.quant_weight().int().long()
        bias = (weight.double() @ self.centre.double()).round().long()
        position = round_constant(self.position, self.widths.fraction, self.widths.wide)
        return {"weight": weight, "bias": bias, "position": position} | self.affine.constants()


class Head(Layer):
    """x → logits: pooled over the tokens, normalised, cut to 8 bits, and an 8-bit linear."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        fraction = config.widths.feature_fraction
        self.affine = Affine(config.dim, config.widths, config.widths.head_shift, fraction)
        self.linear = qnn.QuantLinear(config.dim, len(config.classes), bias=True, weight_quant=Int8Weight)
        self.logit_scale = INT8_UNIT * 2.0**-fraction
        """Real logits per integer logit."""

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.sum(1) * 2.0**self.widths.fraction
        limit = 2.0 ** (7 - self.widths.feature_fraction)
        feature = self.affine(pooled).clamp(-limit, limit - 2.0**-self.widths.feature_fraction)
        logits = self.linear(feature)
        if not self.deployed:
            return logits
        c = self.constants()
        integer = arithmetic.head(
            arithmetic.pool(self.wide(x)),
            c["a"],
            c["b"],
            int(c["shift"]),
            c["weight"],
            c["bias"],
            FEATURE_BITS,
        )
        return straight_through(logits, integer.double() * self.logit_scale)

    def constants(self) -> Constants:
        """a, b, shift, weight (int8) and bias (int32)."""
        bias = round_constant(self.linear.bias / self.logit_scale, 0, HEAD_BIAS_BITS)
        return self.affine.constants() | {"weight": self.linear.quant_weight().int().long(), "bias": bias}
