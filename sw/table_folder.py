"""A compiled model as a folder: what the compiler writes and the host reads.

`manifest.json` names the model and the accelerator, and says how many answers an image has, how many cycles
it takes and what lies in `tables.bin`. That file has the words of the memories that a model fills, one memory
after another in the accelerator's order; each word takes whole bytes, the lowest first. A CRC-32 protects
every byte of both files.

The tables of a program while it is being made are `sw/compiler/tables.py`.
"""

import json
import math
import reprlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from haarlequin.hw.config import AnyConfig
from haarlequin.hw.link.identity import Memory
from haarlequin.hw.link.protocol import ProtocolError
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import ConfigError, UsageError
from haarlequin.models.common.files import locked, replacing
from haarlequin.models.config import ModelConfig

FORMAT = "haarlequin-tables-1"
MANIFEST = "manifest.json"
TABLES = "tables.bin"

_AGAIN = "compile again with python sw/compile.py"
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "an integer"}
_T = TypeVar("_T", dict, list, str, int)


class TablesError(UsageError):
    """The tables cannot be written, read or run; the message is one line and says why and what to do."""


@dataclass(frozen=True)
class Compiled:
    """A model compiled for an accelerator; raises `TablesError` where words and memories do not agree."""

    model: ModelConfig
    """The model's configuration; `models.onnx.export.metadata` says what goes in and what comes out."""
    accelerator: str
    """The name of the accelerator's configuration."""
    digest: int
    """`AcceleratorConfig.digest` of that configuration."""
    memories: tuple[Memory, ...]
    """All memories of the accelerator, by number."""
    words: Mapping[str, list[int]]
    """The words of each memory that the model fills, by the memory's name, from word 0 on."""
    cycles: int
    """Cycles that an image will take."""
    operations: Mapping[str, int]
    """The same cycles, for each operation."""

    def __post_init__(self):
        depths = {memory.name: memory.depth for memory in self.memories}
        if len(depths) != len(self.memories):
            raise TablesError("memories must have names of their own")
        for name, words in self.words.items():
            if name not in depths:
                raise TablesError(f"{self.accelerator} has no memory {name!r}, but {', '.join(depths)}")
            if len(words) > depths[name]:
                raise TablesError(f"memory {name!r} must have at most {depths[name]} words, not {len(words)}")


def save(compiled: Compiled, folder: Path) -> None:
    """Write the folder; files of an older compilation are replaced once both new files are complete.

    Raises `TablesError` for a word that does not fit its memory, and `OSError` where nothing can be written.
    """
    try:
        tables = {m.name: m.pack(compiled.words[m.name]) for m in _filled(compiled)}
    except ProtocolError as error:
        raise TablesError(str(error)) from None
    manifest = _manifest(compiled, tables)
    manifest["crc32"] = _checksum(manifest)
    # Two processes that write at once must not leave the manifest of one beside the words of the other.
    with locked(folder), replacing(folder / MANIFEST) as last, replacing(folder / TABLES) as first:
        first.write_bytes(b"".join(tables.values()))
        last.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path, accelerator: AnyConfig | None = None) -> Compiled:
    """Read what `save` wrote.

    Raises `TablesError` where it was changed since, or is not for ``accelerator``, if one is given.
    """
    try:
        manifest = _parsed(_content(folder / MANIFEST))
        facts, stored = _facts(manifest), _stored(manifest)
        if _field(manifest, "crc32", int) != _checksum(manifest):
            raise TablesError(f"{MANIFEST} is damaged or was changed by hand: {_AGAIN}")
        _check_accelerator(facts["accelerator"], facts["digest"], accelerator)
        words = _words(_content(folder / TABLES), facts["memories"], stored)
        return Compiled(**facts, words=words)
    except TablesError as error:
        raise TablesError(f"{folder}: {error}") from None


# Writing


def _filled(compiled: Compiled) -> list[Memory]:
    return [memory for memory in compiled.memories if memory.name in compiled.words]


def _manifest(compiled: Compiled, tables: dict[str, bytes]) -> dict:
    return {
        "format": FORMAT,
        "model": compiled.model.to_dict(),
        "answers": _answers(compiled.model),
        "accelerator": {"name": compiled.accelerator, "digest": compiled.digest},
        "cycles": {"image": compiled.cycles, "operations": dict(compiled.operations)},
        "memories": [{"name": m.name, "bits": m.width, "words": m.depth} for m in compiled.memories],
        "tables": {
            name: {"words": len(compiled.words[name]), "crc32": zlib.crc32(content)}
            for name, content in tables.items()
        },
    }


def _answers(model: ModelConfig) -> dict:
    """The shape of what an image is answered with, for people: it follows from the model."""
    classes = {"classes": len(model.classes)}
    if not model.segmentation:
        return classes
    grid = model.grids[-1]
    return {"tokens": math.prod(grid), "grid": list(grid)} | classes


def _checksum(manifest: dict) -> int:
    """The CRC-32 of a manifest's content; line breaks and the order of its keys do not matter."""
    content = {key: value for key, value in manifest.items() if key != "crc32"}
    # JSON makes lists of tuples, so the CRC is the same before writing and after reading.
    return zlib.crc32(json.dumps(content, sort_keys=True).encode("ascii"))


# Reading


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise TablesError(f"no {path.name}; give the folder that python sw/compile.py wrote") from None
    except OSError as error:
        raise TablesError(f"{path.name} cannot be read: {error.strerror}") from None


def _parsed(content: bytes) -> dict:
    """The manifest; raises `TablesError` where it is of another version."""
    try:
        manifest = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise TablesError(f"{MANIFEST} is not JSON, truncated or damaged: {_AGAIN}") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise TablesError(
            f"{MANIFEST} is none of Haarlequin; give the folder that python sw/compile.py wrote"
        )
    if manifest["format"] != FORMAT:
        came = reprlib.repr(manifest["format"])
        raise TablesError(f"format {came} is of another version, this one reads {FORMAT!r}: {_AGAIN}")
    return manifest


def _field(values: dict, name: str, kind: type[_T]) -> _T:
    """A value of the manifest, which must be of that type."""
    if name not in values:
        raise TablesError(f"{MANIFEST} lacks {name!r}: {_AGAIN}")
    value = values[name]
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        came = reprlib.repr(value)
        raise TablesError(f"{MANIFEST}: {name!r} must be {_KINDS[kind]}, not {came}: {_AGAIN}")
    return value


def _facts(manifest: dict) -> dict:
    """The fields of a `Compiled`, except its words."""
    accelerator, cycles = _field(manifest, "accelerator", dict), _field(manifest, "cycles", dict)
    operations = _field(cycles, "operations", dict)
    try:
        model = ModelConfig.from_json(json.dumps(_field(manifest, "model", dict)))
        memories = tuple(_memory(entry) for entry in _field(manifest, "memories", list))
    except (ConfigError, ProtocolError) as error:
        raise TablesError(f"{MANIFEST}: {error}: {_AGAIN}") from None
    return {
        "model": model,
        "accelerator": _field(accelerator, "name", str),
        "digest": _field(accelerator, "digest", int),
        "memories": memories,
        "cycles": _field(cycles, "image", int),
        "operations": {name: _field(operations, name, int) for name in operations},
    }


def _memory(entry: object) -> Memory:
    values = _field({"memory": entry}, "memory", dict)
    return Memory(_field(values, "name", str), _field(values, "bits", int), _field(values, "words", int))


def _stored(manifest: dict) -> dict[str, tuple[int, int]]:
    """The number of words and the CRC-32 of each memory."""
    tables = _field(manifest, "tables", dict)
    entries = {name: _field(tables, name, dict) for name in tables}
    return {n: (_field(entry, "words", int), _field(entry, "crc32", int)) for n, entry in entries.items()}


def _check_accelerator(name: str, digest: int, wanted: AnyConfig | None) -> None:
    """Raise `TablesError` unless the tables are for the wanted accelerator, or for the one of their name."""
    known = wanted or CONFIGS.get(name)
    if known is None or (known.name, known.digest) == (name, digest):
        return
    if known.name != name:
        raise TablesError(f"these tables are for {name}, not for {known.name}: compile for {known.name}")
    raise TablesError(
        f"these tables are for a {name} of other sizes or of another version "
        f"(digest {digest:#010x}, not {known.digest:#010x}): {_AGAIN}"
    )


def _words(
    content: bytes, memories: tuple[Memory, ...], stored: dict[str, tuple[int, int]]
) -> dict[str, list[int]]:
    filled = [memory for memory in memories if memory.name in stored]
    if len(filled) != len(stored):
        raise TablesError(f"{MANIFEST}: tables of memories that there are not: {_AGAIN}")
    size = sum(stored[memory.name][0] * memory.word_bytes for memory in filled)
    if len(content) != size:
        raise TablesError(
            f"{TABLES} must have {size} bytes, not {len(content)}, truncated or of another compilation: "
            f"{_AGAIN}"
        )
    words, at = {}, 0
    for memory in filled:
        count, checksum = stored[memory.name]
        part = content[at : at + count * memory.word_bytes]
        at += len(part)
        if zlib.crc32(part) != checksum:
            raise TablesError(f"{TABLES}: the words of {memory.name!r} are damaged: {_AGAIN}")
        words[memory.name] = memory.unpack(part)
    return words
