import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from models import checkpoint
from models.checkpoint import CheckpointError
from models.config import preset
from models.network import DIDBViT
from models.random import random_model

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
