"""The card of a finished run: what it is, how it was made, how good it is.

Nothing else in training reads the test split.
"""

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from haarlequin.models.common import figures
from haarlequin.models.common.files import replacing
from haarlequin.models.data import Split
from haarlequin.models.network import checkpoint
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.teacher import Teacher
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.training.evaluate import masks_score, predictions, quality, right
from haarlequin.models.training.run import Run
from haarlequin.models.training.tensors import on_device

FILES = ("model.safetensors", "model.onnx", "card.json", "curve.png", "confusion.png")
"""The files of a run that are published."""

_LARGEST_MATRIX = 100
"""Largest number of classes for which the card holds the confusion matrix."""


class NotExact(Exception):
    """Deploy mode and the frozen model differ: a defect of this program, not of its input."""


def finish(run: Run) -> dict:
    """Write the finished model, its card and its confusion matrix, and return the card. Raises `NotExact`."""
    path, test = run.folder / "model.safetensors", run.data.test
    checkpoint.save(path, run.model, pack=run.model.deployed)
    card = {
        "preset": run.model.config.name,
        "command": run.command,
        "recipe": asdict(run.recipe),
        "inputs": run.inputs,
        "hardware": hardware(run),
        "images": {name: len(getattr(run.data, name)) for name in ("train", "validation", "test")},
        "images_seen": run.epoch * len(run.data.train),
        "seconds": round(sum(run.seconds)),
        "accuracy": {f"validation_{phase}": score for phase, score in validation(run.history).items()},
    }
    if isinstance(run.model, Teacher):
        predicted = predictions(checkpoint.load_teacher(path), test).cpu()
        card["accuracy"]["test_float"] = quality(run.model, predicted, test)
    else:
        predicted, of_test, card["deploy_mode"] = _deployed(run.folder, test)
        card["accuracy"] |= of_test
        if not run.model.config.golden_only:
            save(export(freeze(run.model)), run.folder / "model.onnx")
    figures.curve(run.history, run.folder / "curve.png")
    classes = run.model.config.classes
    if test.has_masks:
        score = masks_score(run.model, predicted, test)
        card["accuracy"]["test_pixels"] = score.accuracy
        ious = zip(classes, score.iou.tolist(), score.occurs, strict=True)
        card["iou"] = {name: iou for name, iou, occurs in ious if occurs}
        card["confusion"] = score.cells.tolist()
    elif len(classes) <= _LARGEST_MATRIX:
        card["confusion"] = confusion(on_device(test).labels, predicted, len(classes))
    if "confusion" in card:
        figures.confusion(card["confusion"], classes, run.folder / "confusion.png")
    with replacing(run.folder / "card.json") as draft:
        draft.write_text(_json(card) + "\n", encoding="utf-8")
    return card


def validation(history: Sequence[dict]) -> dict[str, float]:
    """Validation accuracy of the weights that each phase ends with: the averaged ones if they are better."""
    return {row["phase"]: max(row["validation"], row.get("validation_average", 0)) for row in history}


def _json(card: dict) -> str:
    """The card as JSON, with one row of the confusion matrix per line."""
    text = json.dumps({key: value for key, value in card.items() if key != "confusion"}, indent=2)
    if "confusion" not in card:
        return text
    rows = ",\n".join(f"    {json.dumps(row)}" for row in card["confusion"])
    return f'{text[:-2]},\n  "confusion": [\n{rows}\n  ]\n}}'


def _deployed(folder: Path, test: Split) -> tuple[Tensor, dict, dict]:
    """(predictions in deploy mode, accuracies on the test images, the difference that deploy mode made)."""
    before = checkpoint.load(folder / "float.safetensors")
    of_float = predictions(before, test)
    before.deploy()
    folded = predictions(before, test)
    predicted = exact_logits(checkpoint.load(folder / "model.safetensors"), test).argmax(-1)
    change = right(before, predicted, test) - right(before, of_float, test)
    accuracies = {
        "test_float": quality(before, of_float, test),
        "test_folded": quality(before, folded, test),
        "test_deploy": quality(before, predicted, test),
        "test_golden": quality(before, predicted, test),  # the logits are equal
    }
    return (
        predicted,
        accuracies,
        {
            "change": change.mean().item(),
            "paired_standard_error": change.std().item() / math.sqrt(len(change)),
            "images_with_equal_golden_logits": len(test),
        },
    )


@torch.no_grad()
def exact_logits(model: DIDBViT, split: Split) -> Tensor:
    """Integer logits of every image in deploy mode. Raises `NotExact` where the golden model has others."""
    golden, ours, theirs = freeze(model), [], []
    batches = on_device(split).pixels.split(256)
    for pixels in tqdm(batches, desc="deploy mode against the frozen model", leave=False, disable=None):
        ours.append(model.integer_logits(pixels))
        theirs.append(torch.from_numpy(golden(pixels.numpy())))
    logits = torch.cat(ours)
    if different := int((logits != torch.cat(theirs)).flatten(1).any(1).sum()):
        raise NotExact(f"the frozen model has other logits on {different} of {len(split)} images")
    return logits


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> list[list[int]]:
    """Images by true class (rows) and predicted class (columns)."""
    cells = torch.bincount(labels * classes + predicted.cpu(), minlength=classes**2)
    return cells.reshape(classes, classes).tolist()


def hardware(run: Run) -> dict:
    """The hardware and the precision that the run was computed with."""
    device, computer = run.device, run.computer
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    precision = "bfloat16" if computer.bfloat16 else "float32"
    return {
        "device": name,
        "processes": computer.world.size,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "float_phase": precision + (", compiled" if computer.compile else ""),
    }


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
