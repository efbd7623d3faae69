"""Augmentation of whole batches, on whichever device they lie: uint8 (B, H, W, channels) in, uint8 out.

Everything random comes from the generator that is passed in, so that a step of training is the same whenever
it is done again.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .recipe import Recipe


def flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Half the images mirrored, left to right."""
    mirrored = torch.rand(len(pixels), generator=generator, device=pixels.device) < 0.5
    return torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)


def shift(pixels: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``most`` pixels both ways, edges filled with zero."""
    batch, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, most, most, most, most))
    device = pixels.device
    dy, dx = torch.randint(0, 2 * most + 1, (2, batch, 1), generator=generator, device=device)
    rows = (dy + torch.arange(height, device=device))[:, :, None]
    columns = (dx + torch.arange(width, device=device))[:, None, :]
    return padded[torch.arange(batch, device=device)[:, None, None], rows, columns]


def augment(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """What ``recipe`` asks for image by image."""
    if recipe.flip:
        pixels = flip(pixels, generator)
    if recipe.shift:
        pixels = shift(pixels, recipe.shift, generator)
    return pixels
