import hashlib
import io
import pickle
import struct
import tarfile
from itertools import chain

import numpy as np
import pytest

from haarlequin.models import data
from haarlequin.models.data import DataError, cifar
from haarlequin.models.presets import preset

NANO = preset("cifar10-nano")
FINE = tuple(f"fine {i}".replace(" ", "_") for i in range(100))


def python2_pickle(value):
    """What Python 2 wrote: texts as its own strings, an array with flags that numpy deprecates."""
    return pickle.PROTO + b"\x02" + _python2(value) + pickle.STOP


def _python2(value):
    if isinstance(value, str):
        return pickle.BINSTRING + struct.pack("<i", len(value)) + value.encode()
    if isinstance(value, int):
        return pickle.BININT + struct.pack("<i", value)
    if isinstance(value, list):
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_python2, value)) + pickle.APPENDS
    if isinstance(value, dict):
        items = b"".join(_python2(k) + _python2(v) for k, v in value.items())
        return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS
    raw = value.tobytes()
    dtype = (
        b"cnumpy\ndtype\n" + b"(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    shape = _python2(value.shape[0]) + _python2(value.shape[1]) + pickle.TUPLE2
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85U\x01b\x87R"
    raw = pickle.BINSTRING + struct.pack("<i", len(raw)) + raw
    return array + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"


def images(count, seed, classes):
    """(pixels as CIFAR stores them, labels): each class in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), np.uint8)
    return pixels, [i % classes for i in range(count)]


PARTS = {layout.folder: layout for layout in cifar.LAYOUTS}


def contents(folder):
    """(file name → content of a small official archive, its train pixels and labels, its test pixels)."""
    layout = PARTS[folder]
    names = NANO.classes if "10-" in folder else FINE
    files, pixels, labels = {}, [], []
    for i, name in enumerate((*layout.train, *layout.test)):
        part, numbers = images(2 * len(names), i, len(names))
        pixels.append(part)
        labels.append(numbers)
        if layout.label_bytes:
            columns = np.array(numbers, np.uint8)[:, None]
            coarse = np.full((len(part), layout.label_bytes - 1), 99, np.uint8)
            files[name] = np.concatenate([coarse, columns, part], 1).tobytes()
        else:
            files[name] = python2_pickle({layout.labels: numbers, "data": part, "batch_label": "x"})
    if layout.label_bytes:
        files[layout.names] = ("\n".join(names) + "\n\n").encode()
    else:
        files[layout.names] = python2_pickle({layout.name_list: list(names)})
    return files, pixels, labels


def packed(folder, directory, files, monkeypatch):
    """The archive under its official name, which now has the checksum that is published."""
    name = folder.replace("-batches-py", "-python").replace("-batches-bin", "-binary") + ".tar.gz"
    path = directory / name
    with tarfile.open(path, "w:gz") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    monkeypatch.setitem(cifar.MD5, name, hashlib.md5(path.read_bytes()).hexdigest())
    return path


def unpacked(folder, directory, files, monkeypatch):
    (directory / folder).mkdir()
    for name, content in files.items():
        (directory / folder / name).write_bytes(content)
    return directory / folder


@pytest.mark.parametrize("folder", list(PARTS))
@pytest.mark.parametrize("form", [packed, unpacked])
@pytest.mark.parametrize("given", ["itself", "its folder"])
def test_every_version_gives_the_published_images(tmp_path, monkeypatch, folder, form, given):
    files, pixels, labels = contents(folder)
    path = form(folder, tmp_path, files, monkeypatch)
    found = cifar.find(path if given == "itself" else tmp_path)
    assert found == path
    train, test, classes = cifar.read_splits(found, (32, 32), 3)
    assert classes == (NANO.classes if "10-" in folder else FINE)
    planes = np.concatenate(pixels[:-1]).reshape(-1, 3, 32, 32)
    assert np.array_equal(train.pixels, planes.transpose(0, 2, 3, 1))
    assert train.labels.tolist() == list(chain.from_iterable(labels[:-1]))
    assert np.array_equal(test.pixels[5, 7, 9], pixels[-1][5].reshape(3, 32, 32)[:, 7, 9])


def test_load_takes_it(tmp_path, monkeypatch):
    files, _, _ = contents("cifar-10-batches-py")
    packed("cifar-10-batches-py", tmp_path, files, monkeypatch)
    found = data.load("cifar10-nano", tmp_path)
    assert [len(s) for s in (found.train, found.validation, found.test)] == [90, 10, 20]
    assert found.classes == NANO.classes
    with pytest.raises(DataError, match="images of 32×32 in colour, not of 16×16×3"):
        data.load(NANO.with_(image=(16, 16)), tmp_path)


def test_a_wrong_checksum(tmp_path, monkeypatch):
    files, _, _ = contents("cifar-10-batches-bin")
    path = packed("cifar-10-batches-bin", tmp_path, files, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"md5 [0-9a-f]{32}, published is [0-9a-f]{32}: fetch it again"):
        data.load(NANO, tmp_path)


class Evil:
    def __reduce__(self):
        return eval, ("open('/dev/null')",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_3", None, "cifar-10-batches-py/data_batch_3 is missing"),
        ("data_batch_3", b"", "not what was published"),
        ("data_batch_3", python2_pickle([1]), "not a dictionary"),
        ("data_batch_3", python2_pickle({"labels": [1]}), "not what was published: b'data'"),
        ("data_batch_3", pickle.dumps({"data": Evil()}, 2), "wants __builtin__.eval, which no array needs"),
        ("data_batch_3", pickle.dumps({b"data": np.array([None])}, 2), "an array of object"),
        (
            "test_batch",
            python2_pickle({"labels": [0], "data": np.zeros((2, 3072), np.uint8)}),
            "1 labels with",
        ),
        (
            "test_batch",
            python2_pickle({"labels": [10], "data": np.zeros((1, 3072), np.uint8)}),
            "a label beyond",
        ),
        (
            "test_batch",
            python2_pickle({"labels": [0], "data": np.zeros((1, 3072), np.uint8)}),
            "'automobile' has",
        ),
    ],
)
def test_what_is_missing_or_foreign_is_named(tmp_path, monkeypatch, name, content, message):
    files, _, _ = contents("cifar-10-batches-py")
    files = {n: content if n == name else c for n, c in files.items() if n != name or content is not None}
    path = unpacked("cifar-10-batches-py", tmp_path, files, monkeypatch)
    with pytest.raises(DataError, match=message) as error:
        data.load(NANO, path)
    assert "\n" not in str(error.value)


def test_a_binary_file_that_is_cut(tmp_path, monkeypatch):
    files, _, _ = contents("cifar-10-batches-bin")
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:-1]
    with pytest.raises(DataError, match="not what was published"):
        data.load(NANO, unpacked("cifar-10-batches-bin", tmp_path, files, monkeypatch))


class Reduced:
    """Its pickle calls a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({b"data": Reduced(np.ndarray, (1 << 45,))}), "'str' object is not callable"),
        (
            pickle.dumps({b"data": Reduced(np._core.multiarray._reconstruct, np.ndarray, (1 << 45,), b"b")}),
            "an array that numpy did not write",
        ),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "a place 2147483647 in 9 bytes"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "expected 2147483647 bytes"),
        (b"\x80\x02}J\x01\0\0\0K\x01(s.", "."),
        (b"\x80\x02]K\x01.", "."),
        (b"", "."),
    ],
)
def test_a_pickle_that_wants_more_memory_than_it_has_bytes_or_is_damaged(content, message):
    with pytest.raises(pickle.UnpicklingError, match=message):
        cifar.unpickle(content)


def test_labels_beyond_64_bits(tmp_path, monkeypatch):
    files, _, _ = contents("cifar-10-batches-py")
    files["test_batch"] = pickle.dumps({b"labels": [1 << 70], b"data": np.zeros((1, 3072), np.uint8)}, 2)
    with pytest.raises(DataError, match="not what was published"):
        data.load(NANO, unpacked("cifar-10-batches-py", tmp_path, files, monkeypatch))
