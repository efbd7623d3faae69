"""Checkpoints: safetensors with JSON in its header, and JSON within the texts of that."""

import json
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from random import Random
from unittest.mock import patch

import torch
from safetensors.torch import load

from haarlequin.models.config import ModelConfig
from haarlequin.models.network import checkpoint
from haarlequin.models.network.checkpoint import CheckpointError
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.random_model import random_model
from haarlequin.models.network.teacher import Teacher, TeacherConfig
from haarlequin.models.presets import preset
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import altered, damaged, damaged_json

_SMALL = preset("digits").with_(
    name="small", image=(4, 4), dim=4, heads=2, layers=1, mlp_ratio=2, classes=("a", "b")
)
_TYPES = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I32",
    "U8",
    "BOOL",
    "F8_E4M3",
    "F8_E5M2",
    "U16",
    "U64",
    "C64",
    "F4",
]
_TEACHER = TeacherConfig("small", (4, 4), 1, (9.0,), ("a", "b"), blocks=1, width=1)
_SIZE = struct.Struct("<Q")


def _corpus(folder: Path) -> list[bytes]:
    """Finished, a network of stages with masks, one in training, and a teacher."""
    stages = _SMALL.with_(image=(8, 8), stages="/2 c4x1 a8x1", segmentation=True)
    found = []
    for model in (
        random_model(_SMALL, seed=0),
        random_model(stages, seed=0),
        DIDBViT(_SMALL),
        Teacher(_TEACHER),
    ):
        pack = model.deployed
        checkpoint.save(folder / "model", model, pack, {"moment": torch.arange(3)}, epoch=7)
        found.append((folder / "model").read_bytes())
    return found


def parted(data: bytes) -> tuple[dict, bytes] | None:
    """The header and the tensors, where there is a header."""
    if len(data) < _SIZE.size:
        return None
    (size,) = _SIZE.unpack_from(data)
    try:
        header = json.loads(data[_SIZE.size : _SIZE.size + size])
    except (ValueError, RecursionError):
        return None
    return (header, data[_SIZE.size + size :]) if isinstance(header, dict) else None


def joined(header: object, tensors: bytes) -> bytes:
    """A file of these two."""
    text = json.dumps(header).encode()
    return _SIZE.pack(len(text)) + text + tensors


def mutate(data: bytes, random: Random, others) -> bytes:
    """The header, a text in it, the type of a tensor, or any bytes."""
    found = parted(data)
    kind = random.random()
    if found is None or kind < 0.2:
        return damaged(data, random, others)
    header, tensors = found
    facts = header.get("__metadata__")
    if kind < 0.35:
        return joined(altered(header, random), tensors)
    if kind < 0.5:
        name = random.choice(list(header))
        if isinstance(header[name], dict):
            header[name]["dtype"] = random.choice(_TYPES)
        return joined(header, tensors)
    if kind < 0.6 or not isinstance(facts, dict) or not facts:
        return joined(header, damaged(tensors, random, others)[: len(tensors)].ljust(len(tensors), b"\0"))
    key = random.choice(list(facts))
    text = facts.get(key)
    if not isinstance(text, str):
        return damaged(data, random, others)
    if key == "config":
        try:
            facts[key] = json.dumps(damaged_json(json.loads(text).encode(), random).decode(errors="replace"))
        except (ValueError, AttributeError):
            facts[key] = damaged(text.encode(errors="replace"), random).decode(errors="replace")
    else:
        facts[key] = damaged_json(text.encode(errors="replace"), random).decode(errors="replace")
    return joined(header, tensors)


class _Ready:
    """A network that was built before, in the phase that is asked for: to build one takes long, and all that
    is in it is about to be replaced.
    """

    def __init__(self, config: ModelConfig):
        self._model = _built(config, False)

    def deploy(self) -> None:
        """From now on it is the network in deploy mode."""
        self._model = _built(self._model.config, True)

    def __getattr__(self, name: str):
        return getattr(self._model, name)


@lru_cache(32)
def _built(config: ModelConfig, deployed: bool) -> DIDBViT:
    model = DIDBViT(config)
    if deployed:
        model.deploy()
    return model


def _read(data: bytes, folder: Path) -> None:
    """A model that is read has the tensors of the file, and some of those that are read compute."""
    path = folder / "model.safetensors"
    path.write_bytes(data)
    kinds = checkpoint._KINDS
    with patch.dict(kinds, {"didb-vit": (_Ready, ModelConfig)}):
        model, extra, _ = checkpoint.read(path)
    stored = load(data)
    binary = model.binary_weights()
    for name, value in model.state_dict().items():
        packed = name in binary and stored[name].shape != value.shape
        if not packed and not torch.equal(value, stored[name].to(value.dtype)):
            raise Wrong(f"another {name}")
        if packed and not {*value.unique().tolist()} <= {-1.0, 1.0}:
            raise Wrong(f"{name} is no bits")
    if {*model.state_dict(), *extra} != {*stored}:
        raise Wrong("other tensors")
    config = model.config
    if zlib.crc32(data) % 16 == 0:
        pixels = torch.full((1, *config.image, config.channels), 77, dtype=torch.uint8)
        with torch.no_grad():
            logits = model.integer_logits(pixels) if model.deployed else model(pixels)
        if logits.shape[-1] != len(config.classes):
            raise Wrong(f"logits {logits.shape} of {len(config.classes)} classes")


READER = Reader("checkpoints", (CheckpointError,), _corpus, _read, mutate, seconds=5, megabytes=2048)
