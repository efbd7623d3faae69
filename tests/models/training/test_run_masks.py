"""Whole runs: on masks, whose card has the IoU of each class, and of a network that no ONNX file holds."""

from dataclasses import replace

import numpy as np
import pytest

from haarlequin.models.common.errors import UsageError
from haarlequin.models.data import DataSet, Split
from haarlequin.models.network.segmenter import SegmenterConfig
from haarlequin.models.network.teacher import Teacher, TeacherConfig
from haarlequin.models.presets import preset
from haarlequin.models.segmentation import IGNORE, enlarge
from haarlequin.models.training.card import finish
from haarlequin.models.training.recipe import Recipe, RecipeError
from haarlequin.models.training.run import Run

pytestmark = pytest.mark.slow

CLASSES = ("dark", "light", "grey")
BINARY = preset("digits").with_(
    name="masks", image=(8, 12), stages="/2 c8x1 a16x1h1", classes=CLASSES, segmentation=True
)
REAL = SegmenterConfig("real", (8, 12), 1, (78.0,), CLASSES, blocks=1, width=1)
RECIPE = Recipe(epochs=12, deploy_epochs=2, batch=8, lr=1e-2, flip=True, balanced=True, ema=0.9, shift=0)


def split(seed, count):
    """Images whose brightness tells the class of each token of 2×3."""
    truth = np.random.default_rng(seed).integers(0, 3, (count, 6))
    masks = enlarge(truth, (2, 3), (8, 12))
    pixels = masks[..., None] * 100
    masks[:, 0, 0] = IGNORE
    return Split(pixels, masks)


DATA = DataSet(split(0, 40), split(1, 10), split(2, 12), CLASSES)


@pytest.mark.parametrize(("config", "deploy_epochs"), [(BINARY, 2), (REAL, 0)])
def test_it_learns_and_says_how_well(config, deploy_epochs, tmp_path):
    run = Run(config, replace(RECIPE, deploy_epochs=deploy_epochs), DATA, tmp_path)
    assert run.train(quiet=True)
    card = finish(run)
    assert card["iou"].keys() == set(CLASSES)
    assert card["accuracy"]["test_float"] > 0.4
    assert np.mean(list(card["iou"].values())) == pytest.approx(
        card["accuracy"]["test_golden" if deploy_epochs else "test_float"]
    )
    cells = np.array(card["confusion"])
    assert cells.sum() == 12 * (8 * 12 - 1)
    assert card["accuracy"]["test_pixels"] == pytest.approx(np.trace(cells) / cells.sum())
    assert (tmp_path / "model.onnx").exists() == bool(deploy_epochs)


def test_shifted_windows_have_a_card_and_no_onnx_file(tmp_path):
    config = BINARY.with_(name="shifted", stages="p2 t8x2s2", image=(8, 8), segmentation=False)
    labels = np.arange(8) % 3
    part = Split(np.repeat(labels * 100, 64).reshape(8, 8, 8, 1).astype(np.uint8), labels)
    run = Run(
        config, Recipe(epochs=1, deploy_epochs=1, batch=4), DataSet(part, part, part, CLASSES), tmp_path
    )
    assert run.train(quiet=True)
    assert finish(run)["deploy_mode"]["images_with_equal_golden_logits"] == 8
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "model.onnx").exists()


def test_a_run_goes_on_where_it_was(tmp_path):
    steps = iter(range(100))
    whole, parts = (Run(BINARY, RECIPE, DATA, tmp_path / name) for name in ("whole", "parts"))
    whole.train(quiet=True)
    assert not parts.train(lambda: next(steps) == 7, quiet=True)
    again = Run(BINARY, RECIPE, DATA, tmp_path / "parts")
    again.resume()
    assert again.train(quiet=True)
    assert again.history == whole.history


@pytest.mark.parametrize("change", [{"ops": 1}, {"mixup": 0.5}, {"cutmix": 1.0}])
def test_what_would_not_move_the_masks_is_refused(change, tmp_path):
    with pytest.raises(RecipeError, match="would not change the masks"):
        Run(BINARY, replace(RECIPE, **change), DATA, tmp_path)


def test_masks_have_no_teacher(tmp_path):
    teacher = Teacher(TeacherConfig("t", (8, 12), 1, (78.0,), CLASSES, blocks=1, width=1))
    with pytest.raises(UsageError, match="masks learns from masks: leave the teacher out"):
        Run(BINARY, RECIPE, DATA, tmp_path, teacher=teacher)
