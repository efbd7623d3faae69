"""The whole DIDB-ViT (arXiv 2507.02222), on the topology of DeiT; docs/architecture.md has the formulas."""

import torch
from brevitas import nn as qnn
from torch import Tensor, nn

from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.network.attention import DIBA, BinaryAttention, HaarSplit
from haarlequin.models.network.head import Head
from haarlequin.models.network.layers import BinaryLinear, IRPReLU, Layer, Projection, SignProjection
from haarlequin.models.network.patch_embed import Embedding
from haarlequin.models.network.quant import BinaryActivation

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


class Attention(Layer):
    """x + LayerScale(output projection of the context), from HFSC, a binary softmax and DIBA."""

    def __init__(self, config: ModelConfig):
        super().__init__(config.widths)
        dim = config.dim
        self.pre_norm = _pre_norm(config)
        self.haar = HaarSplit(config) if config.hfsc else None
        self.query = nn.ModuleDict({band: SignProjection(dim, config.widths) for band in config.bands})
        self.key = nn.ModuleDict({band: SignProjection(dim, config.widths) for band in config.bands})
        self.value = Projection(dim, dim, config)
        self.value_move = nn.Parameter(torch.zeros(dim))
        self.value_act = qnn.QuantIdentity(act_quant=BinaryActivation)
        self.attention = BinaryAttention(config)
        self.diba = DIBA(config)
        self.context = IRPReLU(dim, config)
        self.output = Projection(dim, dim, config, LAYER_SCALE)

    def forward(self, residual: Tensor) -> Tensor:
        x = self.pre_norm(residual) if self.pre_norm else residual
        bands = dict(zip(self.query, self.haar(x) if self.haar else (x,), strict=True))
        pairs = [(self.query[band](band_x), self.key[band](band_x)) for band, band_x in bands.items()]
        v_wide = self.value(x, shortcut=x)
        v = self.value_act(v_wide + self.offset(self.value_move))
        acc = self.diba(self.attention(pairs), v)
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


class DIDBViT(nn.Module):
    """The network: pixels (B, H, W, channels), uint8, → real logits (B, classes).

    It starts in the float phase; `deploy()` turns it to deploy mode for good. Its logits are then integers
    times `logit_scale`, and these integers equal the logits of the golden model that `freeze` makes of it.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.layers = nn.ModuleList(
            nn.Sequential(Attention(config), MLP(config)) for _ in range(config.layers)
        )
        self.head = Head(config)

    @property
    def deployed(self) -> bool:
        """Whether the model is in deploy mode."""
        return self.head.deployed

    def binary_weights(self) -> dict[str, nn.Parameter]:
        """The parameters of which only the signs count, by their names in `state_dict`."""
        names = {BinaryLinear: "linear.weight", DIBA: "local.weight"}
        found = {f"{path}.{names[type(m)]}" for path, m in self.named_modules() if type(m) in names}
        return {name: parameter for name, parameter in self.named_parameters() if name in found}

    def decayed(self) -> list[nn.Parameter]:
        """The parameters with weight decay: the multi-bit matrices. Decay would pull binary weights towards
        a change of sign, and constants towards no useful value.
        """
        return [self.embedding.linear.weight, self.head.linear.weight]

    def use_real_weights(self, real: bool) -> None:
        """Use the real values of binary weights, as in the first of two stages, or only their signs."""
        for module in self.modules():
            if isinstance(module, BinaryLinear | DIBA):
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
        for layer in self.layers:
            x = layer(x)
        return self.head(x)

    def integer_logits(self, pixels: Tensor) -> Tensor:
        """int64 logits in deploy mode."""
        if not self.deployed:
            raise ValueError("integer logits exist in deploy mode only: call deploy() first")
        return (self(pixels).double() / self.head.logit_scale).round().long()
