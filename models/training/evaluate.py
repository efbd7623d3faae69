"""How good a model is on a split."""

import torch
from torch import Tensor, nn

from haarlequin.models.data import Split


@torch.no_grad()
def predictions(model: nn.Module, split: Split) -> Tensor:
    """The class that ``model`` takes each image of ``split`` for; on the device of the model."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).argmax(1) for part in split.pixels.split(256)])


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of ``split`` that the model classifies rightly."""
    predicted = predictions(model, split)
    return (predicted == split.labels.to(predicted.device)).float().mean().item()
