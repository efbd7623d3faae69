"""The patch embedding, the multi-bit first layer, in its two phases: float phase and deploy mode."""

import torch
from brevitas import nn as qnn
from torch import Tensor, nn

from haarlequin.models import arithmetic
from haarlequin.models.config import INT8_UNIT, ModelConfig
from haarlequin.models.network.layers import Affine, Constants, Layer
from haarlequin.models.network.quant import Int8Weight, quantise_constant, round_constant


class Embedding(Layer):
    """Pixels → x: an 8-bit linear on patches, BatchNorm, and a position for each token and channel."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.patch, self.acc_shift = config.patch, config.embedding_acc_shift
        self.linear = qnn.QuantLinear(config.patch_length, config.dim, bias=False, weight_quant=Int8Weight)
        nn.init.uniform_(self.linear.weight, -0.5, 0.5)
        self.affine = Affine(config.dim, config.widths, config.widths.embedding_shift)
        self.position = nn.Parameter(torch.randn(config.tokens, config.dim) * 0.1)
        # The linear sees pixel − 128, which is int8. To subtract the mean of each colour instead takes only a
        # bias: Σ w·(pixel − mean) = Σ w·(pixel − 128) + Σ w·(128 − mean).
        centre = 128 - torch.tensor(config.mean, dtype=torch.float32).repeat(config.patch**2)
        self.register_buffer("centre", centre, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = arithmetic.patches(pixels, self.patch).to(self.position.dtype) - 128
        # In units of the integer accumulator, after its right shift.
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
        """weight (int8), bias (int32), position, and the affine's a, b and shift (`arithmetic.embedding`)."""
        weight = self.linear.quant_weight().int().long()
        bias = (weight.double() @ self.centre.double()).round().long()
        position = round_constant(self.position, self.widths.fraction, self.widths.wide)
        return {"weight": weight, "bias": bias, "position": position} | self.affine.constants()
