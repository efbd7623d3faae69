"""Plain functions in place of Brevitas' quantiser objects, for the network that is being trained.

A quantiser of Brevitas is a tree of modules that costs several times the arithmetic that it stands for. The
layers that `use_plain_functions` changes keep their parameters, their names in `state_dict` and their
quantisers; only `forward` is another one. Values and gradients are tested equal to Brevitas', bit for bit.
"""

from dataclasses import dataclass

import torch
from brevitas import nn as qnn
from torch import Tensor, nn
from torch.nn import functional as F

from haarlequin.models.network.quant import (
    BinaryActivation,
    BinaryWeight,
    Int8Weight,
    quadratic_sign,
    real_sign,
    straight_through,
)
from haarlequin.models.widths import INT8_UNIT


class _BinaryWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight):
        ctx.save_for_backward(weight)
        return real_sign(weight)

    @staticmethod
    def backward(ctx, grad):
        (weight,) = ctx.saved_tensors
        return torch.where(weight.abs() <= 1, grad, 0.0)


def binary_weights(weight: Tensor) -> Tensor:
    """The result of the quantiser `BinaryWeight` for ``weight``."""
    return _BinaryWeights.apply(weight)


def int8_weights(weight: Tensor) -> Tensor:
    """The result of the quantiser `Int8Weight` for ``weight``."""
    integers = (weight.detach() / INT8_UNIT + 0.0).round().clamp(-128, 127)
    return straight_through(weight, integers * INT8_UNIT)


class _Signs(qnn.QuantIdentity):
    def forward(self, x: Tensor) -> Tensor:
        return quadratic_sign(x)


class _BinaryLinear(qnn.QuantLinear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, binary_weights(self.weight), self.bias)


@dataclass(frozen=True)
class Int8Weights:
    """The part of Brevitas' `quant_weight` of 8-bit weights that is used."""

    value: Tensor

    def int(self) -> Tensor:
        """The weights as integers, −128 to 127."""
        return (self.value / INT8_UNIT).round().int()


class _Int8(nn.Module):
    weight: nn.Parameter

    def quant_weight(self) -> Int8Weights:
        return Int8Weights(int8_weights(self.weight))


class _Int8Linear(_Int8, qnn.QuantLinear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, int8_weights(self.weight), self.bias)


class _BinaryConv2d(qnn.QuantConv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, binary_weights(self.weight), self.bias)


class _Int8Conv2d(_Int8, qnn.QuantConv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, int8_weights(self.weight), self.bias)


_PLAIN: dict[tuple[type, type], type] = {
    (qnn.QuantIdentity, BinaryActivation): _Signs,
    (qnn.QuantLinear, BinaryWeight): _BinaryLinear,
    (qnn.QuantLinear, Int8Weight): _Int8Linear,
    (qnn.QuantConv2d, BinaryWeight): _BinaryConv2d,
    (qnn.QuantConv2d, Int8Weight): _Int8Conv2d,
}


def use_plain_functions(model: nn.Module) -> nn.Module:
    """``model`` itself, after each layer of it that has an equal plain form has got that."""
    for module in model.modules():
        for (layer, quantiser), plain in _PLAIN.items():
            if type(module) is layer and _quantised_by(module, quantiser):
                module.__class__ = plain
    return model


def _quantised_by(module: nn.Module, quantiser: type) -> bool:
    """Whether ``quantiser`` is the only one of ``module``, and its results are tensors."""
    proxies = {n: p for n in _PROXIES if (p := getattr(module, n, None)) is not None and p.is_quant_enabled}
    injectors = [proxy.quant_injector for proxy in proxies.values()]
    return len(injectors) == 1 and issubclass(injectors[0], quantiser) and not module.return_quant_tensor


_PROXIES = ("input_quant", "act_quant", "weight_quant", "bias_quant", "output_quant")
