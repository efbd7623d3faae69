"""The layers of a DIDB-ViT, each in two phases.

In the *float phase* BatchNorm uses the statistics of a batch, and constants are real numbers. `deploy()`
folds the norms, chooses the shifts and turns to *deploy mode*. From then on the output of a layer is what the
function of that name in `models.arithmetic` returns, with the gradient of the float formula. The function
computes on integers; a power of two scales its result to real units, which is exact. `constants()` gives the
integers that it uses, and `models.network.freeze` collects them.
"""

import math

import torch
from brevitas import nn as qnn
from torch import Tensor, nn
from torch.nn import functional as F

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.network.quant import (
    BinaryActivation,
    BinaryWeight,
    quantise_constant,
    real_sign,
    round_constant,
    straight_through,
    to_integer,
)
from haarlequin.models.widths import Widths

Constants = dict[str, Tensor]


def fitting_shift(real: Tensor, bits: int, window: tuple[int, int]) -> int:
    """The largest shift in the window at which the largest |real|·2^shift still fits ``bits`` signed bits."""
    largest = real.abs().max().item()
    limit = (1 << (bits - 1)) - 1
    shift = math.floor(math.log2(limit / largest)) if largest > 0 else window[1]
    return min(max(shift, window[0]), window[1])


class Layer(nn.Module):
    """A module that knows the bit widths and its phase."""

    def __init__(self, widths: Widths):
        super().__init__()
        self.widths = widths
        self.deployed = False

    def deploy(self) -> None:
        """Turn this module, but not its submodules, from the float phase to deploy mode."""
        self.deployed = True

    def saturate(self, value: Tensor) -> Tensor:
        """``value`` clipped to the range of a wide tensor, in real units."""
        limit = 2.0 ** (self.widths.wide - 1 - self.widths.fraction)
        # Unlike that of a clamp, its gradient takes only one pass over the tensor.
        return F.hardtanh(value, -limit, limit - 2.0**-self.widths.fraction)

    def offset(self, value: Tensor) -> Tensor:
        """A constant of the width `offset`, which is quantised in deploy mode."""
        return quantise_constant(value, self.widths.fraction, self.widths.offset) if self.deployed else value

    def offset_constant(self, value: Tensor) -> Tensor:
        """The integer of that constant, int64."""
        return round_constant(value, self.widths.fraction, self.widths.offset)

    def wide(self, value: Tensor) -> Tensor:
        """A wide tensor as integers: int32, half the memory of int64, is enough for all that follows."""
        return to_integer(value, self.widths.fraction)

    def integers(self) -> Constants:
        """`constants()` as int32, for training: no product with an accumulator exceeds 2^31."""
        return {name: value.int() for name, value in self.constants().items()}

    def exact(self, surrogate: Tensor, integer: Tensor) -> Tensor:
        """The wide tensor ``integer`` in real units with the gradient of ``surrogate``."""
        return straight_through(surrogate, integer.to(surrogate.dtype) * 2.0**-self.widths.fraction)


class Affine(Layer):
    """BatchNorm over the last axis; in deploy mode the affine that it folds into, trained further."""

    def __init__(self, channels: int, widths: Widths, window: tuple[int, int], fraction: int | None = None):
        super().__init__(widths)
        self.window = window
        self.fraction = widths.fraction if fraction is None else fraction
        self.norm = nn.BatchNorm1d(channels)

    def deploy(self) -> None:
        super().deploy()
        norm = self.norm
        spread = (norm.running_var + norm.eps).sqrt()
        gain = norm.weight.detach() / spread
        self.register_buffer("shift", torch.tensor(0))
        self._choose_shift(gain, spread)
        # The multiplier as a proportion of its range, so that one learning rate suits gains of any size.
        self.multiplier = nn.Parameter(gain / self.gain_unit)
        # With the gain after quantisation: where that is clipped, the mean must still stay where it was.
        self.bias = nn.Parameter(norm.bias.detach() - norm.running_mean * self._gain(gain / self.gain_unit))
        del self.norm

    def _choose_shift(self, gain: Tensor, spread: Tensor) -> None:
        """Choose the shift at which the quantised gains change the results least.

        A channel that always saturates hardly varies, so that its gain may be a thousand times that of the
        others and mean nothing. A shift at which that gain fits would leave no bits for the others.
        """
        low, high = self.window
        errors = []
        for shift in range(low, high + 1):
            self.shift.fill_(shift)
            errors.append(((self._gain(gain / self.gain_unit) - gain) * spread).square().sum().item())
        self.shift.fill_(low + errors.index(min(errors)))

    def _gain(self, multiplier: Tensor) -> Tensor:
        """The gain of a multiplier after it is quantised."""
        bits = self.widths.multiplier
        return quantise_constant(multiplier, bits - 1, bits) * self.gain_unit

    @property
    def gain_unit(self) -> float:
        """The gain of a multiplier of 1, for which a_c = 2^(multiplier bits − 1)."""
        return 2.0 ** (self.widths.multiplier - 1 - self.fraction - int(self.shift))

    def forward(self, acc: Tensor, folded: Tensor | float = 0.0) -> Tensor:
        """The float formula of an accumulator, plus ``folded``, a constant that folds into b_c."""
        if not self.deployed:
            return self._normalise(acc.flatten(0, -2), folded).view_as(acc)
        bias = quantise_constant(self.bias + folded, self.fraction, self.widths.bias)
        return self._gain(self.multiplier) * acc + bias

    def _normalise(self, acc: Tensor, folded: Tensor | float) -> Tensor:
        norm = self.norm
        if isinstance(norm, nn.SyncBatchNorm):
            return norm(acc) + folded
        # The same with the constant in the norm's bias, which saves a pass, both forward and backward.
        statistics = norm.running_mean, norm.running_var
        bias = norm.bias + folded
        return F.batch_norm(acc, *statistics, norm.weight, bias, norm.training, norm.momentum, norm.eps)

    def constants(self, folded: Tensor | float = 0.0) -> Constants:
        """a, b and shift, as in `arithmetic.affine`."""
        bits = self.widths.multiplier
        a = round_constant(self.multiplier, bits - 1, bits)
        b = round_constant(self.bias + folded, self.fraction, self.widths.bias)
        return {"a": a, "b": b, "shift": self.shift.long()}


class Signs(Layer):
    """sign(x + move), with a move for each channel, before a layer with binary weights."""

    def __init__(self, channels: int, widths: Widths):
        super().__init__(widths)
        self.move = nn.Parameter(torch.zeros(channels))
        self.act = qnn.QuantIdentity(act_quant=BinaryActivation)

    def signs(self, x: Tensor) -> Tensor:
        """The signs of x (..., C)."""
        return self.act(x + self.offset(self.move))


class BinaryLinear(Signs):
    """W·sign(x + move): a ±1 linear of Brevitas, (..., K) → (..., M). Where K is a multiple of ``moves``,
    `signs` and `product` are called one after the other, and inputs in between are put side by side.
    """

    def __init__(self, inputs: int, outputs: int, widths: Widths, moves: int | None = None):
        super().__init__(moves or inputs, widths)
        self.linear = qnn.QuantLinear(inputs, outputs, bias=False, weight_quant=BinaryWeight)
        self.real_weights = False
        nn.init.uniform_(self.linear.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.product(self.signs(x))

    def product(self, signs: Tensor) -> Tensor:
        """W·signs."""
        return F.linear(signs, self.linear.weight) if self.real_weights else self.linear(signs)

    def constants(self) -> Constants:
        """move and weight."""
        return {
            "move": self.offset_constant(self.move),
            "weight": real_sign(self.linear.weight.detach()).long(),
        }


class BinaryConvolution(Signs):
    """A ±1 convolution of 3×3 tokens on sign(x + move), (B, N, C) → (B, N, C), in which tokens outside the
    grid have signs of +1 (`arithmetic.binary_convolution`).
    """

    def __init__(self, config: ModelConfig):
        channels = config.dim
        super().__init__(channels, config.widths)
        self.grid = config.grid
        self.convolution = qnn.QuantConv2d(channels, channels, 3, bias=False, weight_quant=BinaryWeight)
        self.real_weights = False
        nn.init.uniform_(self.convolution.weight, -0.5, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        image = self.signs(x).unflatten(1, self.grid)
        # Channels stay last in memory, where padding and convolution are fast.
        image = F.pad(image, (0, 0, 1, 1, 1, 1), value=1.0).permute(0, 3, 1, 2)
        weight = self.convolution.weight
        acc = F.conv2d(image, weight) if self.real_weights else self.convolution(image)
        return acc.permute(0, 2, 3, 1).flatten(1, 2)

    def constants(self) -> Constants:
        """move and weight (C, C, 3, 3)."""
        return {
            "move": self.offset_constant(self.move),
            "weight": real_sign(self.convolution.weight.detach()).long(),
        }


class TwoSlopes(torch.autograd.Function):
    """positive_c·d where d > 0, negative_c·d elsewhere: (..., C), (C,) and (C,) → (..., C).

    It uses products and clamps only: on CPUs a selection costs more than ten of them, and the gradient of
    `F.prelu` six.
    """

    @staticmethod
    def forward(ctx, d, positive, negative):
        positive, negative = positive.to(d.dtype), negative.to(d.dtype)
        ctx.save_for_backward(d, positive, negative)
        return d.relu().mul_(positive - negative).addcmul_(d, negative)

    @staticmethod
    def backward(ctx, grad):
        d, positive, negative = ctx.saved_tensors
        above = d.relu()
        by_positive = (grad * above).flatten(0, -2).sum(0)
        by_both = (grad * d).flatten(0, -2).sum(0)
        by_d = (grad * negative).addcmul_(above.sign_().mul_(grad), positive - negative)
        return by_d, by_positive, by_both - by_positive


class IRPReLU(Layer):
    """(PReLU_c(x − m1_c) + m2_c)·layer_scale_c + t_n, plus the residual stream where one is given.

    x is the affine of an accumulator, plus a shortcut. The affine belongs to this layer, because m1 folds
    into its b_c.
    """

    def __init__(self, channels: int, config: ModelConfig, layer_scale: float | None = None):
        super().__init__(config.widths)
        self.window = config.widths.slope_shift
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
        slopes = torch.cat([slope.detach() for slope in self.slopes()])
        shift = fitting_shift(slopes, self.widths.slope, self.window)
        self.register_buffer("shift", torch.tensor(shift))

    def slopes(self) -> tuple[Tensor, Tensor]:
        """(positive, negative), with the LayerScale folded in."""
        positive = torch.ones_like(self.slope) if self.scale is None else self.scale
        return positive, positive * self.slope

    def scaled_m2(self) -> Tensor:
        """m2 times the LayerScale."""
        return self.m2 if self.scale is None else self.m2 * self.scale

    def forward(self, acc: Tensor, shortcut: Tensor, residual: Tensor | None = None) -> Tensor:
        if self.deployed and not torch.is_grad_enabled():
            # The float formula is needed only for its gradient.
            return self.integer(acc, shortcut, residual).to(acc.dtype) * 2.0**-self.widths.fraction
        d = self.saturate(self.affine(acc, -self.m1) + shortcut)
        y = self._slope(d) + (self.offset(self.scaled_m2()) + self.offset(self.token)[:, None])
        y = self.saturate(y if residual is None else y + residual)
        return self.exact(y, self.integer(acc, shortcut, residual)) if self.deployed else y

    def _slope(self, d: Tensor) -> Tensor:
        slopes = self.slopes()
        if not self.deployed:
            return TwoSlopes.apply(d, *slopes)
        quantised = (quantise_constant(slope, int(self.shift), self.widths.slope) for slope in slopes)
        return TwoSlopes.apply(d, *quantised)

    def integer(self, acc: Tensor, shortcut: Tensor, residual: Tensor | None) -> Tensor:
        """The result in the integer arithmetic, as integers."""
        c = self.integers()
        value = arithmetic.affine(acc.detach().int(), c["a"], c["b"], int(c["shift"])) + self.wide(shortcut)
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
        """a, b and shift of the affine; positive, negative, slope_shift, offset and token, which
        `arithmetic.irprelu` takes.
        """
        positive, negative = (round_constant(s, int(self.shift), self.widths.slope) for s in self.slopes())
        return self.affine.constants(-self.m1) | {
            "positive": positive,
            "negative": negative,
            "slope_shift": self.shift.long(),
            "offset": self.offset_constant(self.scaled_m2()),
            "token": self.offset_constant(self.token),
        }


class Projection(Layer):
    """IRPReLU(BN(W·sign(x + move)) + shortcut), plus the residual stream where one is given."""

    def __init__(self, inputs: int, outputs: int, config: ModelConfig, layer_scale: float | None = None):
        super().__init__(config.widths)
        self.linear = BinaryLinear(inputs, outputs, config.widths)
        self.irprelu = IRPReLU(outputs, config, layer_scale)

    def forward(self, x: Tensor, shortcut: Tensor, residual: Tensor | None = None) -> Tensor:
        return self.irprelu(self.linear(x), shortcut, residual)

    def constants(self) -> Constants:
        """The constants of the linear and of the IRPReLU."""
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
            c = self.integers()
            integer = arithmetic.affine(acc.detach().int(), c["a"], c["b"], int(c["shift"])) + self.wide(x)
            value = self.exact(value, integer)
        return self.act(value)

    def constants(self) -> Constants:
        """move, weight, a, b (with move' in it) and shift."""
        return self.linear.constants() | self.affine.constants(self.output_move)
