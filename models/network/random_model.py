"""Random models in deploy mode, their constants at the edges of their ranges, so that tests need no
training.
"""

import torch
from torch import Tensor

from haarlequin.models.config import ModelConfig
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.layers import Affine, IRPReLU, SignProjection, fitting_shift

_BEYOND = 1e4
"""A real constant that rounds to the edge of any range."""


def random_model(config: ModelConfig, seed: int) -> DIDBViT:
    """A DIDB-ViT in deploy mode with random weights and constants; the same for the same seed.

    Most constants are drawn so that signals neither die nor always saturate; about one in eight lies at an
    edge of its range (largest, smallest, zero), and the lanes' shifts are drawn from their whole windows.
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
        _fitting_affine(model.head.affine, config.tokens * 2.0**config.widths.fraction, generator)
        for name, parameter in model.named_parameters():
            _randomise(name.rpartition(".")[2], parameter, generator)
    return model


def _draw(window: tuple[int, int], generator: torch.Generator) -> int:
    return int(torch.randint(window[0], window[1] + 1, (), generator=generator))


def _any_affine(module: Affine, generator: torch.Generator) -> None:
    """Any shift of the window, with multipliers that fill their width."""
    module.shift.fill_(_draw(module.window, generator))
    module.multiplier.copy_(_edged(torch.randn(module.multiplier.shape, generator=generator) / 2, generator))


def _fitting_affine(module: Affine, accumulator: float, generator: torch.Generator) -> None:
    """Multipliers that bring accumulators of this size to about 1: where no shortcut keeps the signal
    alive.
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
            value = _edged(noise, generator, share=0.02)
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
        case _:  # moves, m1, m2, tokens, biases
            value = _edged(noise / 2, generator)
    parameter.copy_(value)


def _edged(value: Tensor, generator: torch.Generator, share: float = 0.125) -> Tensor:
    """``value`` with a share of its elements replaced by the upper edge, the lower edge or zero."""
    edge = torch.tensor([-_BEYOND, 0.0, _BEYOND])[torch.randint(3, value.shape, generator=generator)]
    return torch.where(torch.rand(value.shape, generator=generator) < share, edge, value)
