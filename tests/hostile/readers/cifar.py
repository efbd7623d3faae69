"""The files of CIFAR's archives, unpacked: pickles and the binary version, and the unpickler alone."""

import os
import pickle
from pathlib import Path
from random import Random

import numpy as np

from haarlequin.models.data import DataError, cifar
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged

_BETWEEN = b"\0cifar\0"
_PYTHON, _BINARY = b"cifar-100-python", b"cifar-100-binary"


class _Evil:
    """Its pickle asks for a function that makes a folder, or for one that takes all memory."""

    def __init__(self, function: object, *arguments: object):
        self._reduced = function, arguments

    def __reduce__(self):
        return self._reduced


_EVIL = [_Evil(os.mkdir, "evil"), _Evil(np.ndarray, (1 << 40,)), _Evil(eval, "1"), _Evil(bytearray, 1 << 40)]


def _pickled(content: object, protocol: int) -> bytes:
    return pickle.dumps(content, protocol)


def _batch(count: int, protocol: int, labels: list[int]) -> bytes:
    pixels = np.tile(np.arange(3072, dtype=np.uint8), (count, 1))
    return _pickled({b"data": pixels, b"fine_labels": labels, b"batch_label": b"one"}, protocol)


def _corpus(folder: Path) -> list[bytes]:
    """Two images of two classes, as train and as test files with the names of the classes."""
    found = []
    for protocol in (0, 2, 4):
        names = _pickled({b"fine_label_names": [b"a", b"b"]}, protocol)
        batch = _batch(2, protocol, [0, 1])
        found.append(_BETWEEN.join([_PYTHON, batch, batch, names]))
    rows = b"".join(bytes([0, label]) + bytes(range(256)) * 12 for label in range(2))
    return [*found, _BETWEEN.join([_BINARY, rows, rows, b"a\nb\n"])]


def _mutate(data: bytes, random: Random, others) -> bytes:
    """A file is damaged, or holds something that a pickle may not do."""
    parts = data.split(_BETWEEN)
    at = random.randrange(1, len(parts)) if len(parts) > 1 else 0
    if random.random() < 0.05:
        parts[at] = _pickled(
            {b"data": random.choice(_EVIL), b"fine_label_names": []}, random.choice((0, 2, 4))
        )
    else:
        # The pixels are most of a file: what is before and after them is damaged more often.
        size = random.choice((60, 300, len(parts[at])))
        front = random.random() < 0.5
        first, rest = (
            (parts[at][:size], parts[at][size:]) if front else (parts[at][:-size], parts[at][-size:])
        )
        parts[at] = damaged(first, random, others) + rest if front else first + damaged(rest, random, others)
    return _BETWEEN.join(parts)


def _read(data: bytes, folder: Path) -> None:
    """Every file is put where the archive has it; a pickle is read alone, too."""
    name, *files = data.split(_BETWEEN)
    binary = name == _BINARY
    place = folder / (_BINARY if binary else _PYTHON).decode()
    place.mkdir(exist_ok=True)
    names = ("train.bin", "test.bin", "fine_label_names.txt") if binary else ("train", "test", "meta")
    for each in names:
        (place / each).unlink(missing_ok=True)
    for each, content in zip(names, files, strict=False):
        (place / each).write_bytes(content)
    train, test, classes = cifar.read_splits(place, (32, 32), 3)
    for split in (train, test):
        if split.pixels.shape != (len(split), 32, 32, 3) or split.pixels.dtype != np.uint8:
            raise Wrong(f"{split.pixels.dtype} {split.pixels.shape}")
        if not 0 <= split.labels.min() <= split.labels.max() < len(classes):
            raise Wrong(f"{split.labels} of {classes}")


READER = Reader("cifar", (DataError,), _corpus, _read, _mutate, seconds=2, megabytes=1024)
