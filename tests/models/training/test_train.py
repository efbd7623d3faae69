import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from haarlequin.models.common.places import ROOT
from haarlequin.models.data import DataSet, load
from haarlequin.models.network import checkpoint
from haarlequin.models.network.teacher import TEACHERS, Teacher
from haarlequin.models.presets import preset
from haarlequin.models.training import run, train
from haarlequin.models.training.evaluate import accuracy
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run

pytestmark = pytest.mark.slow

ZOO = ROOT / "models" / "zoo" / "digits" / "model.safetensors"
SMALL = preset("digits").with_(dim=8, layers=1, mlp_ratio=2)
RECIPE = Recipe(epochs=2, deploy_epochs=2, batch=32)


@pytest.fixture(scope="module")
def data() -> DataSet:
    whole = load("digits")
    few = torch.arange(72)
    return DataSet(whole.train.take(few), whole.validation.take(few), whole.test.take(few))


def trained(data, folder, recipe=RECIPE):
    whole = Run(SMALL, recipe, data, folder)
    assert whole.train()
    return whole


class StopAfter:
    """Stops a run after that many steps, as Ctrl-C would."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("steps_before", [1, 3, 4, 7, 11])
def test_an_interrupted_run_resumes_to_the_same_bits(data, tmp_path, steps_before):
    recipe = replace(RECIPE, flip=True, ema=0.9)
    whole = trained(data, tmp_path / "whole", recipe)

    interrupted = Run(SMALL, recipe, data, tmp_path / "interrupted")
    assert not interrupted.train(StopAfter(steps_before))
    resumed = Run(SMALL, Recipe(seed=5), data, tmp_path / "interrupted")
    resumed.resume()
    assert resumed.epoch * 3 + resumed.step == steps_before
    assert resumed.train()
    assert_same(resumed, whole)


def test_a_killed_run_resumes_from_its_last_save(data, tmp_path, monkeypatch):
    whole = trained(data, tmp_path / "whole")
    monkeypatch.setattr(run, "SAVE_SECONDS", 0)

    stop = StopAfter(5)

    def killed():
        if stop():
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        Run(SMALL, RECIPE, data, tmp_path / "killed").train(killed)
    resumed = Run(SMALL, RECIPE, data, tmp_path / "killed")
    resumed.resume()
    assert (resumed.epoch, resumed.step) == (1, 1)
    resumed.train()
    assert_same(resumed, whole)


def assert_same(one, other):
    expected = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert one.history == other.history


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


def run_cli(*arguments):
    train.main([*arguments])


def test_the_command_line_trains_publishes_and_resumes(tmp_path, capsys):
    options = ["--preset", "digits", "--out", str(tmp_path / "run")]
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
        "--recipe",
        "shift=0",
    ]
    run_cli(*options, *small, "--publish", str(tmp_path / "zoo"))
    assert "test_deploy" in capsys.readouterr().out
    card = json.loads((tmp_path / "zoo" / "card.json").read_text())
    assert card["images"] == {"train": 1293, "validation": 144, "test": 360}
    assert (card["recipe"]["epochs"], card["recipe"]["shift"]) == (1, 0)
    assert card["command"].endswith("--deploy-epochs=1 --recipe=shift=0")
    assert card["command"].startswith("haarlequin train --preset digits --set=layers=1 --set=dim=8 ")
    assert "DIR" not in card["command"]
    assert card["images_seen"] == 2 * 1293
    assert card["hardware"]["torch"] == torch.__version__
    assert card["hardware"]["cores"] >= 1
    assert card["deploy_mode"]["images_with_equal_golden_logits"] == 360
    assert card["accuracy"]["test_golden"] == card["accuracy"]["test_deploy"]
    assert sum(map(sum, card["confusion"])) == 360
    right = sum(card["confusion"][i][i] for i in range(10))
    assert right / 360 == pytest.approx(card["accuracy"]["test_deploy"])
    assert [sum(row) for row in card["confusion"]] == np.bincount(load("digits").test.labels).tolist()
    assert [node.op_type for node in onnx.load(tmp_path / "zoo" / "model.onnx").graph.node]
    for name in ("curve.png", "confusion.png"):
        with Image.open(tmp_path / "zoo" / name) as picture:
            assert min(picture.size) > 300
    published = checkpoint.load(tmp_path / "zoo" / "model.safetensors")
    assert accuracy(published, load("digits").test) == card["accuracy"]["test_deploy"]

    run_cli(*options, "--resume")  # nothing is left to do, and nothing is lost
    assert json.loads((tmp_path / "run" / "card.json").read_text())["accuracy"] == card["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "letters"], "unknown preset 'letters': the presets are digits, cifar10-nano"),
        (
            ["--preset", "cifar10-nano"],
            "cifar10-nano is trained on images: say where they are with --data DIR",
        ),
        (["--preset", "digits", "--set", "dim=65"], "65 is no multiple of 2"),
        (["--preset", "digits", "--set", "mlp_ratio=3"], "mlp_ratio must be a power of two, not 3"),
        (["--preset", "digits", "--set", "theta=2"], "theta must be 1, 3 or 5, not 2"),
        (["--preset", "digits", "--set", "pre_norm=true"], "pre_norm is of the float phase only"),
        (["--preset", "digits", "--set", "colour=red"], "unknown in ModelConfig: colour"),
        (["--preset", "digits", "--epochs", "0"], "epochs must lie within 1 to 1e+06, not 0"),
        (["--preset", "digits", "--resume"], "no such checkpoint"),
        (["--preset", "digits", "--deploy-epochs", "0"], "deploy mode needs at least one epoch"),
        (["--preset", "digits", "--stages", "3"], "stages must lie within 1 to 2, not 3"),
        (["--preset", "digits", "--images", "0"], "--images must be at least 1, not 0"),
        (["--preset", "digits", "--device", "abacus"], "no device 'abacus' here"),
        (["--preset", "digits", "--teacher", "nowhere"], "nowhere: no such checkpoint"),
        (["--preset", "digits", "--teacher", str(ZOO)], "holds no teacher but a digits"),
        (["--preset", "digits", "--from", "nowhere"], "nowhere: no such checkpoint"),
        (["--preset", "digits", "--grow", "nowhere"], "nowhere: no such checkpoint"),
        (["--preset", "digits", "--grow", str(ZOO)], "is in deploy mode for good"),
        (["--preset", "digits", "--grow", "a", "--from", "b"], "leave one out"),
        (["--preset", "digits", "--from", str(ZOO)], "is in deploy mode for good"),
        (
            ["--preset", "digits", "--set", "layers=3", "--from", str(ZOO)],
            "holds digits, configured otherwise",
        ),
        (["--preset", "digits", "--data", "."], "leave --data out"),
        (["--preset", "teacher-cifar10", "--stages", "2"], "neither a second stage nor a deploy mode"),
        (["--preset", "digits", "--resume", "--seed", "1"], "leave out what changes them"),
        (["--preset", "digits", "--resume", "--recipe", "shift=2"], "leave out what changes them"),
        (["--preset", "digits", "--recipe", "colour=red"], "unknown in Recipe: colour"),
        (["--preset", "digits", "--recipe", "shift=red"], "shift must be of type int, not 'red'"),
        (
            ["--preset", "digits", "--recipe", "widths.wide=16"],
            "only the configuration of a DIDB-ViT has widths",
        ),
        (["--preset", "digits", "--resume", "--within", "1"], "leave out what changes them"),
        (
            ["--preset", "digits", "--within", "1", "--minutes", "1"],
            "--within is for one process, and without",
        ),
        (["--preset", "digits", "--within", "0"], "--within must be more than 0 minutes, not 0"),
        (["--preset", "digits", "--within", "1e-4"], "0 minutes are left after measuring: too few"),
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
    assert (
        f"holds a run: haarlequin train --preset digits --out {tmp_path} --resume goes on with it"
        in capsys.readouterr().err
    )
    assert (tmp_path / "training.safetensors").read_bytes() == before


TINY = ["--preset", "digits", "--set=layers=1", "--set=dim=8", "--set=mlp_ratio=1", "--epochs=200"]


def test_a_run_comes_in_pieces(tmp_path, capsys):
    run_cli(*TINY, "--out", str(tmp_path), "--minutes", "0.01")
    printed = capsys.readouterr().out
    assert "time is up in epoch" in printed
    assert not (tmp_path / "card.json").exists()
    command = shlex.split(printed.partition("go on with: ")[2])
    assert command[:2] == ["haarlequin", "train"]
    before = checkpoint.read(tmp_path / "training.safetensors")[2]
    run_cli(*command[2:])
    after = checkpoint.read(tmp_path / "training.safetensors")[2]
    assert (after["epoch"], after["step"]) > (before["epoch"], before["step"])


def test_a_run_is_planned_to_end_within_a_time(tmp_path, capsys):
    run_cli(*TINY, "--images", "512", "--out", str(tmp_path), "--within", "0.5")
    printed = capsys.readouterr().out
    card = json.loads((tmp_path / "card.json").read_text())
    recipe = card["recipe"]
    assert recipe["steps"] <= 512 // recipe["batch"]
    plan = re.search(
        r"(\d+) images/s in float, (\d+) images/s in deploy: "
        r"(\d+) \+ (\d+) epochs of (\d+) steps, to end within 0.5 minutes",
        printed,
    )
    quick, quicker, epochs, deploy_epochs, steps = map(int, plan.groups())
    assert f"--epochs={epochs} --deploy-epochs={deploy_epochs} --steps={steps}" in card["command"]
    assert (recipe["epochs"], recipe["steps"]) <= (epochs, steps)
    # By the speeds that were measured. How long the run really takes depends on who else uses this host: it
    # may become quicker, and end early, or slower in the last epochs. Without a plan there would be 240 of
    # them.
    assert steps * recipe["batch"] * (epochs / quick + deploy_epochs / quicker) <= 60 * 0.5
    assert card["seconds"] <= 60 * 0.5 * 2
    _, _, facts = checkpoint.read(tmp_path / "training.safetensors")
    assert len(facts["history"]) == recipe["epochs"] + recipe["deploy_epochs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_says_how_to_go_on(tmp_path, number):
    command = [sys.executable, "-m", "haarlequin", "train", *TINY, "--out", str(tmp_path)]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(600):
            if (tmp_path / "log.csv").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 2
    last = errors.splitlines()[-1]
    assert last.startswith("error: interrupted in epoch")
    assert f"go on with: haarlequin train --preset digits --out {tmp_path} --resume" in last
    assert checkpoint.read(tmp_path / "training.safetensors")[2]["epoch"] >= 1


def test_a_teacher_teaches_what_it_knows(tmp_path, capsys):
    teacher = Teacher(TEACHERS["teacher-cifar10-small"])
    checkpoint.save(tmp_path / "t.safetensors", teacher)
    with pytest.raises(SystemExit) as stop:
        run_cli(
            "--preset", "digits", "--teacher", str(tmp_path / "t.safetensors"), "--out", str(tmp_path / "run")
        )
    assert stop.value.code == 2
    assert "cannot teach digits: it has another image" in capsys.readouterr().err
    with pytest.raises(checkpoint.CheckpointError, match="holds a teacher, which has no integers"):
        checkpoint.load(tmp_path / "t.safetensors")
