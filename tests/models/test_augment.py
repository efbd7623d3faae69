import torch

from models import augment


def seeded():
    return torch.Generator().manual_seed(0)


def test_shift_moves_images_and_nothing_else():
    pixels = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 4, 4, 1).repeat(64, 1, 1, 1)
    moved = augment.shift(pixels, 1, seeded())
    assert moved.shape == pixels.shape
    padded = torch.zeros(6, 6, dtype=torch.uint8)
    padded[1:5, 1:5] = pixels[0, ..., 0]
    windows = {tuple(padded[i : i + 4, j : j + 4].flatten().tolist()) for i in range(3) for j in range(3)}
    assert {tuple(image.flatten().tolist()) for image in moved} == windows


def test_flip_mirrors_half_of_them():
    pixels = torch.arange(12, dtype=torch.uint8).reshape(1, 2, 2, 3).repeat(1000, 1, 1, 1)
    flipped = augment.flip(pixels, seeded())
    mirrored = (flipped == pixels.flip(2)).flatten(1).all(1)
    assert ((flipped == pixels).flatten(1).all(1) ^ mirrored).all()
    assert 400 < int(mirrored.sum()) < 600
