"""Folders of tables: `manifest.json` and `tables.bin`, which lie one after the other in an input."""

import json
import zlib
from dataclasses import replace
from pathlib import Path
from random import Random

from haarlequin.hw.machine import memories
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.presets import PRESETS
from haarlequin.sw import table_folder
from haarlequin.sw.boot_image import boot_image
from haarlequin.sw.table_folder import MANIFEST, TABLES, Compiled, TablesError
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged, damaged_json
from tests.sw.devices.fake import TABLES as FAKE

_BETWEEN = b"\0tables\0"


def _folder(compiled: Compiled, folder: Path) -> bytes:
    table_folder.save(compiled, folder)
    return (folder / MANIFEST).read_bytes() + _BETWEEN + (folder / TABLES).read_bytes()


def _corpus(folder: Path) -> list[bytes]:
    known = CONFIGS["2x64"]
    hybrid = PRESETS["cifar10-hybrid"]
    words = {FAKE.memories[0].name: [5, 6]}
    small = replace(FAKE, words=words | {FAKE.memories[1].name: [7, 0xA5A5A5A5]})
    return [
        _folder(small, folder / "a"),
        _folder(Compiled(hybrid, "mine", 7, FAKE.memories, words, 99, {"signs": 99}), folder / "b"),
        _folder(Compiled(PRESETS["digits"], "2x64", known.digest, memories(known), {}, 1, {}), folder / "c"),
    ]


def _mutate(data: bytes, random: Random, others) -> bytes:
    manifest, between, tables = data.partition(_BETWEEN)
    if random.random() < 0.8:
        manifest = damaged_json(manifest, random)
    if random.random() < 0.3:
        tables = damaged(tables, random)
    return manifest + between + tables


def mend(data: bytes) -> bytes:
    """Right checksums of the manifest and, where it says how long they are, of the tables."""
    text, between, tables = data.partition(_BETWEEN)
    try:
        manifest, at = json.loads(text), 0
        sizes = {each["name"]: -(-each["bits"] // 8) for each in manifest["memories"]}
        for name, size in sizes.items():
            if name in manifest["tables"]:
                entry = manifest["tables"][name]
                end = at + size * entry["words"]
                entry["crc32"], at = zlib.crc32(tables[at:end]), end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        pass
    try:
        del manifest["crc32"]
        manifest["crc32"] = zlib.crc32(json.dumps(manifest, sort_keys=True).encode("ascii"))
        return json.dumps(manifest).encode() + between + tables
    except (ValueError, KeyError, TypeError, UnboundLocalError, RecursionError):
        return data


def _read(data: bytes, folder: Path) -> None:
    """What is accepted is the same once it is written and read again. It makes a boot image or is refused."""
    manifest, _, tables = data.partition(_BETWEEN)
    (folder / MANIFEST).write_bytes(manifest)
    (folder / TABLES).write_bytes(tables)
    compiled = table_folder.load(folder)
    if sum(
        len(words) * memory.word_bytes
        for memory in compiled.memories
        for words in [compiled.words.get(memory.name, [])]
    ) != len(tables):
        raise Wrong(f"{len(tables)} bytes became {compiled.words}")
    table_folder.save(compiled, folder / "again")
    if table_folder.load(folder / "again") != compiled:
        raise Wrong(f"{compiled} is not what it is after writing and reading")
    boot_image(compiled)


READER = Reader("tables", (TablesError,), _corpus, _read, _mutate, mend, seconds=2, megabytes=512)
