"""How good a model is on a split."""

import torch
from torch import Tensor, nn

from haarlequin.models.data import Split
from haarlequin.models.training.tensors import on_device


@torch.no_grad()
def predictions(model: nn.Module, split: Split) -> Tensor:
    """The class that ``model`` takes each image of ``split`` for; on the device of the model."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).argmax(1) for part in on_device(split).pixels.split(256)])


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of ``split`` that the model classifies rightly."""
    predicted = predictions(model, split).cpu()
    return (predicted == on_device(split).labels).float().mean().item()
