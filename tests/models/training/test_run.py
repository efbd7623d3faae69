"""What a run does with a teacher, in two stages, and with what it must not go on with."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

from haarlequin.models.data import DataSet, load
from haarlequin.models.network import checkpoint
from haarlequin.models.network.attention import DIBA
from haarlequin.models.network.checkpoint import CheckpointError
from haarlequin.models.network.layers import BinaryLinear
from haarlequin.models.network.teacher import Teacher, TeacherConfig
from haarlequin.models.presets import preset
from haarlequin.models.training.computer import Computer
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run
from haarlequin.models.training.tensors import on_device

pytestmark = pytest.mark.slow

SMALL = preset("digits").with_(dim=8, layers=1, mlp_ratio=2)
RECIPE = Recipe(epochs=2, deploy_epochs=1, batch=32)
TEACHER = TeacherConfig("tiny", (8, 8), 1, (78.0,), tuple("0123456789"), blocks=1, width=1)


@pytest.fixture(scope="module")
def data() -> DataSet:
    whole = load("digits")
    few = torch.arange(72)
    splits = (split.take(few) for split in (whole.train, whole.validation, whole.test))
    return DataSet(*splits, whole.classes)


def teacher(seed=0):
    torch.manual_seed(seed)
    return Teacher(TEACHER)


def loss_of(run, data):
    run.model.eval()
    targets = F.one_hot(on_device(data.validation).labels, 10).float()
    return run._loss(on_device(data.validation).pixels, targets).item(), targets


def test_the_loss_is_the_labels_and_the_teachers_answers(data, tmp_path):
    recipe = replace(RECIPE, label_smoothing=0, distillation=0.9, temperature=2.0)
    run = Run(SMALL, recipe, data, tmp_path, teacher=teacher())
    loss, targets = loss_of(run, data)
    logits, answers = (network(on_device(data.validation).pixels) for network in (run.model, run.teacher))
    labels = -(targets * logits.log_softmax(1)).sum(1).mean()
    soft = -((answers / 2).softmax(1) * (logits / 2).log_softmax(1)).sum(1).mean()
    assert loss == pytest.approx((0.1 * labels + 0.9 * 4 * soft).item(), rel=1e-5)
    alone, _ = loss_of(Run(SMALL, recipe, data, tmp_path), data)
    assert alone == pytest.approx(labels.item(), rel=1e-5)


def test_the_teacher_does_not_learn(data, tmp_path):
    run = Run(SMALL, RECIPE, data, tmp_path, teacher=teacher())
    assert run.train()
    before = teacher().state_dict()
    for name, value in run.teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_teacher_is_trained_and_resumed_by_the_same_loop(data, tmp_path):
    recipe = replace(RECIPE, deploy_epochs=0, epochs=3, cutmix=1.0, ema=0.9)
    whole = Run(TEACHER, recipe, data, tmp_path / "whole")
    assert whole.train()
    steps = iter(range(100))
    first = Run(TEACHER, recipe, data, tmp_path / "parts")
    assert not first.train(lambda: next(steps) == 4)
    second = Run(TEACHER, recipe, data, tmp_path / "parts")
    second.resume()
    assert second.train()
    expected = whole.model.state_dict()
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert second.history == whole.history
    assert [row["phase"] for row in whole.history] == ["float"] * 3


def test_two_stages_begin_with_real_weights(data, tmp_path):
    recipe = replace(RECIPE, epochs=4, stages=2)
    run = Run(SMALL, recipe, data, tmp_path)
    layer = run.model.layers[0][0].value.linear
    x = torch.randn(3, 16, 8)
    assert torch.equal(layer(x), F.linear(torch.where(x >= 0, 1.0, -1.0), layer.linear.weight))

    steps = iter(range(100))
    assert not run.train(lambda: next(steps) == 5)  # the last of the first stage's two epochs
    signs = {name: w >= 0 for name, w in run.model.binary_weights().items()}
    resumed = Run(SMALL, recipe, data, tmp_path)
    resumed.resume()
    assert {m.real_weights for m in resumed.model.modules() if isinstance(m, BinaryLinear | DIBA)} == {True}
    steps = iter(range(100))
    assert not resumed.train(lambda: next(steps) == 0)
    assert [row["phase"] for row in resumed.history] == ["real", "real"]
    assert {m.real_weights for m in resumed.model.modules() if isinstance(m, BinaryLinear | DIBA)} == {False}
    for name, weight in resumed.model.binary_weights().items():
        assert weight.abs().max() <= 1.01, name
        assert ((weight >= 0) == signs[name]).float().mean() > 0.9, name
    assert resumed.train()
    assert [row["phase"] for row in resumed.history] == ["real", "real", "float", "float", "deploy"]


def test_rescaling_keeps_signs_and_brings_every_row_into_range(data, tmp_path):
    model = Run(SMALL, RECIPE, data, tmp_path).model
    with torch.no_grad():
        for weight in model.binary_weights().values():
            weight.normal_(0, 7)
    before = {name: w.clone() for name, w in model.binary_weights().items()}
    model.rescale_weights()
    for name, weight in model.binary_weights().items():
        assert torch.equal(weight >= 0, before[name] >= 0)
        assert weight.abs().max() <= 1
        assert 0.1 < weight.flatten(1).abs().mean(1).min() <= 0.2501


def test_a_phase_ends_with_the_average_where_it_is_better(data, tmp_path):
    run = Run(SMALL, replace(RECIPE, ema=0.9), data, tmp_path)
    scores = iter([(0.5, 0.4), (0.5, 0.6), (0.7, 0.6)])
    run.validate = lambda: dict(zip(("validation", "validation_average"), next(scores), strict=True))
    ends = []
    close = run._close_epoch

    def close_epoch(last):
        average = {k: v.clone() for k, v in run.average.model.state_dict().items()}
        close(last)
        ends.append(all(torch.equal(v, average[k]) for k, v in run.model.state_dict().items()))

    run._close_epoch = close_epoch
    assert run.train()
    assert ends == [False, True, False]


def test_bfloat16_and_deploy_mode_are_kept_apart(data, tmp_path):
    run = Run(SMALL, RECIPE, data, tmp_path, computer=Computer(bfloat16=True))
    assert run.train()
    model = checkpoint.load(run.state_file)
    with torch.no_grad():
        assert model.integer_logits(on_device(data.test).pixels).dtype == torch.int64


def test_a_run_goes_on_with_its_own_data_and_teacher_only(data, tmp_path):
    steps = iter(range(100))
    Run(SMALL, RECIPE, data, tmp_path, teacher=teacher()).train(lambda: next(steps) == 1)
    Run(SMALL, RECIPE, data, tmp_path, teacher=teacher()).resume()
    for other in (None, teacher(seed=1)):
        with pytest.raises(CheckpointError, match="a run that began with another teacher, or none"):
            Run(SMALL, RECIPE, data, tmp_path, teacher=other).resume()
    fewer = replace(data, train=data.train.take(torch.arange(70)))
    with pytest.raises(CheckpointError, match="a run that began with other training images"):
        Run(SMALL, RECIPE, fewer, tmp_path, teacher=teacher()).resume()


def test_a_state_that_no_run_has_is_refused_in_one_line(data, tmp_path):
    steps = iter(range(100))
    run = Run(SMALL, RECIPE, data, tmp_path)
    run.train(lambda: next(steps) == 3)  # in the second epoch
    with safe_open(run.state_file, "pt") as opened:
        header, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    recipe = json.loads(header["recipe"])
    huge = 10**400
    changes = [(name, value) for name in ("epoch", "step") for value in (-1, huge, 0.5, math.nan, None, True)]
    changes += [("phase", "x"), ("phase", []), ("inputs", []), ("history", [1]), ("history", [{}, {}])]
    changes += [("seconds", [huge]), ("seconds", ["1"]), ("spent", huge), ("spent", math.nan), ("recipe", 5)]
    for name, value in (("seed", "x"), ("steps", 1.5), ("epochs", huge), ("batch", math.inf), ("flip", 1)):
        changes.append(("recipe", recipe | {name: value}))
    for name, value in changes:
        save_file(tensors, run.state_file, header | {name: json.dumps(value)})
        with pytest.raises(CheckpointError, match=r"training\.safetensors: of another version \(") as error:
            Run(SMALL, RECIPE, data, tmp_path).resume()
        assert "\n" not in str(error.value)
    save_file(tensors | {"optimiser.x.step": torch.zeros(())}, run.state_file, header)
    with pytest.raises(CheckpointError, match="of another version"):
        Run(SMALL, RECIPE, data, tmp_path).resume()
    save_file(tensors, run.state_file, header)
    Run(SMALL, RECIPE, data, tmp_path).resume()


def test_a_run_can_begin_with_what_another_has_learnt(data, tmp_path):
    first = Run(SMALL, RECIPE, data, tmp_path / "first")
    assert first.train()
    start = checkpoint.load(tmp_path / "first" / "float.safetensors")
    learnt = {name: value.clone() for name, value in start.state_dict().items()}
    second = Run(SMALL, RECIPE, data, tmp_path / "second", start=start)
    assert all(torch.equal(value, learnt[name]) for name, value in second.model.state_dict().items())
    assert second.inputs.keys() == {"data", "start"}
    steps = iter(range(100))
    assert not second.train(lambda: next(steps) == 1)
    resumed = Run(SMALL, RECIPE, data, tmp_path / "second")
    resumed.resume()
    assert resumed.inputs == second.inputs
