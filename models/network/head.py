"""The head: the multi-bit last layer, or classifier, in its two phases."""

from brevitas import nn as qnn
from torch import Tensor

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import FEATURE_BITS, HEAD_BIAS_BITS
from haarlequin.models.network.layers import Affine, Constants, Layer
from haarlequin.models.network.quant import Int8Weight, round_constant, straight_through


class Head(Layer):
    """x (B, N, C) → logits: a sum over the tokens, a BatchNorm, features of 8 bits, and an 8-bit linear."""

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
