import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from haarlequin.models.ablation.grid import grid
from haarlequin.models.ablation.trial import Trial
from haarlequin.models.ablation.workers import at_once, one_by_one
from haarlequin.models.presets import preset
from haarlequin.models.training.computer import Computer
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import inputs, never
from haarlequin.models.training.train import open_data

pytestmark = pytest.mark.slow

CELL = grid(preset("digits").with_(dim=8, layers=1, mlp_ratio=1))[0]
READ = partial(open_data, CELL.config, None, 64)


def trials(folder, *epochs):
    return [
        Trial(CELL, Recipe(epochs=count, deploy_epochs=1, batch=32, seed=seed), folder / str(seed))
        for seed, count in enumerate(epochs)
    ]


def nothing(_):
    pass


def accuracy(trial, data):
    return trial.result(inputs(data))["accuracy"]


def test_trials_one_by_one_until_told_to_stop(tmp_path):
    data, finished, steps = READ(), [], []
    endless = trials(tmp_path, 1, 100_000, 1)
    for trial in one_by_one(endless, data, Computer(), lambda: len(steps) == 4 + 7, steps.append):
        finished.append(trial)
    assert finished == endless[:1]
    assert [trial.result_file.exists() for trial in endless] == [True, False, False]
    assert (endless[1].folder / "training.safetensors").exists()
    assert not endless[2].folder.exists()


def test_processes_share_the_work_stop_when_told_and_get_the_same_results(tmp_path):
    """The first trial would take for ever: the other process does the rest."""
    data, finished, steps = READ(), [], []
    here = trials(tmp_path / "here", 100_000, 1, 2)
    list(one_by_one(here[1:], data, Computer(), never, nothing))
    there = trials(tmp_path / "there", 100_000, 1, 2)
    for trial in at_once(there, READ, Computer(), 2, lambda: len(finished) == 2, steps.append):
        finished.append(trial)
    assert finished == there[1:]
    assert sum(steps) >= 2 * 2 + 2 * 3
    assert not there[0].result_file.exists()
    for one, other in zip(here[1:], there[1:], strict=True):
        assert accuracy(one, data) == accuracy(other, data)


def test_processes_end_with_the_one_that_began_them(tmp_path):
    """It is killed; they hold the end of its pipe for as long as they live."""
    root = Path(__file__).parents[3]
    small = ["--preset=digits", "--set=layers=1", "--set=dim=8", "--images=64", "--only", "full", "none"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "haarlequin",
            "ablate",
            *small,
            "--epochs=100000",
            "--jobs=2",
            f"--out={tmp_path}",
        ],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )
    for _ in range(6000):
        if len(logs := list(tmp_path.glob("*/log.csv"))) == 2 or process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    process.communicate(timeout=60)
    assert len(logs) == 2
