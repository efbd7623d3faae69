"""The whole DIDB-ViT (arXiv 2507.02222), on the topology of DeiT; docs/architecture.md has the formulas."""

import torch
from brevitas import nn as qnn
from torch import Tensor, nn

from haarlequin.models import arithmetic
from haarlequin.models.config import LayerPlace, ModelConfig
from haarlequin.models.network.attention import DIBA, BinaryAttention, HaarSplit
from haarlequin.models.network.head import Head, TokenHead
from haarlequin.models.network.layers import (
    BinaryConvolution,
    BinaryLinear,
    Constants,
    IRPReLU,
    Layer,
    Projection,
    SignProjection,
)
from haarlequin.models.network.patch_embed import Embedding
from haarlequin.models.network.quant import BinaryActivation
from haarlequin.models.stages import CONVOLUTION

LAYER_SCALE = 0.1
"""Initial value of the LayerScale. It is small, because the shortcuts within a branch already carry x: at the
start of training a branch is a small correction."""


class PreNorm(nn.Module):
    """BatchNorm over the last axis, before a branch. The shortcuts of the branch then start from its output.

    No preset has it, and it has no deploy mode: it is here to measure what the network loses without it.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(0, -2)).view_as(x)


def _pre_norm(config: ModelConfig) -> PreNorm | None:
    return PreNorm(config.dim) if config.pre_norm else None


class Windows(nn.Module):
    """The windows that attention is limited to; without any, all of these functions change nothing."""

    def __init__(self, config: ModelConfig, shift: int):
        super().__init__()
        self.grid, self.size, self.shift = config.grid, config.stage.window, shift
        allowed = torch.tensor(arithmetic.allowed_pairs(self.grid, self.size, shift) if shift else [])
        self.register_buffer("allowed", allowed, persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B·windows, window², C)."""
        return arithmetic.to_windows(x, self.grid, self.size, self.shift) if self.size else x

    def join(self, x: Tensor) -> Tensor:
        """The inverse of `split`."""
        return arithmetic.from_windows(x, self.grid, self.size, self.shift) if self.size else x

    def allowed_of(self, windows: int) -> Tensor | None:
        """(windows, 1, window², window²) of 0 and 1 for the windows of a batch, or None where all are 1."""
        return self.allowed.repeat(windows // len(self.allowed), 1, 1)[:, None] if self.shift else None


class Attention(Layer):
    """x + LayerScale(output projection of the context), from HFSC, a binary softmax and DIBA."""

    def __init__(self, config: ModelConfig, shift: int = 0):
        super().__init__(config.widths)
        dim, inner = config.dim, config.window_alone()
        self.windows = Windows(config, shift)
        self.pre_norm = _pre_norm(config)
        self.haar = HaarSplit(inner) if config.hfsc else None
        self.query = nn.ModuleDict({band: SignProjection(dim, config.widths) for band in config.bands})
        self.key = nn.ModuleDict({band: SignProjection(dim, config.widths) for band in config.bands})
        self.value = Projection(dim, dim, config)
        self.value_move = nn.Parameter(torch.zeros(dim))
        self.value_act = qnn.QuantIdentity(act_quant=BinaryActivation)
        self.attention = BinaryAttention(inner)
        self.diba = DIBA(inner)
        self.context = IRPReLU(dim, config)
        self.output = Projection(dim, dim, config, LAYER_SCALE)

    def forward(self, residual: Tensor) -> Tensor:
        x = self.pre_norm(residual) if self.pre_norm else residual
        split = self.windows.split(x)
        bands = dict(zip(self.query, self.haar(split) if self.haar else (split,), strict=True))
        pairs = [(self.query[band](band_x), self.key[band](band_x)) for band, band_x in bands.items()]
        v_wide = self.value(x, shortcut=x)
        v = self.windows.split(self.value_act(v_wide + self.offset(self.value_move)))
        attention = self.attention(pairs, self.windows.allowed_of(len(v)))
        acc = self.windows.join(self.diba(attention, v))
        ctx = self.context(acc, shortcut=v_wide)
        return self.output(ctx, shortcut=ctx, residual=residual)


class MLP(Layer):
    """x + LayerScale(two binary linears). The shortcut of the first repeats the channels r times, that of the
    second is the mean of the repeats.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.ratio = config.mlp_ratio
        self.pre_norm = _pre_norm(config)
        self.expand = Projection(config.dim, config.dim * config.mlp_ratio, config)
        self.reduce = Projection(config.dim * config.mlp_ratio, config.dim, config, LAYER_SCALE)

    def forward(self, residual: Tensor) -> Tensor:
        x = self.pre_norm(residual) if self.pre_norm else residual
        u = self.expand(x, shortcut=arithmetic.repeat_channels(x, self.ratio))
        mean = u.unflatten(-1, (self.ratio, -1)).mean(-2)
        if self.deployed:
            mean = self.exact(mean, arithmetic.mean_of_repeats(self.wide(u), self.ratio))
        return self.reduce(u, shortcut=mean, residual=residual)


class Convolution(Layer):
    """IRPReLU(BN(3×3 convolution of signs) + x): a layer of its own, or the feed-forward part of another."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        self.convolution = BinaryConvolution(config)
        self.irprelu = IRPReLU(config.dim, config)

    def forward(self, x: Tensor) -> Tensor:
        return self.irprelu(self.convolution(x), shortcut=x)

    def constants(self) -> Constants:
        """The constants of the convolution and of the IRPReLU."""
        return self.convolution.constants() | self.irprelu.constants()


class Merge(Layer):
    """2×2 tokens of one stage → a token of the next: IRPReLU(BN(W·signs of the four) + shortcut). The four
    have the same moves before their signs.
    """

    def __init__(self, before: ModelConfig, after: ModelConfig):
        super().__init__(before.widths)
        self.grid, self.dim = before.grid, after.dim
        self.linear = BinaryLinear(4 * before.dim, after.dim, before.widths, moves=before.dim)
        self.irprelu = IRPReLU(after.dim, after)

    def forward(self, x: Tensor) -> Tensor:
        acc = self.linear.product(arithmetic.merge_tokens(self.linear.signs(x), self.grid))
        return self.irprelu(acc, self._shortcut(arithmetic.merge_tokens(x, self.grid)))

    def _shortcut(self, merged: Tensor) -> Tensor:
        if merged.shape[-1] <= self.dim:
            return arithmetic.merge_shortcut(merged, self.dim)
        mean = merged.unflatten(-1, (-1, self.dim)).mean(-2)
        if not self.deployed:
            return mean
        return self.exact(mean, arithmetic.merge_shortcut(self.wide(merged), self.dim))

    def constants(self) -> Constants:
        """The constants of the linear and of the IRPReLU."""
        return self.linear.constants() | self.irprelu.constants()


def _layer(place: LayerPlace) -> nn.Sequential:
    """The blocks of a layer: what its stage begins with, and its feed-forward part."""
    config = place.config
    if config.stage.kind == CONVOLUTION:
        return nn.Sequential(Convolution(config))
    feed_forward = Convolution if config.stage.feed_forward == CONVOLUTION else MLP
    return nn.Sequential(Attention(config, place.shift), feed_forward(config))


class DIDBViT(nn.Module):
    """The network: pixels (B, H, W, channels), uint8, → real logits (B, classes), or (B, N, classes) of each
    token if the configuration is for segmentation.

    It starts in the float phase; `deploy()` turns it to deploy mode for good. Its logits are then integers
    times `logit_scale`, and these integers equal the logits of the golden model that `freeze` makes of it.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.layers = nn.ModuleList(_layer(place) for place in config.places)
        self.merges = nn.ModuleDict(
            {str(i): Merge(p.merged, p.config) for i, p in enumerate(config.places) if p.merged}
        )
        """The merges, by the number of the layer that each is before."""
        self.head = TokenHead(config) if config.segmentation else Head(config)

    @property
    def deployed(self) -> bool:
        """Whether the model is in deploy mode."""
        return self.head.deployed

    def binary_weights(self) -> dict[str, nn.Parameter]:
        """The parameters of which only the signs count, by their names in `state_dict`."""
        names = {
            BinaryLinear: "linear.weight",
            BinaryConvolution: "convolution.weight",
            DIBA: "local.weight",
        }
        found = {f"{path}.{names[type(m)]}" for path, m in self.named_modules() if type(m) in names}
        return {name: parameter for name, parameter in self.named_parameters() if name in found}

    def decayed(self) -> list[nn.Parameter]:
        """The parameters with weight decay: the multi-bit matrices. Decay would pull binary weights towards
        a change of sign, and constants towards no useful value.
        """
        return [self.embedding.linear.weight, *self.head.decayed()]

    def use_real_weights(self, real: bool) -> None:
        """Use the real values of binary weights, as in the first of two stages, or only their signs."""
        for module in self.modules():
            if isinstance(module, BinaryLinear | BinaryConvolution | DIBA):
                module.real_weights = real

    @torch.no_grad()
    def rescale_weights(self) -> None:
        """Scale real weights, row by row, to the range in which they can learn as binary ones.

        Their signs stay. The norm after them cancels the scale, but binary weights beyond ±1 do not learn.
        """
        for weight in self.binary_weights().values():
            rows = weight.flatten(1)
            rows.mul_(0.25 / rows.abs().mean(1, keepdim=True).clamp(min=1e-8)).clamp_(-1, 1)

    def deploy(self) -> None:
        """Fold the norms, choose the shifts and quantise the constants; from then on the forward pass is in
        integers. Raises `ConfigError` for a model with pre-norms.
        """
        self.config.check_deployable()
        if self.deployed:
            raise ValueError("the model is in deploy mode already")
        for module in list(self.modules()):
            if isinstance(module, Layer):
                module.deploy()

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.embedding(pixels)
        for i, layer in enumerate(self.layers):
            if str(i) in self.merges:
                x = self.merges[str(i)](x)
            x = layer(x)
        return self.head(x)

    def integer_logits(self, pixels: Tensor) -> Tensor:
        """int64 logits in deploy mode, in the shape of the real ones."""
        if not self.deployed:
            raise ValueError("integer logits exist in deploy mode only: call deploy() first")
        return (self(pixels).double() / self.head.logit_scale).round().long()
