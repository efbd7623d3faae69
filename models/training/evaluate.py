"""The predictions of a model on a split, and how good they are."""

import numpy as np
import torch
from torch import Tensor, nn

from haarlequin.models.data import Split
from haarlequin.models.segmentation import Score, confusion, enlarge
from haarlequin.models.training.tensors import on_device


@torch.no_grad()
def predictions(model: nn.Module, split: Split) -> Tensor:
    """The class that ``model`` predicts for each image of ``split``, (n,), or for each token of each image,
    (n, N), on the device of the model.
    """
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(part.to(device)).argmax(-1) for part in on_device(split).pixels.split(256)])


def accuracy(model: nn.Module, split: Split) -> float:
    """Proportion of ``split`` that the model classifies correctly, or the mean IoU of its masks."""
    return quality(model, predictions(model, split).cpu(), split)


def quality(model: nn.Module, predicted: Tensor, split: Split) -> float:
    """The `accuracy` of these `predictions`."""
    if split.has_masks:
        return masks_score(model, predicted, split).mean_iou
    return right(model, predicted, split).mean().item()


def right(model: nn.Module, predicted: Tensor, split: Split) -> Tensor:
    """How much of each image is `predictions` right about, float32 (n,): all or nothing of its label, or the
    proportion of the pixels of its mask.
    """
    if not split.has_masks:
        return (predicted == on_device(split).labels).float()
    found = [masks_score(model, predicted[i : i + 1], split.take(np.array([i]))) for i in range(len(split))]
    return torch.tensor([score.accuracy for score in found])


def masks_score(model: nn.Module, predicted: Tensor, split: Split) -> Score:
    """How good the classes of tokens are as masks, enlarged to the size of the images."""
    grid, classes = model.config.grids[-1], len(model.config.classes)
    height, width = split.labels.shape[1:]
    return Score(confusion(split.labels, enlarge(predicted.numpy(), grid, (height, width)), classes))
