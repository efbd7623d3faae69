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
from torch import Tensor

from . import checkpoint, figures
from .data import Split
from .evaluate import accuracy, hits, predictions
from .files import replacing
from .freeze import freeze
from .network import DIDBViT
from .run import Run
from .teacher import Teacher

FILES = ("model.safetensors", "card.json", "curve.png", "confusion.png")
"""What is published of a run."""

_LARGEST_MATRIX = 100
"""Classes up to which the card holds the confusion matrix."""


class NotExact(Exception):
    """Deploy mode and the frozen model differ: a defect of this program, not of its input."""


def finish(run: Run) -> dict:
    """Write the finished model, its card and its confusion matrix; the card. Raises `NotExact`."""
    path = run.folder / "model.safetensors"
    checkpoint.save(path, run.model, pack=run.model.deployed)
    model, test = checkpoint.load(path), run.data.test
    card = {
        "preset": model.config.name,
        "command": run.command,
        "recipe": asdict(run.recipe),
        "inputs": run.inputs,
        "hardware": hardware(run),
        "images": {name: len(getattr(run.data, name)) for name in ("train", "validation", "test")},
        "images_seen": run.epoch * len(run.data.train),
        "seconds": round(sum(run.seconds)),
        "accuracy": {f"validation_{row['phase']}": _best(row) for row in run.history},
    }
    if isinstance(model, DIDBViT):
        figures_of_test, card["deploy_mode"] = _deployed(run.folder / "float.safetensors", model, test)
        card["accuracy"] |= figures_of_test
    else:
        card["accuracy"]["test_float"] = accuracy(model, test)
    if len(model.config.classes) <= _LARGEST_MATRIX:
        card["confusion"] = confusion(model, test)
        figures.confusion(card["confusion"], model.config.classes, run.folder / "confusion.png")
    with replacing(run.folder / "card.json") as draft:
        draft.write_text(_json(card) + "\n", encoding="utf-8")
    return card


def _best(row: dict) -> float:
    """Of the weights that an epoch would hand on: the average's where it is better."""
    return max(row["validation"], row.get("validation_average", 0))


def _json(card: dict) -> str:
    """JSON with a row of the matrix a line."""
    text = json.dumps({key: value for key, value in card.items() if key != "confusion"}, indent=2)
    if "confusion" not in card:
        return text
    rows = ",\n".join(f"    {json.dumps(row)}" for row in card["confusion"])
    return f'{text[:-2]},\n  "confusion": [\n{rows}\n  ]\n}}'


def _deployed(float_file: Path, model: DIDBViT, test: Split) -> tuple[dict, dict]:
    """(accuracies on the test images, what deploy mode did)."""
    before = checkpoint.load(float_file)
    float_hits = hits(before, test)
    before.deploy()
    deploy_hits, golden_hits = exact_hits(model, test)
    change = deploy_hits - float_hits
    accuracies = {
        "test_float": float_hits.mean().item(),
        "test_folded": accuracy(before, test),
        "test_deploy": deploy_hits.mean().item(),
        "test_golden": golden_hits.mean().item(),
    }
    return accuracies, {
        "change": change.mean().item(),
        "paired_standard_error": change.std().item() / math.sqrt(len(change)),
        "images_with_equal_golden_logits": len(test),
    }


@torch.no_grad()
def exact_hits(model: DIDBViT, split: Split) -> tuple[Tensor, Tensor]:
    """1 for each image that (``model`` in deploy mode, its frozen twin) classifies rightly, else 0.

    Raises `NotExact` unless both have the same logits on every image.
    """
    golden, twin, found = freeze(model), [], []
    model.eval()
    for pixels in split.pixels.split(256):
        found.append(model.integer_logits(pixels))
        twin.append(golden(pixels))
    ours, theirs = torch.cat(found), torch.cat(twin)
    if different := int((ours != theirs).any(1).sum()):
        raise NotExact(f"the frozen model has other logits on {different} of {len(split)} images")
    return tuple((logits.argmax(1) == split.labels).float() for logits in (ours, theirs))


def confusion(model: DIDBViT | Teacher, split: Split) -> list[list[int]]:
    """Images by true class (rows) and predicted class (columns)."""
    classes = len(model.config.classes)
    cells = split.labels * classes + predictions(model, split).cpu()
    return torch.bincount(cells, minlength=classes**2).reshape(classes, classes).tolist()


def hardware(run: Run) -> dict:
    """What it ran on."""
    device, machine = run.device, run.machine
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    precision = "bfloat16" if machine.bfloat16 else "float32"
    return {
        "device": name,
        "processes": machine.world.size,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "float_phase": precision + (", compiled" if machine.compile else ""),
    }


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
