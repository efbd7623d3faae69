"""Every model of the zoo: its card tells the truth, and it is the same function in all its forms."""

import json
from pathlib import Path

import pytest
import torch

from models import checkpoint, data
from models.export import export
from models.freeze import freeze

from .runtime import run

ZOO = Path(__file__).parents[2] / "models" / "zoo"
NAMES = sorted(folder.name for folder in ZOO.iterdir() if folder.is_dir())


@pytest.mark.parametrize("name", NAMES)
def test_deploy_mode_golden_model_and_onnx_agree_on_the_whole_test_set(name):
    model = checkpoint.load(ZOO / name / "model.safetensors")
    test = data.load(name).test
    with torch.no_grad():
        deployed = model.integer_logits(test.pixels)
    golden = freeze(model)
    assert torch.equal(golden(test.pixels), deployed)
    assert torch.equal(run(export(golden), {"pixels": test.pixels})["logits"], deployed)
    card = json.loads((ZOO / name / "card.json").read_text(encoding="utf-8"))
    assert card["preset"] == name
    assert card["images"]["test"] == len(test)
    assert (deployed.argmax(1) == test.labels).float().mean().item() == card["accuracy"]["test_deploy"]


def test_digits_meets_its_mark():
    card = json.loads((ZOO / "digits" / "card.json").read_text(encoding="utf-8"))
    assert card["images"]["test"] == 360
    assert card["accuracy"]["test_deploy"] >= 0.95
