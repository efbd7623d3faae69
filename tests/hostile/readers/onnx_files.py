"""ONNX files: what the compiler accepts, onnxruntime computes alike."""

from pathlib import Path
from random import Random

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto

from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import CHECKSUM, checksum, export, serialised
from haarlequin.models.onnx.runtime import session
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import read as compiler
from haarlequin.sw.compiler.read import ReadError
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged, damaged_json

_SMALL = preset("digits").with_(
    name="small", image=(4, 4), dim=4, heads=2, layers=1, mlp_ratio=2, classes=("a", "b")
)


def _corpus(folder: Path) -> list[bytes]:
    configs = [_SMALL, _SMALL.with_(image=(8, 8), stages="/2 c4x1 a8x1", channels=3, mean=(1, 2, 3))]
    return [serialised(export(freeze(random_model(config, 0)))) for config in configs]


def _fields(message) -> list[tuple]:
    """Every scalar and every message within a message: (message, field, place in a list or None)."""
    found, waiting = [], [message]
    while waiting:
        holder = waiting.pop()
        for field, value in holder.ListFields():
            several = not isinstance(value, str | bytes | int | float) and hasattr(value, "append")
            several = several or hasattr(value, "add")
            for at, each in enumerate(value) if several else [(None, value)]:
                found.append((holder, field.name, at, each))
                if hasattr(each, "ListFields"):
                    waiting.append(each)
    return found


def _mutate(data: bytes, random: Random, others) -> bytes:
    """A field of any message in the file is altered, left out or there twice; or any bytes are damaged."""
    if random.random() < 0.2:
        return damaged(data, random, others)
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        return damaged(data, random, others)
    if random.random() < 0.15:
        for entry in model.metadata_props:
            if entry.key == "haarlequin.config":
                entry.value = damaged_json(entry.value.encode(), random).decode(errors="replace")
        return model.SerializeToString()
    if random.random() < 0.3:
        tensor = random.choice(model.graph.initializer or [model])
        if getattr(tensor, "raw_data", b""):
            raw = bytearray(tensor.raw_data)
            raw[random.randrange(len(raw))] ^= random.choice((1, 0xFE, 0xFF))
            tensor.raw_data = bytes(raw)
        return model.SerializeToString()
    for _ in range(random.choice((1, 1, 2))):
        fields = _fields(model)
        if fields:
            _alter(*random.choice(fields), random)
    return model.SerializeToString()


def _alter(holder, name: str, at: int | None, value, random: Random) -> None:
    repeated = getattr(holder, name)
    if at is not None and random.random() < 0.5:
        if random.random() < 0.5:
            del repeated[at]
        elif hasattr(repeated, "add"):
            repeated.add().CopyFrom(value)
        else:
            repeated.append(value)
    elif hasattr(value, "ListFields"):
        holder.ClearField(name)
    else:
        if isinstance(value, str | bytes):
            raw = damaged(value.encode() if isinstance(value, str) else value, random)[:100_000]
            new = raw.decode(errors="replace") if isinstance(value, str) else raw
        else:
            new = random.choice((0, 1, 2, 3, 7, 100, value + 1, value - 1, -value))
        try:
            if at is None:
                setattr(holder, name, new)
            else:
                repeated[at] = new
        except (ValueError, TypeError):  # no value of this field
            holder.ClearField(name)


def mend(data: bytes) -> bytes:
    """With the checksum of its constants, where they are those of a model."""
    try:
        model = compiler.parse(data)
        config = compiler._config({entry.key: entry.value for entry in model.metadata_props})
        compiler._check_operations(model.graph)
        right = checksum(compiler._golden(config, model.graph))
    except Exception:  # noqa: BLE001 (the hunt reads the file and tells of it)
        return data
    for entry in model.metadata_props:
        if entry.key == CHECKSUM:
            entry.value = right
    return model.SerializeToString()


def _read(data: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(data)
    golden = compiler.read(path, rerun=False)
    try:
        runner = session(data, threads=1)
    except Exception as error:  # its exceptions have no class in common
        try:
            compiler.read(path)
        except ReadError as refusal:
            raise refusal from error
        raise Wrong("the compiler takes what onnxruntime does not load") from error
    shape = (3, *golden.config.image, golden.config.channels)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    (logits,) = runner.run(["logits"], {"pixels": pixels})
    if not np.array_equal(golden(pixels), logits):
        raise Wrong("onnxruntime gives other logits")


READER = Reader("onnx", (ReadError,), _corpus, _read, _mutate, mend, seconds=10, megabytes=2048)
