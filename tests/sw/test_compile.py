import pytest

from models import checkpoint
from models.config import preset
from models.random import random_model
from sw import compile as command


def test_a_plan_is_printed(capsys):
    command.main(["--plan", "cifar10-tiny", "--config", "64x128"])
    out = capsys.readouterr().out
    assert out.startswith("cifar10-tiny on 64x128 (64 lanes × 128 bits)")
    assert "binary weights" in out
    assert "ideal 13888" in out


def test_a_checkpoint_is_planned_like_its_preset(tmp_path, capsys):
    model = preset("digits").with_(name="mine", layers=1)
    checkpoint.save(tmp_path / "model.safetensors", random_model(model, 0), pack=True)
    command.main(["--plan", str(tmp_path / "model.safetensors"), "--config", "2x64"])
    assert capsys.readouterr().out.startswith("mine on 2x64")


@pytest.mark.parametrize(
    ("model", "machine", "message"),
    [
        ("letters", "16x64", "unknown preset 'letters'"),
        ("digits", "3x3", "unknown accelerator '3x3': there are 2x64, 16x64"),
        ("nothing.safetensors", "16x64", "no such checkpoint"),
        ("deit-tiny-224", "16x64", "deit-tiny-224 is too large for 16x64: weights by "),
    ],
)
def test_bad_input_is_one_line(capsys, model, machine, message):
    with pytest.raises(SystemExit) as stop:
        command.main(["--plan", model, "--config", machine])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
