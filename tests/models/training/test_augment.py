import pytest
import torch
from torch.nn import functional as F

from haarlequin.models.training import augment
from haarlequin.models.training.recipe import Recipe


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


def some_images(count=66, size=8):
    return torch.randint(0, 256, (count, size, size, 3), generator=seeded(), dtype=torch.uint8)


def strengths(value, count=66):
    return torch.full((count, 1, 1, 1), float(value))


@pytest.mark.parametrize("op", augment.OPS, ids=lambda op: op.__name__)
def test_an_op_without_strength_changes_nothing_and_with_it_something(op):
    images = some_images().float()
    if op is not augment.autocontrast:
        torch.testing.assert_close(op(images, strengths(0)), images, rtol=0, atol=1e-3)
    changed = op(images, strengths(0.8))
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    assert op is augment.identity or (changed - images).abs().max() > 1


def test_what_single_ops_do():
    images = some_images().float()
    assert torch.equal(augment.brightness(images, strengths(-1)), torch.zeros_like(images))
    assert augment.colour(images, strengths(-1)).var(3).max() < 1e-3
    assert augment.contrast(images, strengths(-1)).flatten(1).var(1).max() < 1e-3
    stretched = augment.autocontrast(images / 2 + 30, strengths(0))
    assert stretched.amin((1, 2)).max() < 1e-3
    assert stretched.amax((1, 2)).min() > 254.9
    assert torch.equal(
        augment.autocontrast(torch.full((1, 2, 2, 3), 9.0), strengths(0, 1)).unique(), torch.tensor([9.0])
    )
    assert torch.equal(
        augment.posterise(images, strengths(1)).unique(), torch.tensor([0.0, 64.0, 128.0, 192.0])
    )
    assert augment.solarise(images, strengths(0.5)).max() <= 128
    turned = augment.rotate(images, strengths(1))
    torch.testing.assert_close(turned, images.rot90(1, (1, 2)), rtol=0, atol=1e-2)


def test_random_ops_draws_every_op_and_keeps_the_order():
    images = some_images(10 * len(augment.OPS))
    changed = augment.random_ops(images, 0.9, seeded())
    assert changed.dtype == torch.uint8
    assert (changed == images).flatten(1).all(1).sum() >= 10  # at least those that `identity` got
    assert (changed != images).flatten(1).any(1).sum() > 6 * 10
    assert torch.equal(changed, augment.random_ops(images, 0.9, seeded()))


def one_hot(count, classes=10):
    return F.one_hot(torch.arange(count) % classes, classes).float()


def test_mixup_blends_images_as_it_blends_targets():
    # Grey images of 20 × their class: the blend's grey tells its shares.
    count = 400
    pixels = (torch.arange(count) % 10 * 20).to(torch.uint8)[:, None, None, None].expand(-1, 4, 4, 3)
    mixed, targets = augment.mix(pixels, one_hot(count), Recipe(mixup=1.0), seeded())
    grey = (targets * torch.arange(10) * 20).sum(1)
    torch.testing.assert_close(mixed[:, 0, 0, 0].float(), grey, rtol=0, atol=0.51)
    assert (mixed.flatten(1) == mixed[:, 0, 0, :1]).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(count))
    share = targets.gather(1, (torch.arange(count) % 10)[:, None])
    assert 0.4 < share.mean() < 0.65  # uniform, and a tenth have a partner of their own class
    assert share.std() > 0.25


def test_cutmix_pastes_a_rectangle_of_the_share_of_the_other_image():
    count = 400
    pixels = (torch.arange(count) % 10 * 20).to(torch.uint8)[:, None, None, None].expand(-1, 8, 8, 3)
    mixed, targets = augment.mix(pixels, one_hot(count), Recipe(cutmix=1.0), seeded())
    for c in range(10):
        shares = (mixed[..., 0] == 20 * c).float().mean((1, 2))
        torch.testing.assert_close(targets[:, c], shares, rtol=0, atol=1e-5)
    pasted = mixed[..., 0] != pixels[..., 0]
    box = pasted.any(1, keepdim=True) & pasted.any(2, keepdim=True)
    assert torch.equal(pasted, box)
    assert 0.5 < (pasted.flatten(1).any(1)).float().mean() < 1


def test_both_mixes_take_turns_and_none_is_none():
    pixels = some_images(100)
    both, _ = augment.mix(pixels, one_hot(100), Recipe(mixup=1.0, cutmix=1.0), seeded())
    untouched = (both == pixels).flatten(1).any(1).float().mean()
    assert 0.3 < untouched < 0.99
    same, targets = augment.mix(pixels, one_hot(100), Recipe(), seeded())
    assert same is pixels
    assert torch.equal(targets, one_hot(100))


def test_augment_follows_the_recipe_and_the_generator():
    pixels = some_images()
    assert torch.equal(augment.augment(pixels, Recipe(shift=0), seeded()), pixels)
    recipe = Recipe(shift=2, flip=True, ops=2)
    once, twice = (augment.augment(pixels, recipe, seeded()) for _ in range(2))
    assert torch.equal(once, twice)
    assert not torch.equal(once, augment.augment(pixels, recipe, torch.Generator().manual_seed(1)))
