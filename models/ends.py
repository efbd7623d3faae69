"""The multi-bit ends of the network in their two phases: patch embedding and classifier."""

import torch
from brevitas import nn as qnn
from torch import Tensor, nn

from . import arithmetic
from .config import INT8_UNIT, ModelConfig
from .golden import FEATURE_BITS, HEAD_BIAS_BITS
from .layers import Affine, Constants, Layer
from .quant import Int8Weight, quantise_constant, round_constant, straight_through


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
        self.logit_scale = config.logit_scale

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
