"""Augmentation of whole batches, on the device that they are on: uint8 (B, H, W, channels) in, uint8 out.

All random numbers come from the generator that is passed in, so that a training step can be repeated exactly.
Nothing waits for the device: tensor arithmetic makes each image different, without branches.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from haarlequin.models.training.recipe import Recipe


def augment(pixels: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """All that ``recipe`` asks for, except `mix`, each image on its own."""
    if recipe.flip:
        pixels = flip(pixels, generator)
    if recipe.shift:
        pixels = shift(pixels, recipe.shift, generator)
    for _ in range(recipe.ops):
        pixels = random_ops(pixels, recipe.magnitude, generator)
    return pixels


def _permutation(n: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """The numbers below n in a random order: a sort, which a CUDA graph can contain."""
    return torch.rand(n, generator=generator, device=device).argsort()


def flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Half the images mirrored, left to right."""
    mirrored = torch.rand(len(pixels), generator=generator, device=pixels.device) < 0.5
    return torch.where(mirrored[:, None, None, None], pixels.flip(2), pixels)


def shift(pixels: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to ``most`` pixels in both directions; the edges are filled with zero."""
    batch, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, most, most, most, most))
    device = pixels.device
    dy, dx = torch.randint(0, 2 * most + 1, (2, batch, 1), generator=generator, device=device)
    rows = (dy + torch.arange(height, device=device))[:, :, None]
    columns = (dx + torch.arange(width, device=device))[:, None, :]
    return padded[torch.arange(batch, device=device)[:, None, None], rows, columns]


def random_ops(pixels: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """One of `OPS` on each image, with a strength of up to ±``magnitude``. The images are drawn at random, an
    equal number for each operation.
    """
    device = pixels.device
    order = _permutation(len(pixels), generator, device)
    strength = (torch.rand(len(pixels), 1, 1, 1, generator=generator, device=device) * 2 - 1) * magnitude
    result = torch.empty_like(pixels)
    for op, indices in zip(OPS, order.tensor_split(len(OPS)), strict=True):
        changed = op(pixels[indices].float(), strength[indices])
        result[indices] = changed.round().clamp(0, 255).to(torch.uint8)
    return result


def identity(x: Tensor, strength: Tensor) -> Tensor:
    """The image as it is."""
    return x


def brightness(x: Tensor, strength: Tensor) -> Tensor:
    """The image darker or brighter."""
    return x * (1 + strength)


def contrast(x: Tensor, strength: Tensor) -> Tensor:
    """Every value moved towards the mean of the image, or away from it."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (1 + strength)


def colour(x: Tensor, strength: Tensor) -> Tensor:
    """Every pixel moved towards grey, or away from it."""
    grey = x.mean(3, keepdim=True)
    return grey + (x - grey) * (1 + strength)


def sharpness(x: Tensor, strength: Tensor) -> Tensor:
    """The image moved towards its 3×3 blur, or away from it."""
    planes = F.pad(x.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
    blurred = F.avg_pool2d(planes, 3, stride=1).permute(0, 2, 3, 1)
    return blurred + (x - blurred) * (1 + strength)


def autocontrast(x: Tensor, strength: Tensor) -> Tensor:
    """Each channel stretched to the whole range."""
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    return torch.where(high > low, (x - low) * (255 / (high - low).clamp(min=1)), x)


def posterise(x: Tensor, strength: Tensor) -> Tensor:
    """The image with up to 6 bits fewer per value."""
    step = torch.exp2((6 * strength.abs()).round())
    return (x / step).floor() * step


def solarise(x: Tensor, strength: Tensor) -> Tensor:
    """Values above a threshold inverted."""
    return torch.where(x > 256 * (1 - strength.abs()), 255 - x, x)


def rotate(x: Tensor, strength: Tensor) -> Tensor:
    """The image rotated by up to 90°."""
    angle = strength.flatten() * (math.pi / 2)
    return _affine(x, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def shear_x(x: Tensor, strength: Tensor) -> Tensor:
    """Rows moved against each other."""
    one = torch.ones_like(strength.flatten())
    return _affine(x, one, strength.flatten(), 0 * one, one)


def shear_y(x: Tensor, strength: Tensor) -> Tensor:
    """Columns moved against each other."""
    one = torch.ones_like(strength.flatten())
    return _affine(x, one, 0 * one, strength.flatten(), one)


def _affine(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Take the point (u, v) of each image, from −1 to 1, from (a·u + b·v, c·u + d·v); zero outside."""
    zero = torch.zeros_like(a)
    matrix = torch.stack([torch.stack([a, b, zero], -1), torch.stack([c, d, zero], -1)], 1)
    planes = x.permute(0, 3, 1, 2)
    grid = F.affine_grid(matrix, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, align_corners=False).permute(0, 2, 3, 1)


OPS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    identity,
    brightness,
    contrast,
    colour,
    sharpness,
    autocontrast,
    posterise,
    solarise,
    rotate,
    shear_x,
    shear_y,
)
"""Operations on float images (B, H, W, channels), 0 to 255, with a strength (B, 1, 1, 1) from −1 to 1."""


def mix(pixels: Tensor, targets: Tensor, recipe: Recipe, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899): (pixels, targets), each mixed with those of
    another image of the batch. Where the recipe has both, a coin decides for each image.

    ``targets`` (B, classes) are probabilities: those of an image sum to one, before and after.
    """
    if not (recipe.mixup or recipe.cutmix):
        return pixels, targets
    batch, height, width, _ = pixels.shape
    device = pixels.device
    partner = _permutation(batch, generator, device)
    blended = torch.full((batch,), bool(recipe.mixup), device=device)
    if recipe.mixup and recipe.cutmix:
        blended = torch.rand(batch, generator=generator, device=device) < 0.5
    alpha = torch.where(blended, recipe.mixup or 1.0, recipe.cutmix or 1.0)
    ours, theirs = (torch._standard_gamma(alpha, generator=generator) for _ in range(2))
    lam = ours / (ours + theirs).clamp(min=1e-12)  # λ of the papers, from a beta distribution

    side = (1 - lam).sqrt()
    centre = torch.rand(2, batch, generator=generator, device=device)
    inside = [
        ((torch.arange(size, device=device) + 0.5) / size - c[:, None]).abs() <= side[:, None] / 2
        for size, c in zip((height, width), centre, strict=True)
    ]
    box = inside[0][:, :, None] & inside[1][:, None, :]
    kept = torch.where(blended[:, None, None], lam[:, None, None], (~box).float())
    other = pixels[partner].float()
    mixed = (other + (pixels.float() - other) * kept[..., None]).round().to(torch.uint8)
    lam = kept.mean((1, 2))[:, None]
    return mixed, targets * lam + targets[partner] * (1 - lam)
