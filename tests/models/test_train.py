import csv
import json
from dataclasses import replace

import pytest
import torch

from models import checkpoint, train
from models.config import preset
from models.data import DataSet, load

SMALL = preset("digits").with_(dim=8, layers=1, mlp_ratio=2)
RECIPE = train.Recipe(epochs=2, deploy_epochs=2, batch=32)


@pytest.fixture(scope="module")
def data() -> DataSet:
    whole = load("digits")
    few = torch.arange(72)
    return DataSet(whole.train.take(few), whole.validation.take(few), whole.test.take(few))


def trained(data, folder, recipe=RECIPE):
    run = train.Run(SMALL, recipe, data, folder)
    run.train()
    return run


@pytest.mark.parametrize("epochs_before", [1, 2, 3])
def test_an_interrupted_run_resumes_to_the_same_bits(data, tmp_path, monkeypatch, epochs_before):
    whole = trained(data, tmp_path / "whole")

    interrupted = train.Run(SMALL, RECIPE, data, tmp_path / "interrupted")
    save = train.Run.save

    def save_then_interrupt(run):
        save(run)
        if run.epoch == epochs_before:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.Run, "save", save_then_interrupt)
        with pytest.raises(KeyboardInterrupt):
            interrupted.train()
    resumed = train.Run(SMALL, train.Recipe(seed=5), data, tmp_path / "interrupted")
    resumed.resume()
    assert resumed.epoch == epochs_before
    resumed.train()

    expected = whole.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert resumed.history == whole.history
    assert resumed.figures == whole.figures


def test_another_seed_is_another_run(data, tmp_path):
    first = trained(data, tmp_path / "first", replace(RECIPE, epochs=1, deploy_epochs=1))
    other = trained(data, tmp_path / "other", replace(RECIPE, epochs=1, deploy_epochs=1, seed=1))
    assert not torch.equal(first.model.embedding.position, other.model.embedding.position)


def test_the_log_has_a_row_an_epoch(data, tmp_path):
    trained(data, tmp_path)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["float", "float", "deploy", "deploy"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]


def test_augment_moves_images_and_nothing_else():
    pixels = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 4, 4, 1).repeat(64, 1, 1, 1)
    moved = train.augment(pixels, 1, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape
    padded = torch.zeros(6, 6, dtype=torch.uint8)
    padded[1:5, 1:5] = pixels[0, ..., 0]
    windows = {tuple(padded[i : i + 4, j : j + 4].flatten().tolist()) for i in range(3) for j in range(3)}
    assert {tuple(image.flatten().tolist()) for image in moved} == windows


def test_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [train.learning_rate(step, 100, 1.0, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


def run_cli(*arguments):
    train.main([*arguments])


def test_the_command_line_trains_publishes_and_resumes(tmp_path, capsys):
    run = ["--preset", "digits", "--out", str(tmp_path / "run")]
    small = [
        "--set",
        "layers=1",
        "--set",
        "dim=8",
        "--set",
        "mlp_ratio=1",
        "--epochs",
        "1",
        "--deploy-epochs",
        "1",
    ]
    run_cli(*run, *small, "--publish", str(tmp_path / "zoo"))
    assert "test_deploy" in capsys.readouterr().out
    card = json.loads((tmp_path / "zoo" / "card.json").read_text())
    assert card["images"] == {"train": 1293, "validation": 144, "test": 360}
    assert card["recipe"]["epochs"] == 1
    assert card["command"].startswith("python -m models.train --preset digits --set=layers=1 --set=dim=8 ")
    published = checkpoint.load(tmp_path / "zoo" / "model.safetensors")
    assert train.accuracy(published, load("digits").test) == card["accuracy"]["test_deploy"]

    run_cli(*run, "--resume")  # nothing is left to do, and nothing is lost
    assert json.loads((tmp_path / "run" / "card.json").read_text())["accuracy"] == card["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "letters"], "unknown preset 'letters': the presets are digits, cifar10-nano"),
        (["--preset", "cifar10-nano"], "no data set for preset 'cifar10-nano'"),
        (["--preset", "digits", "--set", "dim=65"], "65 is no multiple of 2"),
        (["--preset", "digits", "--set", "mlp_ratio=3"], "mlp_ratio must be a power of two, not 3"),
        (["--preset", "digits", "--set", "theta=2"], "theta must be 1, 3 or 5, not 2"),
        (["--preset", "digits", "--set", "colour=red"], "unknown in ModelConfig: colour"),
        (["--preset", "digits", "--epochs", "0"], "each phase needs at least one epoch"),
        (["--preset", "digits", "--resume"], "no such checkpoint"),
        (["--preset", "digits", "--resume", "--seed", "1"], "leave out what changes them"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, message):
    folder = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        run_cli(*arguments, "--out", str(folder))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("error: ")
    assert message in error
    assert not folder.exists()


def test_a_run_is_never_overwritten(data, tmp_path, capsys):
    trained(data, tmp_path, replace(RECIPE, epochs=1, deploy_epochs=1))
    before = (tmp_path / "training.safetensors").read_bytes()
    with pytest.raises(SystemExit):
        run_cli("--preset", "digits", "--out", str(tmp_path))
    assert "holds a run: make train ARGS=--resume goes on with it" in capsys.readouterr().err
    assert (tmp_path / "training.safetensors").read_bytes() == before
