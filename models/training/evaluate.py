"""The predictions of a model on a split, and their accuracy."""

import torch
from torch import Tensor, nn

from haarlequin.models.data import Split
from haarlequin.models.training.tensors import on_device


@torch.no_grad()
def predictions(model: nn.Module, split: Split) -> Tensor:
    """The class that ``model`` predicts for each image of ``split``, on the device of the model."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).argmax(1) for part in on_device(split).pixels.split(256)])


def accuracy(model: nn.Module, split: Split) -> float:
    """Proportion of ``split`` that the model classifies correctly."""
    predicted = predictions(model, split).cpu()
    return (predicted == on_device(split).labels).float().mean().item()
