"""Random models in deploy mode, with constants at the edges of their ranges, for tests without training."""

import torch
from torch import Tensor

from haarlequin.models.config import ModelConfig
from haarlequin.models.network.attention import BinaryAttention
from haarlequin.models.network.didb_vit import Attention, DIDBViT
from haarlequin.models.network.layers import (
    Affine,
    BinaryConvolution,
    IRPReLU,
    SignProjection,
    fitting_shift,
)
from haarlequin.models.network.patch_embed import Embedding

_BEYOND = 1e4
"""A real constant that rounds to the edge of any range."""


def random_model(config: ModelConfig, seed: int) -> DIDBViT:
    """A DIDB-ViT in deploy mode with random weights and constants; the same for the same seed.

    Most constants are drawn so that signals neither vanish nor always saturate. About one in eight is the
    largest or the smallest of its range, or zero; the shifts of the lanes are drawn from their whole windows.
    In some layers constants agree with each other, for sums and scores that independent ones never come to.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DIDBViT(config)
    model.eval()
    model.deploy()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, IRPReLU):
                _any_affine(module.affine, generator)
                module.shift.fill_(_draw(module.widths.slope_shift, generator))
            elif isinstance(module, SignProjection):
                _any_affine(module.affine, generator)
        _fitting_affine(model.embedding.affine, 2.0 ** (config.widths.embedding_acc - 3), generator)
        rows, columns = config.grids[-1]
        pooled = rows * columns * 2.0**config.widths.fraction
        signs = config.stages[-1].dim ** 0.5
        _fitting_affine(model.head.affine, signs if config.segmentation else pooled, generator)
        for name, parameter in model.named_parameters():
            _randomise(name.rpartition(".")[2], parameter, generator)
        _take_to_corners(model, torch.Generator().manual_seed(seed + 1))
    return model


def _take_to_corners(model: DIDBViT, generator: torch.Generator) -> None:
    """Let constants agree with each other in one layer in four: for the largest sums of a convolution, heads
    in which all scores are the largest or the smallest, shares of a softmax that are exactly the threshold,
    and neighbours that are so far apart that their high band saturates.
    """

    def chosen() -> bool:
        return _draw((0, 3), generator) == 0

    for layer in model.modules():
        if isinstance(layer, BinaryConvolution) and chosen():
            layer.move.fill_(_BEYOND)
            weight = layer.convolution.weight
            weight.copy_(weight[:, :1, :1, :1].clone().expand_as(weight))
        elif isinstance(layer, Attention) and chosen():
            projections = [*layer.query.values(), *layer.key.values()]
            for projection in projections:
                projection.linear.linear.weight.fill_(1)
                projection.affine.multiplier.fill_(_BEYOND)
                projection.affine.bias.zero_()
                projection.output_move.zero_()
                projection.affine.shift.fill_(projection.affine.window[0])
            layer.attention.alpha.fill_(1)
        elif isinstance(layer, BinaryAttention) and chosen():
            layer.beta.fill_(2.0 ** -_draw((0, 4), generator))
        elif isinstance(layer, Embedding) and layer.position is not None and chosen():
            ends = torch.randint(2, (len(layer.position), 1), generator=generator) * 2 - 1
            layer.position.copy_((ends * _BEYOND).expand_as(layer.position))


def _draw(window: tuple[int, int], generator: torch.Generator) -> int:
    return int(torch.randint(window[0], window[1] + 1, (), generator=generator))


def _any_affine(module: Affine, generator: torch.Generator) -> None:
    """Draw any shift of the window, and multipliers that use their whole width."""
    module.shift.fill_(_draw(module.window, generator))
    module.multiplier.copy_(_edged(torch.randn(module.multiplier.shape, generator=generator) / 2, generator))


def _fitting_affine(module: Affine, accumulator: float, generator: torch.Generator) -> None:
    """Draw multipliers that bring accumulators of that size to about 1. It is for affines without a shortcut
    after them, where nothing else keeps the signal from vanishing.
    """
    gain = torch.randn(module.multiplier.shape, generator=generator) / accumulator
    module.shift.fill_(fitting_shift(gain * 2.0**module.fraction, module.widths.multiplier, module.window))
    module.multiplier.copy_(_edged(gain / module.gain_unit, generator))


def _randomise(name: str, parameter: Tensor, generator: torch.Generator) -> None:
    noise = torch.randn(parameter.shape, generator=generator)
    match name:
        case "multiplier":
            return
        case "weight":
            value = noise / 2
        case "position":
            value = _edged(noise, generator, probability=0.02)
        case "slope":
            value = _edged(noise, generator)
        case "scale":
            value = _edged(noise * 0.3, generator)
        case "alpha":
            value = torch.rand((), generator=generator)
        case "beta":
            value = parameter * (2 * noise).exp2()
        case "local_shift":
            value = 4 * torch.rand(parameter.shape, generator=generator)
        case "own_shift":
            value = 8 * torch.rand(parameter.shape, generator=generator)
        case _:  # moves, m1, m2, tokens, biases
            value = _edged(noise / 2, generator)
    parameter.copy_(value)


def _edged(value: Tensor, generator: torch.Generator, probability: float = 0.125) -> Tensor:
    """``value`` in which each element is, with that probability, replaced by an edge of its range or zero."""
    edge = torch.tensor([-_BEYOND, 0.0, _BEYOND])[torch.randint(3, value.shape, generator=generator)]
    return torch.where(torch.rand(value.shape, generator=generator) < probability, edge, value)
