"""Tar archives of image folders, packed and not, of images with classes and of images with masks."""

import gzip
import io
import tarfile
import zlib
from contextlib import redirect_stderr
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from haarlequin.models import data as data_sets
from haarlequin.models.config import placeholders
from haarlequin.models.data import IGNORE, DataError
from haarlequin.models.presets import preset
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged

_CONFIG = preset("digits").with_(name="small", image=(4, 4), classes=placeholders(2))
_MASKS = _CONFIG.with_(segmentation=True)
_BLOCK = tarfile.BLOCKSIZE


def _picture(value: int, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).convert(mode).save(file, "PNG")
    return file.getvalue()


def _tar(
    files: dict[str, bytes], links: dict[str, str] | None = None, form: int = tarfile.USTAR_FORMAT
) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for number, (name, target) in enumerate((links or {}).items()):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.LNKTYPE, tarfile.SYMTYPE)[number % 2], target
            archive.addfile(member)
    # tarfile fills the archive up to 10 KB with zeros; two blocks of them are its end.
    return whole.getvalue().rstrip(b"\0")


def _corpus(folder: Path) -> list[bytes]:
    """A class for each image, validation images and links; masks; and each of them packed."""
    classes = {f"{s}/{c}/{i}.png": _picture(i) for s in ("train", "test") for c in "ab" for i in range(2)}
    linked = classes | {f"val/{c}/1.png": _picture(9) for c in "ab"} | {"readme.txt": b"hello"}
    links = {"train/a/7.png": "train/a/0.png", "train/b/8.png": "../a/1.png"}
    masks = {f"{s}/images/{i}.png": _picture(i) for s in ("train", "test") for i in range(2)}
    masks |= {f"{s}/masks/{i}.png": _picture(i) for s in ("train", "test") for i in range(2)}
    masks["classes.txt"] = b"sky\nroad\n"
    long = {f"{'x' * 120}/{name}": content for name, content in classes.items()}
    plain = [_padded(_tar(classes)), _padded(_tar(linked, links)), _padded(_tar(masks))]
    plain.append(_padded(_tar(long, form=tarfile.PAX_FORMAT)))
    return [*plain, *(gzip.compress(each, mtime=0) for each in plain)]


def _padded(archive: bytes) -> bytes:
    return archive + bytes(-len(archive) % _BLOCK + 2 * _BLOCK)


def _mutate(data: bytes, random: Random, others) -> bytes:
    """A packed archive is damaged as it is, or packed again with damage inside; headers more than images."""
    packed = data[:2] == b"\x1f\x8b"
    if packed and random.random() < 0.3:
        return damaged(data, random, others)
    try:
        inside = gzip.decompress(data) if packed else data
    except (OSError, EOFError, zlib.error):
        return damaged(data, random, others)
    starts = _headers(inside)
    if starts and random.random() < 0.7:
        at = random.choice(starts)
        header = damaged(inside[at : at + _BLOCK], random)[:_BLOCK].ljust(_BLOCK, b"\0")
        inside = inside[:at] + _checked(header) + inside[at + _BLOCK :]
    else:
        inside = damaged(inside, random, others)
    return gzip.compress(inside, 1, mtime=0) if packed else inside


def _headers(archive: bytes) -> list[int]:
    """Where the headers of members are."""
    return [at for at in range(0, len(archive), _BLOCK) if archive[at + 257 : at + 262] == b"ustar"]


def _checked(header: bytes) -> bytes:
    """A header with the right checksum."""
    total = sum(header[:148]) + sum(header[156:]) + 8 * ord(" ")
    return header[:148] + b"%06o\0 " % total + header[156:]


def _read(data: bytes, folder: Path) -> None:
    """It is read as images with classes and, where they are refused, as images with masks."""
    path = folder / ("data.tar.gz" if data[:2] == b"\x1f\x8b" else "data.tar")
    path.write_bytes(data)
    masks = False
    with redirect_stderr(io.StringIO()):
        try:
            found = data_sets.load(_CONFIG, path, own_classes=True)
        except DataError as error:
            masks = "choose a segmentation network" in str(error)
            if not masks:
                raise
            found = data_sets.load(_MASKS, path, own_classes=True)
    for split in (found.train, found.validation, found.test):
        shape = (len(split), 4, 4)
        if not len(split) or split.pixels.shape != (*shape, 1) or split.pixels.dtype != np.uint8:
            raise Wrong(f"{split.pixels.dtype} {split.pixels.shape}")
        if masks:
            known = (split.labels < len(found.classes)) | (split.labels == IGNORE)
            fine = split.labels.shape == shape and known.all()
        else:
            fine = split.labels.shape == shape[:1] and {*split.labels.tolist()} <= {
                *range(len(found.classes))
            }
        if not fine:
            raise Wrong(f"labels {split.labels} of {found.classes}")


READER = Reader("archives", (DataError,), _corpus, _read, _mutate, seconds=5, lazy=True)
