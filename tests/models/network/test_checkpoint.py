import json
import math
import os
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.network import checkpoint
from haarlequin.models.network.checkpoint import CheckpointError
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.random_model import random_model
from haarlequin.models.network.teacher import Teacher, TeacherConfig
from haarlequin.models.onnx import export
from haarlequin.models.presets import preset
from haarlequin.models.training import train
from haarlequin.sw import compile as compile_command
from haarlequin.sw.resolve import ModelSource, trained

pytestmark = pytest.mark.slow

SMALL = preset("digits").with_(dim=6, heads=3, layers=1, mlp_ratio=2)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, random_model(SMALL, seed=0), pack=True)
    return path


def pixels(count=3):
    return torch.randint(
        0, 256, (count, 8, 8, 1), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )


def test_a_packed_model_computes_the_same(file):
    model, loaded = random_model(SMALL, seed=0), checkpoint.load(file)
    assert torch.equal(model.integer_logits(pixels()), loaded.integer_logits(pixels()))


def test_binary_weights_take_one_bit_each(file):
    stored, model = load_file(file), random_model(SMALL, seed=0)
    assert len(model.binary_weights()) == 4 + 1 + 1 + 1 + 2  # Q and K of two bands, V, local, O, W1, W2
    for name, weight in model.binary_weights().items():
        assert stored[name].dtype == torch.uint8
        assert stored[name].numel() == -(-weight.numel() // 8)


def test_a_model_in_its_float_phase_comes_back_with_its_extras(tmp_path):
    model = DIDBViT(SMALL)
    checkpoint.save(tmp_path / "m.safetensors", model, extra={"moment": torch.arange(3)}, epoch=7)
    loaded, extra, facts = checkpoint.read(tmp_path / "m.safetensors")
    assert not loaded.deployed
    assert facts == {"epoch": 7}
    assert torch.equal(extra["moment"], torch.arange(3))
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_a_failed_write_leaves_the_old_file(file, monkeypatch):
    before = file.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        checkpoint.save(file, random_model(SMALL, seed=1))
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors: no such checkpoint"):
        checkpoint.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_truncated_file(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="truncated or no safetensors file"):
        checkpoint.load(file)


def test_a_foreign_file(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match="a safetensors file, but no haarlequin-checkpoint"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    (tmp_path / "text").write_text("not a checkpoint at all, but long enough to have a header")
    with pytest.raises(CheckpointError, match="truncated or no safetensors file"):
        checkpoint.load(tmp_path / "text")


def rewritten(file, tensors=None, **header):
    """The file with other tensors or another header."""
    tensors = load_file(file) if tensors is None else tensors
    facts = {
        "format": checkpoint.FORMAT,
        "config": SMALL.to_json(),
        "deployed": True,
        "packed": True,
    } | header
    save_file(tensors, file, {key: json.dumps(value) for key, value in facts.items() if value is not None})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "haarlequin-checkpoint-0"}, "no haarlequin-checkpoint-1"),
        ({"config": None}, "not a checkpoint of this version"),
        ({"config": "{}"}, "not a checkpoint of this version"),
        ({"config": SMALL.to_json().replace('"dim": 6', '"dim": 7')}, "7 is no multiple of 3"),
        ({"config": SMALL.with_(dim=12).to_json()}, "cannot be"),
    ],
)
def test_a_header_that_does_not_fit(file, header, message):
    rewritten(file, **header)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(file)


def test_a_tensor_that_is_missing(file):
    tensors = load_file(file)
    del tensors["embedding.position"]
    rewritten(file, tensors)
    with pytest.raises(CheckpointError, match=r"tensor embedding\.position is missing"):
        checkpoint.load(file)


def bad(file, name, value, to):
    """The file with ``value`` in the first place of a tensor."""
    tensors = load_file(file)
    tensors[name].view(-1)[0] = value
    with safe_open(file, "pt") as opened:
        save_file(tensors, to, opened.metadata())
    return to


DIGITS = trained("digits").with_name("model.safetensors")
FLOATS = [name for name, value in load_file(DIGITS).items() if value.is_floating_point()]


def test_no_reader_takes_a_value_that_is_not_finite(tmp_path):
    """In turns: they have the check in common."""
    readers = (
        checkpoint.read,
        checkpoint.load,
        checkpoint.load_teacher,
        lambda path: ModelSource(str(path)),
    )
    values = math.inf, -math.inf, math.nan
    assert len(FLOATS) > 200
    for name, (value, read) in zip(FLOATS, cycle(product(values, readers)), strict=False):
        path = bad(DIGITS, name, value, tmp_path / "bad.safetensors")
        with pytest.raises(CheckpointError, match=rf"tensor {name} holds a value that is not finite"):
            read(path)


def test_a_shift_outside_its_window_is_refused(file, tmp_path):
    """It would be a shift by a negative number of bits, or by more bits than memory has."""
    shifts = [name for name in load_file(file) if name.endswith(".shift")]
    assert len(shifts) == 6 + 2 * 5  # of Q and K, embedding and head; affine and slopes of five IRPReLUs
    for name, value in zip(shifts, cycle((-1, 25, 1 << 40, -(1 << 63), (1 << 63) - 1)), strict=False):
        path = bad(file, name, value, tmp_path / "bad.safetensors")
        with pytest.raises(CheckpointError, match=rf"{name} must lie within \d+ to \d+, not {value}: take"):
            checkpoint.load(path)


def test_a_shift_at_an_end_of_its_window_is_taken(file):
    for value in SMALL.widths.slope_shift:
        bad(file, "layers.0.0.value.irprelu.shift", value, file)
        checkpoint.load(file).integer_logits(pixels())


def test_neither_does_a_type_that_hides_it(file):
    tensors = load_file(file)
    for changed in (
        torch.full((1, 8, 8, 6), 1e300, dtype=torch.float64),  # finite until it is a float32
        torch.full((1, 8, 8, 6), math.nan).to(torch.float8_e4m3fn),
        torch.full((1, 8, 8, 6), math.inf, dtype=torch.bfloat16),
        torch.zeros(1, 8, 8, 6, dtype=torch.complex64),
    ):
        rewritten(file, tensors | {"embedding.position": changed})
        with pytest.raises(CheckpointError, match=r"embedding\.position holds a value that is not finite"):
            checkpoint.load(file)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_training_that_ran_away_keeps_its_last_good_state(tmp_path, value):
    model, path = DIDBViT(SMALL), tmp_path / "training.safetensors"
    checkpoint.save(path, model)
    before = path.read_bytes()
    for extra in ({}, {"average.x": torch.tensor([1, value])}):
        if not extra:
            model.embedding.position.data[0] = value
        with pytest.raises(CheckpointError, match=r"not written: tensor .* begin again with a lower --lr"):
            checkpoint.save(path, model if not extra else DIDBViT(SMALL), extra=extra)
    assert path.read_bytes() == before


COMMANDS = {
    "export": (export.main, ["{}", "-o", "out"]),
    "plan": (compile_command.main, ["{}", "--plan", "--config", "16x64"]),
    "from": (train.main, ["--preset", "digits", "--from", "{}", "--out", "out"]),
    "grow": (train.main, ["--preset", "digits", "--grow", "{}", "--out", "out"]),
    "teacher": (train.main, ["--preset", "digits", "--teacher", "{}", "--out", "out"]),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_every_command_refuses_in_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, command, value):
    monkeypatch.chdir(tmp_path)
    main, words = COMMANDS[command]
    name = FLOATS[(17 * len(command) + 5 * len(str(value))) % len(FLOATS)]  # another one each time
    path = bad(DIGITS, name, value, tmp_path / "bad.safetensors")
    with pytest.raises(SystemExit) as ended:
        main([word.format(path) for word in words])
    assert ended.value.code == 2
    errors = capsys.readouterr().err.splitlines()
    assert [f"tensor {name} holds" in line for line in errors if line.startswith("error")] == [True]
    assert list(tmp_path.iterdir()) == [path]


def test_resuming_refuses_likewise(tmp_path, capsys):
    arguments = ["--preset", "digits", "--images", "40", "--out", str(tmp_path)]
    train.main([*arguments, "--epochs", "1", "--deploy-epochs", "1", "--batch", "10", "--minutes", "0"])
    state = tmp_path / "training.safetensors"
    moment = next(name for name in load_file(state) if name.startswith("optimiser"))
    bad(state, moment, math.nan, state)
    with pytest.raises(SystemExit):
        train.main([*arguments, "--resume"])
    assert f"tensor {moment} holds a value that is not finite" in capsys.readouterr().err


def test_a_teachers_mean_is_finite():
    with pytest.raises(ConfigError, match="mean must be 1 values of 0 to 255, not"):
        TeacherConfig("t", (8, 8), 1, (math.nan,), ("a", "b"), blocks=1, width=1)


def test_everyone_may_read_a_checkpoint_whom_the_umask_lets(tmp_path):
    path = tmp_path / "model.safetensors"
    for umask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(umask)
        try:
            checkpoint.save(path, DIDBViT(SMALL))
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == mode


def test_a_file_that_must_not_be_read_says_so(file, monkeypatch):
    def denied(*_):  # by hand: root may read everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: Permission denied; give the path"):
        checkpoint.load(file)
    with pytest.raises(CheckpointError, match=r"Is a directory; give the path|Permission denied"):
        checkpoint.load(file.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 65536},
        {"layers": 10},  # each has tensors of its own
        {"dim": 60_000, "mlp_ratio": 1},
        {"mlp_ratio": 8192},
        {"image": [512, 512]},
        {"classes": ["a"] * 100_000},
    ],
    ids=["layers", "few layers", "dim", "mlp_ratio", "image", "classes"],
)
def test_a_configuration_that_is_larger_than_the_file_is_not_built(file, changes):
    """It would take hours, or all memory."""
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
    config = json.loads(json.loads(header["config"])) | changes
    save_file(load_file(file), file, header | {"config": json.dumps(json.dumps(config))})
    with pytest.raises(CheckpointError, match="not a whole checkpoint, it has too few tensors for digits"):
        checkpoint.load(file)


def test_a_teacher_that_is_larger_than_its_file_is_not_built(tmp_path):
    model = Teacher(TeacherConfig("tiny", (8, 8), 1, (78.0,), ("a", "b"), blocks=1, width=1))
    checkpoint.save(tmp_path / "teacher.safetensors", model)
    checkpoint.load_teacher(tmp_path / "teacher.safetensors")
    small = model.config
    for changes in ({"blocks": 64, "width": 64}, {"blocks": 8}, {"classes": ("a",) * 100_000}):
        model.config = replace(small, **changes)
        checkpoint.save(tmp_path / "huge.safetensors", model)
        with pytest.raises(CheckpointError, match="it has too few tensors for tiny"):
            checkpoint.load_teacher(tmp_path / "huge.safetensors")
