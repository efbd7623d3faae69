"""The official archives of CIFAR-10 and CIFAR-100, python and binary versions, packed or unpacked.

https://www.cs.toronto.edu/~kriz/cifar.html describes them. The python version consists of pickles, which can
run any code; the reader here lets them make arrays and nothing else.
"""

import hashlib
import io
import pickle
import pickletools
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from haarlequin.models.data.split import DataError, Split

MD5 = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
}
"""The published checksums, by the published names of the archives."""

_SIDE, _BYTES = 32, 3 * 32 * 32


@dataclass(frozen=True)
class Layout:
    """The contents of an archive: its folder, its files of images and its file of class names."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    labels: str = ""
    """Key of the labels in a pickle."""
    name_list: str = ""
    """Key of the class names in a pickle."""
    label_bytes: int = 0
    """In the binary version, bytes before the pixels of an image. The last of them is the label."""


LAYOUTS = (
    Layout(
        "cifar-10-batches-py",
        tuple(f"data_batch_{i}" for i in range(1, 6)),
        ("test_batch",),
        "batches.meta",
        "labels",
        "label_names",
    ),
    Layout(
        "cifar-10-batches-bin",
        tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        ("test_batch.bin",),
        "batches.meta.txt",
        label_bytes=1,
    ),
    Layout("cifar-100-python", ("train",), ("test",), "meta", "fine_labels", "fine_label_names"),
    Layout("cifar-100-binary", ("train.bin",), ("test.bin",), "fine_label_names.txt", label_bytes=2),
)


def find(path: Path) -> Path | None:
    """The official archive, or the folder unpacked from one, that ``path`` is or holds; otherwise None."""
    folders = {layout.folder for layout in LAYOUTS}

    def official(candidate: Path) -> bool:
        return candidate.name in (folders if candidate.is_dir() else MD5)

    if official(path):
        return path
    found = sorted(filter(official, path.iterdir())) if path.is_dir() else []
    return found[0] if found else None


def read_splits(path: Path, image: tuple[int, int], channels: int) -> tuple[Split, Split, tuple[str, ...]]:
    """(train, test, class names) of an archive or folder that `find` found. Raises `DataError` where its
    content is not the published one.
    """
    if image != (_SIDE, _SIDE) or channels != 3:
        raise DataError(
            f"{path.name} has images of 32×32 in colour, not of {image[0]}×{image[1]}×{channels}: "
            "unpack it to an image folder to have them scaled"
        )
    layout, content = _unpacked(path) if path.is_dir() else _packed(path)
    for name in (*layout.train, *layout.test, layout.names):
        if name not in content:
            raise DataError(f"{path} is not whole: {layout.folder}/{name} is missing")
    try:
        classes = _class_names(layout, content[layout.names])
        train, test = (
            _split(layout, [content[name] for name in names]) for names in (layout.train, layout.test)
        )
    except (pickle.UnpicklingError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is not what was published: {error}") from None
    for split, name in ((train, "train"), (test, "test")):
        counts = np.bincount(split.labels, minlength=len(classes))
        if len(counts) > len(classes):
            raise DataError(f"{path} has a label beyond its {len(classes)} classes")
        if not counts.all():
            raise DataError(f"{path}: class {classes[int(counts.argmin())]!r} has no {name} images")
    return train, test, classes


def _packed(path: Path) -> tuple[Layout, dict[str, bytes]]:
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if md5 != MD5[path.name]:
        raise DataError(f"{path}: md5 {md5}, published is {MD5[path.name]}: fetch it again")
    content: dict[str, dict[str, bytes]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and (file := archive.extractfile(member)):
                    name = PurePosixPath(member.name)
                    content.setdefault(name.parent.name, {})[name.name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} is no tar archive: {str(error).splitlines()[0]}") from None
    for layout in LAYOUTS:
        if layout.folder in content:
            return layout, content[layout.folder]
    raise DataError(f"{path} has none of {', '.join(layout.folder for layout in LAYOUTS)} in it")


def _unpacked(path: Path) -> tuple[Layout, dict[str, bytes]]:
    layout = next(layout for layout in LAYOUTS if layout.folder == path.name)
    names = (*layout.train, *layout.test, layout.names)
    return layout, {name: (path / name).read_bytes() for name in names if (path / name).is_file()}


def _class_names(layout: Layout, content: bytes) -> tuple[str, ...]:
    if layout.label_bytes:
        return tuple(content.decode().split())
    return tuple(name.decode() for name in unpickle(content)[layout.name_list.encode()])


def _split(layout: Layout, files: list[bytes]) -> Split:
    pairs = [_binary(layout, file) if layout.label_bytes else _pickled(layout, file) for file in files]
    planes = np.concatenate([pixels for pixels, _ in pairs]).reshape(-1, 3, _SIDE, _SIDE)
    labels = np.concatenate([labels for _, labels in pairs])
    return Split(planes.transpose(0, 2, 3, 1).copy(), labels)


def _pickled(layout: Layout, file: bytes) -> tuple[np.ndarray, np.ndarray]:
    content = unpickle(file)
    pixels, labels = content[b"data"], np.array(content[layout.labels.encode()], np.int64)
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), _BYTES):
        raise ValueError(f"{len(labels)} labels with pixels {pixels.dtype} {pixels.shape}")
    return pixels, labels


def _binary(layout: Layout, file: bytes) -> tuple[np.ndarray, np.ndarray]:
    rows = np.frombuffer(file, np.uint8).reshape(-1, layout.label_bytes + _BYTES)
    return rows[:, layout.label_bytes :], rows[:, layout.label_bytes - 1].astype(np.int64)


def _dtype(name: bytes | str, *_flags: object) -> np.dtype:
    """Stands in for numpy.dtype when a pickle of Python 2 calls it; allows plain numbers only."""
    text = name.decode() if isinstance(name, bytes) else name
    dtype = np.dtype(text)
    if dtype.kind not in "iuf":
        raise pickle.UnpicklingError(f"an array of {dtype}")
    return np.dtype(text, copy=True)


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for codecs.encode, by which Python 3 pickles bytes for readers in Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding}")
    return text.encode("latin1")


_ARRAY = "numpy.ndarray"
"""Stands in for the class, which can be called with a shape that no memory holds."""


def _empty(kind: object, shape: object, dtype: object) -> np.ndarray:
    """Stands in for numpy's function that begins an array. The pickle then gives it its shape and content,
    and numpy checks that they agree.
    """
    if kind != _ARRAY or shape != (0,):
        raise pickle.UnpicklingError("an array that numpy did not write")
    return np.empty(0, np.int8)


_ALLOWED: Mapping[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"a pickle that wants {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def _check_sizes(content: bytes) -> None:
    """Raise UnpicklingError or ValueError for a pickle that says it is larger than it is: the unpickler would
    allocate what it says.
    """
    for operation, argument, _ in pickletools.genops(content):
        if "PUT" in operation.name and int(argument or 0) > len(content):
            raise pickle.UnpicklingError(f"a place {argument} in {len(content)} bytes")


def unpickle(content: bytes) -> dict:
    """The dictionary in a pickle of Python 2, with texts as bytes. Raises UnpicklingError for a pickle that
    is damaged, or holds more than numbers, texts and arrays of numbers.
    """
    try:
        _check_sizes(content)
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise any
        raise pickle.UnpicklingError(str(error) or type(error).__name__) from error
    if not isinstance(value, dict):
        raise pickle.UnpicklingError("not a dictionary")
    return value
