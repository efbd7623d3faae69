import json
from dataclasses import replace

import pytest
import torch

from haarlequin.models.ablation.grid import grid
from haarlequin.models.ablation.trial import Trial
from haarlequin.models.common.errors import UsageError
from haarlequin.models.data import DataSet, load
from haarlequin.models.network import checkpoint
from haarlequin.models.network.checkpoint import CheckpointError
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.presets import preset
from haarlequin.models.training.card import exact_logits
from haarlequin.models.training.computer import Computer
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run, inputs, never

pytestmark = pytest.mark.slow

CELLS = {cell.name: cell for cell in grid(preset("digits").with_(dim=8, layers=1, mlp_ratio=2))}
RECIPE = Recipe(epochs=1, deploy_epochs=1, batch=32, seed=4)


@pytest.fixture(scope="module")
def data() -> DataSet:
    whole = load("digits")
    few = torch.arange(72)
    return DataSet(*(split.take(few) for split in (whole.train, whole.validation, whole.test)))


def trial(folder, cell="full", **changes):
    return Trial(CELLS[cell], replace(RECIPE, **changes), folder)


def train(subject, data, stop=never, advance=lambda _: None):
    return subject.train(data, Computer(), stop, advance)


DEPLOYED = {name: cell for name, cell in CELLS.items() if "deploy" in cell.phases}


@pytest.mark.parametrize("cell", DEPLOYED.values(), ids=DEPLOYED)
def test_every_cell_that_enters_deploy_mode_equals_its_golden_model(cell, data, tmp_path):
    run = Run(cell.config, RECIPE, data, tmp_path)
    assert run.train(quiet=True)
    assert exact_logits(run.model, data.test).shape == (72, 10)


def test_a_finished_trial_keeps_its_result_and_no_state(data, tmp_path):
    subject, steps = trial(tmp_path), []
    assert subject.result(inputs(data)) is None
    assert subject.progress() == (0, 0)
    assert train(subject, data, advance=steps.append)
    assert sum(steps) == 2 * 3
    result = subject.result(inputs(data))
    assert (result["cell"], result["seed"], result["images"]) == ("full", 4, {"train": 72, "validation": 72})
    run = Run(subject.cell.config, subject.recipe, data, tmp_path / "again")
    run.train(quiet=True)
    assert result["accuracy"] == {row["phase"]: row["validation"] for row in run.history}
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "log.csv", "curve.png", "again"}


def test_pre_norms_end_with_the_float_phase(data, tmp_path):
    subject = trial(tmp_path, "pre-norm", deploy_epochs=0)
    assert train(subject, data)
    assert subject.result(inputs(data))["accuracy"].keys() == {"float"}


def test_an_interrupted_trial_goes_on_to_the_same_result(data, tmp_path):
    assert train(trial(tmp_path / "whole"), data)
    subject, steps, asked = trial(tmp_path / "parts"), [], iter(range(10))
    assert not train(subject, data, stop=lambda: next(asked) == 3)
    assert subject.result(inputs(data)) is None
    assert subject.progress() == (1, 1)
    assert train(subject, data, advance=steps.append)
    assert steps == [1, 1]
    whole = trial(tmp_path / "whole").result(inputs(data))
    assert subject.result(inputs(data))["accuracy"] == whole["accuracy"]


@pytest.mark.parametrize(
    "facts", [{}, {"epoch": 10**400, "step": 0}, {"epoch": 0, "step": -1}], ids=["none", "huge", "negative"]
)
def test_a_state_that_says_no_progress_is_named(tmp_path, facts):
    subject = trial(tmp_path)
    checkpoint.save(tmp_path / "training.safetensors", DIDBViT(subject.cell.config), **facts)
    with pytest.raises(
        CheckpointError, match=r"training\.safetensors: of another version \(no run of 2 epochs"
    ):
        subject.progress()


@pytest.mark.parametrize("finished", [True, False])
def test_what_was_trained_otherwise_is_refused(data, tmp_path, finished):
    asked = iter(range(10))
    assert train(trial(tmp_path), data, stop=lambda: not finished and next(asked) == 1) is finished
    for other in (trial(tmp_path, epochs=2), trial(tmp_path, "no-diba"), trial(tmp_path, seed=5)):
        with pytest.raises(UsageError, match="was trained with other settings or images"):
            other.result(inputs(data)) if finished else train(other, data)


def test_a_result_of_other_images_is_refused(data, tmp_path):
    assert train(trial(tmp_path), data)
    with pytest.raises(UsageError, match="was trained with other settings or images"):
        trial(tmp_path).result({"data": "other"})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: json.dumps({**json.loads(text), "accuracy": {"float": 0.5}}),
        lambda text: json.dumps({**json.loads(text), "config": {}}),
        lambda text: "[" * 100_000,
        lambda text: json.dumps({**json.loads(text), "accuracy": {"float": 10**400, "deploy": 1}}),
    ],
    ids=["cut off", "a list", "no deploy mode", "no configuration", "nested too deep", "no float"],
)
def test_a_damaged_result_is_named(data, tmp_path, damage):
    assert train(trial(tmp_path), data)
    file = trial(tmp_path).result_file
    file.write_text(damage(file.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UsageError, match=r"result\.json is damaged: delete it"):
        trial(tmp_path).result(inputs(data))
