"""The card of a finished run: what it is, how it was made, how good it is.

Nothing else reads the test split.
"""

import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from . import checkpoint
from .data import DataSet
from .evaluate import accuracy, hits, predictions
from .freeze import freeze
from .run import Run


class NotExact(Exception):
    """Deploy mode and the frozen model differ: a defect of this program, not of its input."""


def finish(run: Run) -> dict:
    """Write the finished model and its card; the card. Raises `NotExact`."""
    model, data = run.model.cpu(), run.data
    checkpoint.save(run.folder / "model.safetensors", model, pack=True)
    model = checkpoint.load(run.folder / "model.safetensors")
    last = {f"validation_{row['phase']}": row["validation"] for row in run.history}
    card = {
        "preset": model.config.name,
        "command": run.command,
        "recipe": asdict(run.recipe),
        "hardware": hardware(run.device),
        "images": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "images_seen": run.epoch * len(data.train),
        "seconds": round(sum(run.seconds)),
    }
    card |= _deployed_figures(run.folder / "float.safetensors", model, data, last)
    (run.folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def _deployed_figures(float_file: Path, model: torch.nn.Module, data: DataSet, last: dict) -> dict:
    before = checkpoint.load(float_file)
    float_hits = hits(before, data.test)
    before.deploy()
    deploy_hits = hits(model, data.test)
    exact = golden_agrees(model, data)
    if exact < len(data.test):
        raise NotExact(
            f"the frozen model differs on {len(data.test) - exact} of {len(data.test)} test images"
        )
    change = deploy_hits - float_hits
    figures = {
        "test_float": float_hits.mean().item(),
        "test_folded": accuracy(before, data.test),
        "test_deploy": deploy_hits.mean().item(),
        # Equal logits, so the same figure.
        "test_golden": deploy_hits.mean().item(),
    }
    return {
        "accuracy": last | figures,
        "deploy_mode": {
            "change": change.mean().item(),
            "paired_standard_error": change.std().item() / math.sqrt(len(change)),
            "images_with_equal_golden_logits": exact,
        },
        "confusion": confusion(model, data),
    }


@torch.no_grad()
def golden_agrees(model: torch.nn.Module, data: DataSet) -> int:
    """On how many test images the frozen model has the very logits of ``model`` in deploy mode."""
    golden, exact = freeze(model), 0
    for pixels in data.test.pixels.split(256):
        exact += int((golden(pixels) == model.integer_logits(pixels)).all(1).sum())
    return exact


def confusion(model: torch.nn.Module, data: DataSet) -> list[list[int]]:
    """Test images by true class (rows) and predicted class (columns)."""
    classes = len(model.config.classes)
    cells = data.test.labels * classes + predictions(model, data.test).cpu()
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes).tolist()


def hardware(device: torch.device) -> dict:
    """What it ran on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {"device": name, "cores": os.cpu_count(), "torch": torch.__version__}


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
