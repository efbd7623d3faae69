"""Heads in their two phases: the classifier of an image, which has multi-bit weights, and that of tokens."""

from brevitas import nn as qnn
from torch import Tensor, nn

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import FEATURE_BITS, HEAD_BIAS_BITS
from haarlequin.models.network.layers import Affine, BinaryLinear, Constants, Layer
from haarlequin.models.network.quant import Int8Weight, round_constant, straight_through


class Head(Layer):
    """x (B, N, C) → logits: a sum over the tokens, a BatchNorm, features of 8 bits, and an 8-bit linear."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        fraction = config.widths.feature_fraction
        dim = config.stages[-1].dim
        self.affine = Affine(dim, config.widths, config.widths.head_shift, fraction)
        self.linear = qnn.QuantLinear(dim, len(config.classes), bias=True, weight_quant=Int8Weight)
        self.logit_scale = config.logit_scale

    def decayed(self) -> list[nn.Parameter]:
        """The parameters with weight decay."""
        return [self.linear.weight]

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


class TokenHead(Layer):
    """x (B, N, C) → logits (B, N, classes), 12-bit results of a binary linear and a BatchNorm."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.linear = BinaryLinear(config.stages[-1].dim, len(config.classes), config.widths)
        self.affine = Affine(len(config.classes), config.widths, config.widths.affine_shift)
        self.logit_scale = config.logit_scale

    def decayed(self) -> list[nn.Parameter]:
        """An empty list: the weights are binary."""
        return []

    def forward(self, x: Tensor) -> Tensor:
        acc = self.linear(x)
        logits = self.saturate(self.affine(acc))
        if not self.deployed:
            return logits
        c = self.integers()
        integer = arithmetic.token_logits(
            acc.detach().int(), c["a"], c["b"], int(c["shift"]), self.widths.wide
        )
        return self.exact(logits, integer)

    def constants(self) -> Constants:
        """move, weight, a, b and shift."""
        return self.linear.constants() | self.affine.constants()
