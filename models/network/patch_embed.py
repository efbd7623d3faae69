"""The embedding, the multi-bit first layer, in its two phases: float phase and deploy mode."""

import torch
from brevitas import nn as qnn
from torch import Tensor, nn

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import see
from haarlequin.models.network.layers import Affine, Constants, Layer
from haarlequin.models.network.quant import Int8Weight, quantise_constant, round_constant
from haarlequin.models.widths import INT8_UNIT


class Embedding(Layer):
    """Pixels → x: an 8-bit linear on patches, BatchNorm, and a position for each token and channel; or an
    8-bit 3×3 convolution and BatchNorm, with no position.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.stem, self.acc_shift = config.stem, config.embedding_acc_shift
        dim, (rows, columns) = config.stages[0].dim, config.grids[0]
        self.linear = qnn.QuantLinear(config.patch_length, dim, bias=False, weight_quant=Int8Weight)
        nn.init.uniform_(self.linear.weight, -0.5, 0.5)
        self.affine = Affine(dim, config.widths, config.widths.embedding_shift)
        self.position = nn.Parameter(torch.randn(rows * columns, dim) * 0.1) if config.stem.patch else None
        # The linear sees pixel − 128, which is int8. To subtract the mean of each colour instead takes only a
        # bias: Σ w·(pixel − mean) = Σ w·(pixel − 128) + Σ w·(128 − mean).
        centre = 128 - torch.tensor(config.mean, dtype=torch.float32).repeat(config.patch**2)
        self.register_buffer("centre", centre, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        values = see(pixels, self.stem)
        # In units of the integer accumulator, after its right shift.
        acc = self.linear(values.to(self.centre.dtype) - 128) + self.linear(self.centre)
        x = self.saturate(self.affine(acc / (INT8_UNIT * 2**self.acc_shift)))
        if self.position is not None:
            position = self.position
            if self.deployed:
                position = quantise_constant(position, self.widths.fraction, self.widths.wide)
            x = self.saturate(x + position)
        if not self.deployed:
            return x
        c = self.constants()
        integer = arithmetic.embedding(
            values.long(),
            c["weight"],
            c["bias"],
            self.acc_shift,
            c["a"],
            c["b"],
            int(c["shift"]),
            c.get("position", 0),
            self.widths.wide,
        )
        return self.exact(x, integer)

    def constants(self) -> Constants:
        """weight (int8), bias (int32), a, b and shift, and position where there is one."""
        weight = self.linear.quant_weight().int().long()
        bias = (weight.double() @ self.centre.double()).round().long()
        constants = {"weight": weight, "bias": bias} | self.affine.constants()
        if self.position is None:
            return constants
        return constants | {"position": round_constant(self.position, self.widths.fraction, self.widths.wide)}
