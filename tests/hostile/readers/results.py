"""Results of an ablation's trials: a `result.json` that is read is the trial's own, with its accuracies."""

import json
from dataclasses import asdict
from pathlib import Path

from haarlequin.models.ablation.grid import Cell
from haarlequin.models.ablation.trial import Trial
from haarlequin.models.common.errors import UsageError
from haarlequin.models.presets import preset
from haarlequin.models.training.recipe import Recipe
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged_json

_CONFIG, _RECIPE, _INPUTS = preset("digits"), Recipe(epochs=2, deploy_epochs=1), {"data": "ab"}


def _corpus(folder: Path) -> list[bytes]:
    result = {
        "cell": "full",
        "seed": 0,
        "accuracy": {"float": 0.5, "deploy": 0.25},
        "images": {"train": 4, "validation": 2},
        "seconds": 9,
        "hardware": {},
        "inputs": _INPUTS,
        "recipe": asdict(_RECIPE),
        "config": _CONFIG.to_dict(),
    }
    return [json.dumps(result).encode()]


def _read(data: bytes, folder: Path) -> None:
    trial = Trial(Cell("full", "full", _CONFIG), _RECIPE, folder)
    trial.result_file.write_bytes(data)
    found = trial.result(_INPUTS)
    if not found or {type(found["accuracy"][phase]) for phase in trial.phases} != {float}:
        raise Wrong(f"{found}")
    if Recipe(**found["recipe"]) != _RECIPE or found["inputs"] != _INPUTS:
        raise Wrong(f"{found}")


READER = Reader("results", (UsageError,), _corpus, _read, damaged_json, seconds=1, megabytes=512)
