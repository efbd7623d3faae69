"""Every model of the zoo: its card tells the truth, and it is the same function in all its forms."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from haarlequin.models import data
from haarlequin.models.data import Split
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.onnx.graph import export
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
    folder = os.environ.get("HAARLEQUIN_DATA")
    return data.load(model.config, Path(folder)).test if folder else None


test_split.__test__ = False


@pytest.mark.parametrize("name", STUDENTS)
def test_deploy_mode_golden_model_and_onnx_agree_on_the_whole_test_set(name):
    """On random images where those of the test set are not here: HAARLEQUIN_DATA=DIR says where they are."""
    model = checkpoint.load(ZOO / name / "model.safetensors")
    test = test_split(name, model)
    shape = 32, *model.config.image, model.config.channels
    noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels = noise if test is None else torch.from_numpy(test.pixels)
    with torch.no_grad():
        deployed = torch.cat([model.integer_logits(part) for part in pixels.split(256)])
    golden = freeze(model)
    assert np.array_equal(golden(pixels), deployed)
    for model in (export(golden), onnx.load(ZOO / name / "model.onnx")):
        assert np.array_equal(run(model, {"pixels": pixels})["logits"], deployed)
    assert card(name)["preset"] == name
    if test is not None:
        assert card(name)["images"]["test"] == len(test)
        right = (deployed.argmax(1) == torch.from_numpy(test.labels)).float().mean().item()
        assert right == card(name)["accuracy"]["test_deploy"]


def test_digits_meets_its_mark():
    assert card("digits")["images"]["test"] == 360
    assert card("digits")["accuracy"]["test_deploy"] >= 0.95
