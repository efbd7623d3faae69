"""What a segmentation network learns: masks that move with their images, and the loss of their pixels."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from haarlequin.models.data import Split
from haarlequin.models.network.segmenter import Segmenter, SegmenterConfig
from haarlequin.models.segmentation import IGNORE, enlarge
from haarlequin.models.training.evaluate import predictions
from haarlequin.models.training.recipe import Recipe, RecipeError
from haarlequin.models.training.segmentation import (
    augment_both,
    check_recipe,
    class_weights,
    loss,
    shares,
)

GRID, CLASSES = (2, 3), 4


def random_masks(seed=0, count=5, height=8, width=12):
    values = torch.randint(
        0, CLASSES + 1, (count, height, width), generator=torch.Generator().manual_seed(seed)
    )
    return torch.where(values == CLASSES, IGNORE, values).to(torch.uint8)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_masks_move_with_their_images(flip, shift, channels):
    """Where an image shows its own mask, it still does afterwards; elsewhere it is black."""
    masks = random_masks(count=40)
    pixels = (masks // 2 + 10)[..., None].repeat(1, 1, 1, channels)
    recipe = Recipe(flip=flip, shift=shift)
    moved, same = augment_both(pixels, masks, recipe, torch.Generator().manual_seed(1))
    assert (moved.dtype, moved.shape, same.dtype, same.shape) == (
        torch.uint8,
        pixels.shape,
        torch.uint8,
        masks.shape,
    )
    inside = moved[..., 0] > 0
    assert torch.equal(moved[inside], (same[inside] // 2 + 10)[:, None].repeat(1, channels))
    assert (same[~inside] == IGNORE).all()
    assert bool((~inside).any()) == bool(shift)
    assert (same != masks).any() == bool(flip or shift)
    again, _ = augment_both(pixels, masks, recipe, torch.Generator().manual_seed(1))
    assert torch.equal(moved, again)


@pytest.mark.parametrize("wrong", ["ops", "mixup", "cutmix"])
def test_what_would_not_change_the_masks_is_refused(wrong):
    check_recipe(Recipe(flip=True, shift=4))
    with pytest.raises(RecipeError, match=f"{wrong} would not change the masks: it must be 0"):
        check_recipe(Recipe(**{wrong: 1}))


def test_the_loss_is_that_of_every_pixel():
    """Of the logits enlarged to the image, without the pixels that have no class."""
    masks = random_masks(3)
    logits = torch.randn(5, 6, CLASSES, generator=torch.Generator().manual_seed(2), requires_grad=True)
    planes = logits.reshape(5, *GRID, CLASSES).repeat_interleave(4, 1).repeat_interleave(4, 2)
    for smoothing in (0.0, 0.2):
        wanted = F.cross_entropy(
            planes.reshape(-1, CLASSES),
            masks.long().flatten(),
            ignore_index=IGNORE,
            label_smoothing=smoothing,
        )
        came = loss(logits, shares(masks, GRID, CLASSES), smoothing)
        torch.testing.assert_close(came, wanted)
        gradients = [torch.autograd.grad(each, logits, retain_graph=True)[0] for each in (came, wanted)]
        torch.testing.assert_close(*gradients)


def test_rare_classes_weigh_more():
    masks = np.full((1, 8, 8), IGNORE, np.uint8)
    masks[0, 0], masks[0, 1:5] = 2, 0  # 8 and 32 pixels
    weights = class_weights(masks, 3)
    assert weights[1] == 0
    torch.testing.assert_close(weights[2] / weights[0], torch.tensor(2.0))
    torch.testing.assert_close(weights[2] * 0.2 + weights[0] * 0.8, torch.tensor(1.0))
    logits, wanted = torch.randn(1, 4, 3), shares(torch.from_numpy(masks), (2, 2), 3) * weights
    pixels = logits.reshape(2, 2, 3).repeat_interleave(4, 0).repeat_interleave(4, 1).reshape(-1, 3)
    of_all = F.cross_entropy(pixels, torch.from_numpy(masks).long().flatten(), weights, ignore_index=IGNORE)
    torch.testing.assert_close(loss(logits, wanted), of_all)


def test_nothing_is_learned_from_masks_without_a_class():
    masks = torch.full((2, 8, 12), IGNORE, dtype=torch.uint8)
    logits = torch.zeros(2, 6, CLASSES, requires_grad=True)
    came = loss(logits, shares(masks, GRID, CLASSES))
    came.backward()
    assert (came.item(), logits.grad.abs().sum().item()) == (0, 0)


def test_the_small_network_learns_what_is_where():
    """A real-valued network, whose loss falls and whose answers become right."""
    torch.manual_seed(0)
    config = SegmenterConfig("small", (8, 12), 1, (128.0,), ("dark", "light"), blocks=1, width=1)
    assert config.grids[-1] == GRID
    model = Segmenter(config)
    truth = torch.randint(0, 2, (16, 6), generator=torch.Generator().manual_seed(4)).numpy()
    masks = enlarge(truth, GRID, (8, 12))
    split = Split(masks[..., None] * 200, masks)
    assert model(torch.from_numpy(split.pixels)).shape == (16, 6, 2)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(25):
        model.train()
        found = loss(model(torch.from_numpy(split.pixels)), shares(torch.from_numpy(masks), GRID, 2))
        optimiser.zero_grad()
        found.backward()
        optimiser.step()
    assert found.item() < 0.2
    assert np.array_equal(predictions(model, split).numpy(), truth)
