"""Where training meets integers: Brevitas's quantisers, straight-through estimators and rounded constants.

They are declared here once, and every layer uses them.
"""

import torch
from brevitas.core.function_wrapper import TensorClamp
from brevitas.core.utils import StatelessBuffer
from brevitas.inject.enum import ScalingImplType
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from brevitas.quant.fixed_point import Int8WeightPerTensorFixedPoint
from torch import Tensor, nn


def real_sign(x: Tensor) -> Tensor:
    """`arithmetic.sign` of real numbers: +1 where x ≥ 0, −1 elsewhere."""
    # Adding zero turns −0 into +0. A selection would cost several times as much.
    return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), x + 0.0)


class _QuadraticSign(torch.autograd.Function):
    """sign(x), with sign(0) = +1. Its gradient is that of Bi-Real Net's piecewise quadratic: 2 − 2|x| for
    |x| < 1, and 0 elsewhere.
    """

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return real_sign(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return torch.rsub(x.abs(), 2, alpha=2).relu_().mul_(grad)


def quadratic_sign(x: Tensor) -> Tensor:
    """The result of the quantiser `BinaryActivation` for ``x``."""
    return _QuadraticSign.apply(x)


class _QuadraticSignQuant(nn.Module):
    """A Brevitas ``tensor_quant``: (value, scale, zero point, bit width) of a sign."""

    def __init__(self):
        super().__init__()
        self.scale = StatelessBuffer(torch.tensor(1.0))
        self.zero_point = StatelessBuffer(torch.tensor(0.0))
        self.bit_width = StatelessBuffer(torch.tensor(1.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return quadratic_sign(x), self.scale(), self.zero_point(), self.bit_width()


class BinaryActivation(SignedBinaryActPerTensorConst):
    """Exactly ±1; the gradient is that of a piecewise quadratic."""

    tensor_quant = _QuadraticSignQuant


class BinaryWeight(SignedBinaryWeightPerTensorConst):
    """Exactly ±1; the gradient passes unchanged within [−1, 1], and is 0 elsewhere."""

    scaling_const = 1.0
    tensor_clamp_impl = TensorClamp


class Int8Weight(Int8WeightPerTensorFixedPoint):
    """Signed 8 bits at a constant scale of 2^−7: weights in [−1, 1). Any other scale is left to the layers
    around them.
    """

    scaling_impl_type = ScalingImplType.CONST
    scaling_init = 1.0
    narrow_range = False


class _Exact(torch.autograd.Function):
    @staticmethod
    def forward(ctx, surrogate, exact):
        return exact

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def straight_through(surrogate: Tensor, exact: Tensor) -> Tensor:
    """The value of ``exact`` with the gradient of ``surrogate``."""
    return _Exact.apply(surrogate, exact.to(surrogate.dtype))


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        inward = ((x > ctx.low) | (grad < 0)) & ((x < ctx.high) | (grad > 0))
        return grad * inward, None, None


def bounded(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` clipped to [low, high]. Where it is at a bound or beyond, its gradient is kept if a step against
    it leads inside: a parameter that has reached a bound can come back, which with a clamp it never does.
    """
    return _Bounded.apply(x, low, high)


def to_integer(value: Tensor, fraction: int) -> Tensor:
    """A real tensor whose values are multiples of 2^−fraction, as int32 in units of that."""
    return (value.detach() * 2**fraction).round().int()


def round_constant(value: Tensor, fraction: int, bits: int, signed: bool = True) -> Tensor:
    """A trained constant as the integer nearest to value·2^fraction that ``bits`` bits hold; int64."""
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return (value.detach().double() * 2.0**fraction).round().clamp(low, high).long()


def quantise_constant(value: Tensor, fraction: int, bits: int) -> Tensor:
    """`round_constant` as a real number again, with the gradient of ``value``."""
    return straight_through(value, round_constant(value, fraction, bits).to(value.dtype) * 2.0**-fraction)
