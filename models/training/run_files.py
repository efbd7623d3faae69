"""The files of a run beside its model: the state that it resumes from, its log, hashes of its inputs."""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from haarlequin.models.common.files import replacing
from haarlequin.models.network.checkpoint import CheckpointError
from haarlequin.models.stages import is_integer, is_real
from haarlequin.models.training.moving_average import Average


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A hash of the names and values of ``tensors``."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def state(optimiser: torch.optim.Optimizer, average: Average | None, loss_sum: Tensor) -> dict[str, Tensor]:
    """The tensors of a run that its steps change, apart from its model, by name."""
    tensors = {
        f"optimiser.{i}.{key}": value
        for i, moments in optimiser.state_dict()["state"].items()
        for key, value in moments.items()
    }
    if average:
        tensors |= {f"average.{name}": value for name, value in average.model.state_dict().items()}
    return tensors | {"loss_sum": loss_sum}


def pack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of ``tensors`` for a checkpoint: of each one, even where two of them use the same memory."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def unpack(
    tensors: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    average: Average | None,
    loss_sum: Tensor,
) -> None:
    """Restore what `state` returned; raises KeyError or RuntimeError where the tensors do not match."""
    moments: dict[int, dict[str, Tensor]] = {}
    averages = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "average":
            averages[rest] = value
        elif kind == "optimiser":
            index, _, key = rest.partition(".")
            moments.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": moments})
    if average:
        average.model.load_state_dict(averages)
    loss_sum.copy_(tensors["loss_sum"])


def check_progress(path: Path, facts: Mapping[str, Any], epochs: int, steps: int) -> None:
    """Raise `CheckpointError` unless these facts, of the state in ``path``, say how far a run has come that
    has at most so many epochs, and so many steps in each.
    """
    epoch, step, rows, seconds = (facts.get(name) for name in ("epoch", "step", "history", "seconds"))
    if not (
        is_integer(epoch, 0, epochs)
        and is_integer(step, 0, steps)
        and facts.get("phase") in ("real", "float", "deploy")
        and isinstance(facts.get("inputs"), dict)
        and isinstance(rows, list)
        and isinstance(seconds, list)
        and len(rows) == len(seconds) == epoch
        and all(isinstance(row, dict) for row in rows)
        and all(is_real(value, 0, 1e12) for value in (facts.get("spent"), *seconds))
    ):
        raise CheckpointError(f"{path}: of another version (no run of {epochs} epochs has such a state)")


def write_log(path: Path, history: Sequence[dict], seconds: Sequence[float], images: int) -> None:
    """Write a CSV file with one row per epoch."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*history[0], "seconds", "images_per_second"])
        writer.writeheader()
        for row, time in zip(history, seconds, strict=True):
            writer.writerow(row | {"seconds": time, "images_per_second": round(images / max(time, 0.1), 1)})
