"""Learning masks: augmentation that moves them with their images, what each token is to learn, and the loss.

A network is coarser than its masks: each token answers for a cell of pixels. It learns the share of each
class in its cell, so that the loss is that of all pixels, each of which gets the answer of its token.
"""

import numpy as np
import torch
from torch import Tensor

from haarlequin.models.segmentation import Size, cell_counts
from haarlequin.models.training.augment import augment
from haarlequin.models.training.recipe import Recipe, RecipeError


def check_recipe(recipe: Recipe) -> None:
    """Raise `RecipeError` where ``recipe`` would change images without their masks."""
    for name in ("ops", "mixup", "cutmix"):
        if getattr(recipe, name):
            raise RecipeError(f"{name} would not change the masks: it must be 0 for a segmentation network")


def augment_both(
    pixels: Tensor, masks: Tensor, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """``pixels`` (B, H, W, channels) and ``masks`` (B, H, W), moved alike by `augment`.

    An edge that a shift fills has black pixels without a class. ``recipe`` is one that `check_recipe` does
    not refuse.
    """
    # As a channel of its own, one higher: `IGNORE` wraps round to 0, and 0 is what a shift fills with.
    both = augment(torch.cat([pixels, masks[..., None] + 1], 3), recipe, generator)
    return both[..., :-1], both[..., -1] - 1


def shares(masks: Tensor, grid: Size, classes: int) -> Tensor:
    """The share of each class in the cell of each token: float32 (B, N, classes). The shares of a token sum
    to one, or to less where pixels have no class.
    """
    cell = masks[0].numel() // (grid[0] * grid[1])
    return cell_counts(masks, grid, classes).float() / cell


def class_weights(masks: np.ndarray, classes: int) -> Tensor:
    """A factor (classes,) for the shares of each class: 1/√f of its frequency f in ``masks``, scaled so
    that the mean over all pixels is one. Without it, rare classes are hardly learned. A class of no pixel
    has the factor 0.
    """
    frequency = np.bincount(masks.ravel(), minlength=256)[:classes] / max(1, (masks < classes).sum())
    weights = np.where(frequency > 0, 1 / np.sqrt(np.maximum(frequency, 1e-12)), 0)
    return torch.from_numpy(weights / max(1e-12, (weights * frequency).sum())).float()


def loss(logits: Tensor, wanted: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The cross-entropy of ``logits`` (B, N, classes) against `shares`: the mean over all pixels except those
    without a class.
    """
    known = wanted.sum(-1, keepdim=True)
    smooth = (1 - label_smoothing) * wanted + label_smoothing * known / wanted.shape[-1]
    return -(smooth * logits.log_softmax(-1)).sum() / known.sum().clamp(min=1e-6)
