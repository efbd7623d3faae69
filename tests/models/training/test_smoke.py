"""From images to a compiled model, on real data: HAARLEQUIN_DATA=DIR says where CIFAR-10 is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from haarlequin.models import data
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.training import train
from tests.models.runtime import run

pytestmark = pytest.mark.slow

DATA = os.environ.get("HAARLEQUIN_DATA")
ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not DATA, reason="needs images: HAARLEQUIN_DATA=DIR, what --data takes")
def test_one_epoch_of_real_images_all_the_way_to_the_compiler(tmp_path):
    options = ["--images", "512", "--epochs", "1", "--deploy-epochs", "1", "--out", str(tmp_path)]
    train.main(["--preset", "cifar10-nano", "--data", DATA, *options])
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert card["images"]["train"] == 512
    assert card["deploy_mode"]["images_with_equal_golden_logits"] == card["images"]["test"]

    golden = freeze(checkpoint.load(tmp_path / "model.safetensors"))
    pixels = data.load("cifar10-nano", Path(DATA)).test.pixels[:32]
    save(export(golden), tmp_path / "model.onnx")
    outputs = run(onnx.load(tmp_path / "model.onnx"), {"pixels": pixels})
    assert np.array_equal(outputs["logits"], golden(pixels))

    compiler = [sys.executable, str(ROOT / "sw" / "compile.py")]
    tables = str(tmp_path / "tables")
    for arguments in ([str(tmp_path / "model.onnx"), "--output", tables], [tables, "--verify"]):
        compiled = subprocess.run(
            [*compiler, *arguments, "--config", "16x64"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert compiled.returncode == 0, compiled.stderr
