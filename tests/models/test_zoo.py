"""Every model of the zoo: its card tells the truth, and it is the same function in all its forms."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import haarlequin
from haarlequin.models import data
from haarlequin.models.data import Split
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.onnx.graph import export
from haarlequin.models.segmentation import Score
from haarlequin.models.training.evaluate import masks_score, quality
from tests.models.runtime import run

pytestmark = pytest.mark.slow

ZOO = Path(__file__).parents[2] / "models" / "zoo"
NAMES = sorted(folder.name for folder in ZOO.iterdir() if folder.is_dir())
STUDENTS = [name for name in NAMES if not name.startswith("teacher-")]


def card(name: str) -> dict:
    return json.loads((ZOO / name / "card.json").read_text(encoding="utf-8"))


def test_split(name: str, model) -> Split | None:
    """The split that the card is about, None where its images are not here."""
    if name == "digits":
        return data.load(name).test
    folder = os.environ.get("HAARLEQUIN_MASKS" if model.config.segmentation else "HAARLEQUIN_DATA")
    return data.load(model.config, Path(folder)).test if folder else None


test_split.__test__ = False


@pytest.mark.parametrize("name", STUDENTS)
def test_deploy_mode_golden_model_and_onnx_agree_on_the_whole_test_set(name):
    """On random images where those of the test set are not here: HAARLEQUIN_DATA=DIR says where they are, and
    HAARLEQUIN_MASKS=DIR where images with masks are.
    """
    model = checkpoint.load(ZOO / name / "model.safetensors")
    test = test_split(name, model)
    shape = 32, *model.config.image, model.config.channels
    noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels = noise if test is None else torch.from_numpy(test.pixels)
    with torch.no_grad():
        deployed = torch.cat([model.integer_logits(part) for part in pixels.split(256)])
    golden = freeze(model)
    assert np.array_equal(golden(pixels), deployed)
    for graph in (export(golden), onnx.load(ZOO / name / "model.onnx")):
        assert np.array_equal(run(graph, {"pixels": pixels})["logits"], deployed)
    told = card(name)
    assert told["preset"] == name
    if test is not None:
        assert told["images"]["test"] == len(test)
        predicted = deployed.argmax(-1)
        assert quality(model, predicted, test) == told["accuracy"]["test_deploy"]
        if test.has_masks:
            score = masks_score(model, predicted, test)
            assert score.cells.tolist() == told["confusion"]
            assert score.accuracy == told["accuracy"]["test_pixels"]


@pytest.mark.parametrize("name", [name for name in STUDENTS if "iou" in card(name)])
def test_the_scores_of_a_card_of_masks_are_those_of_its_confusion(name):
    told = card(name)
    score = Score(np.array(told["confusion"]))
    assert told["iou"] == dict(zip(haarlequin.load(name).config.classes, score.iou.tolist(), strict=True))
    assert told["accuracy"]["test_golden"] == told["accuracy"]["test_deploy"] == score.mean_iou
    assert told["accuracy"]["test_pixels"] == score.accuracy


def test_digits_meets_its_mark():
    assert card("digits")["images"]["test"] == 360
    assert card("digits")["accuracy"]["test_deploy"] >= 0.95
