"""A compiled model comes back as it was written, or not at all."""

import json
import math
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from haarlequin.hw.link.identity import Memory
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.network import checkpoint
from haarlequin.models.network.freeze import freeze
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.table_folder import MANIFEST, TABLES, Compiled, TablesError, load, save

DIGITS = Path(__file__).parents[2] / "models" / "zoo" / "digits" / "model.safetensors"
MACHINE = CONFIGS["16x64"]
SEED = 20

SMALL = Compiled(
    model=preset("digits").with_(name="Ziffern №1", classes=("größer", "小さい")),
    accelerator="mine",
    digest=0xFFFF_FFFF,
    memories=(
        Memory("settings", 106, 1),
        Memory("weights", 64, 8),
        Memory("t_n", 9, 4),
        Memory("gone", 1, 1),
    ),
    words={"settings": [(1 << 106) - 1], "weights": [0, 1, (1 << 64) - 1], "t_n": []},
    cycles=123,
    operations={"signs": 100, "scores": 23},
)
"""Words of all ones, an empty memory and one that is not filled, for an accelerator that nobody knows."""


@pytest.fixture(scope="module")
def digits() -> Compiled:
    return compile_model(freeze(checkpoint.load(DIGITS)), MACHINE, check=False).compiled()


@pytest.fixture
def folder(tmp_path) -> Path:
    """With `SMALL` in it."""
    save(SMALL, tmp_path / "compiled")
    return tmp_path / "compiled"


def refusal(folder: Path, **arguments) -> str:
    """The one line that says why a folder is not loaded."""
    with pytest.raises(TablesError) as caught:
        load(folder, **arguments)
    message = str(caught.value)
    assert message.startswith(f"{folder}: ")
    assert "\n" not in message
    return message.removeprefix(f"{folder}: ")


# Round trips


def test_digits_come_back(digits, tmp_path):
    save(digits, tmp_path)
    assert load(tmp_path) == digits
    assert load(tmp_path, accelerator=MACHINE) == digits
    assert sum(map(len, digits.words.values())) > 5000
    assert all(type(word) is int for words in load(tmp_path).words.values() for word in words)


def test_extremes_come_back(folder):
    assert load(folder) == SMALL
    assert {path.name for path in folder.iterdir()} == {MANIFEST, TABLES}


def test_tables_are_the_words_in_the_accelerators_order_lowest_byte_first(folder):
    settings, weights = (1 << 106) - 1, [0, 1, (1 << 64) - 1]
    expected = settings.to_bytes(14, "little") + b"".join(word.to_bytes(8, "little") for word in weights)
    assert (folder / TABLES).read_bytes() == expected
    # Whatever order the words were made in.
    save(replace(SMALL, words=dict(reversed(SMALL.words.items()))), folder)
    assert (folder / TABLES).read_bytes() == expected


def test_the_manifest_is_for_people_too(folder):
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["model"]["classes"] == ["größer", "小さい"]
    assert "größer" in (folder / MANIFEST).read_text(encoding="utf-8")
    assert manifest["cycles"] == {"image": 123, "operations": {"signs": 100, "scores": 23}}
    assert manifest["memories"][0] == {"name": "settings", "bits": 106, "words": 1}
    assert manifest["answers"] == {"classes": 2}
    weights = zlib.crc32((folder / TABLES).read_bytes()[14:])
    assert manifest["tables"]["weights"] == {"words": 3, "crc32": weights}


def test_the_manifest_says_how_many_answers_a_segmentation_network_has(tmp_path):
    model = SMALL.model.with_(image=(8, 12), patch=2, segmentation=True)
    save(replace(SMALL, model=model), tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["answers"] == {"tokens": 24, "grid": [4, 6], "classes": 2}
    assert load(tmp_path).model == model


def test_a_manifest_without_the_answers(folder):
    """As older versions wrote it: the same follows from the model."""
    rewritten(folder, lambda manifest: manifest.pop("answers"))
    assert load(folder) == SMALL


def test_the_layout_of_the_manifest_is_free(folder):
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    (folder / MANIFEST).write_text(json.dumps(dict(reversed(manifest.items()))), encoding="utf-8")
    assert load(folder) == SMALL


def test_the_same_tables_are_the_same_bytes(digits, tmp_path):
    for name in ("first", "second"):
        save(digits, tmp_path / name)
    for name in (MANIFEST, TABLES):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_later_compilation_takes_the_place_of_an_older_one(digits, folder):
    save(digits, folder)
    assert load(folder) == digits
    save(SMALL, folder)
    assert load(folder) == SMALL
    assert {path.name for path in folder.iterdir()} == {MANIFEST, TABLES}


# What cannot be compiled


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": {"mine": [1]}}, "mine has no memory 'mine', but settings, weights"),
        ({"words": {"t_n": [0] * 5}}, "memory 't_n' must have at most 4 words, not 5"),
        ({"memories": (Memory("t_n", 9, 4),) * 2, "words": {}}, "memories must have names of their own"),
    ],
)
def test_words_and_memories_must_agree(changes, message):
    with pytest.raises(TablesError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize("word", [-1, 512])
def test_a_word_that_does_not_fit_is_not_written(tmp_path, word):
    with pytest.raises(TablesError, match=re.escape(f"memory t_n: a word must have 9 bits, not {word:#x}")):
        save(replace(SMALL, words={"t_n": [0, word]}), tmp_path / "new")
    assert not (tmp_path / "new").exists()


# Damage


def flipped(content: bytes, place: int, pattern: int) -> bytes:
    return content[:place] + bytes([content[place] ^ pattern]) + content[place + 1 :]


@pytest.mark.parametrize("name", [MANIFEST, TABLES])
def test_every_flipped_byte_is_noticed_or_harmless(digits, tmp_path, name):
    save(digits, tmp_path)
    path, generator = tmp_path / name, np.random.default_rng(SEED)
    content = path.read_bytes()
    noticed = 0
    for _ in range(300):
        place, pattern = int(generator.integers(len(content))), int(generator.integers(1, 256))
        print(f"seed {SEED}: byte {place} ^ {pattern:#04x}")
        path.write_bytes(flipped(content, place, pattern))
        try:
            loaded = load(tmp_path)
        except TablesError:
            noticed += 1
        else:
            assert name == MANIFEST
            assert content[place : place + 1].isspace()
            assert loaded == digits
    # A single space that has become another, at most.
    assert noticed >= 295
    path.write_bytes(content)
    assert load(tmp_path) == digits


def test_every_byte_of_a_small_manifest_and_its_tables_counts(folder):
    for name in (MANIFEST, TABLES):
        path, content = folder / name, (folder / name).read_bytes()
        for place in range(len(content)):
            path.write_bytes(flipped(content, place, 1 << place % 8))
            try:
                loaded = load(folder)
            except TablesError as error:
                line = str(error)
            else:
                line = ""
                assert content[place : place + 1].isspace(), f"{name}, byte {place}"
                assert loaded == SMALL
            assert "\n" not in line
        path.write_bytes(content)


def test_a_flipped_bit_names_its_memory(digits, tmp_path):
    save(digits, tmp_path)
    path, at = tmp_path / TABLES, 0
    content = path.read_bytes()
    for memory in digits.memories:
        size = len(digits.words.get(memory.name, ())) * memory.word_bytes
        for place in {at, at + size // 2, at + size - 1} if size else ():
            path.write_bytes(flipped(content, place, 1))
            assert refusal(tmp_path).startswith(
                f"{TABLES}: the words of {memory.name!r} are damaged: compile again"
            )
        at += size
    assert at == len(content)


@pytest.mark.parametrize("name", [MANIFEST, TABLES])
def test_a_truncated_file_is_noticed(digits, tmp_path, name):
    save(digits, tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    cuts = np.random.default_rng(SEED).integers(len(content.rstrip()), size=50)
    for size in (0, 1, *cuts.tolist(), len(content.rstrip()) - 1):
        path.write_bytes(content[:size])
        expected = f"must have {len(content)} bytes, not {size}, truncated or of another compilation"
        if name == MANIFEST:
            expected = "is not JSON, truncated or damaged"
        assert refusal(tmp_path).startswith(f"{name} {expected}: compile again")


def test_bytes_in_excess_are_noticed(folder):
    (folder / TABLES).write_bytes((folder / TABLES).read_bytes() + b"\0")
    assert refusal(folder).startswith(f"{TABLES} must have 38 bytes, not 39")


@pytest.mark.parametrize("name", [MANIFEST, TABLES])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert refusal(folder) == f"no {name}; give the folder that python sw/compile.py wrote"


def test_a_missing_folder(tmp_path):
    assert refusal(tmp_path / "none").startswith(f"no {MANIFEST}; give the folder")


def test_a_file_instead_of_the_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert refusal(tmp_path / "file").startswith(f"{MANIFEST} cannot be read: ")


# Manifests that are none of ours, or changed by hand


def rewritten(folder: Path, change, sealed: bool = True) -> None:
    """The manifest after ``change``, with a checksum that fits unless ``sealed`` is false."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    if sealed:
        content = {key: value for key, value in manifest.items() if key != "crc32"}
        manifest["crc32"] = zlib.crc32(json.dumps(content, sort_keys=True).encode())
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_change_by_hand_is_noticed(folder):
    rewritten(folder, lambda m: m["cycles"].update(image=122), sealed=False)
    assert refusal(folder).startswith(f"{MANIFEST} is damaged or was changed by hand: compile again")


def test_a_sealed_manifest_is_taken(folder):
    """The helper of these tests makes the checksum that is wanted."""
    rewritten(folder, lambda m: m["cycles"].update(image=122))
    assert load(folder) == replace(SMALL, cycles=122)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"manifest\n", b"\xff\xfe", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}"]
)
def test_a_manifest_that_is_not_json(folder, content):
    (folder / MANIFEST).write_bytes(content)
    assert refusal(folder).startswith(f"{MANIFEST} is not JSON")


@pytest.mark.parametrize("content", ["[]", "1", "null", '"text"', "{}", '{"version": 1}', "NaN"])
def test_a_manifest_of_something_else(folder, content):
    (folder / MANIFEST).write_text(content)
    assert refusal(folder).startswith(f"{MANIFEST} is none of Haarlequin; give the folder")


@pytest.mark.parametrize("value", ["haarlequin-tables-2", 2, None, ["x" * 10_000]])
def test_another_version(folder, value):
    """Said before anything else is looked at, which may all be different."""
    (folder / MANIFEST).write_text(json.dumps({"format": value}))
    message = refusal(folder)
    assert message.startswith("format ")
    assert "is of another version, this one reads 'haarlequin-tables-1': compile again" in message
    assert len(message) < 200


KEYS = [
    *((key,) for key in ("model", "accelerator", "cycles", "memories", "tables", "crc32")),
    *(("accelerator", key) for key in ("name", "digest")),
    *(("cycles", key) for key in ("image", "operations")),
    *(("memories", 1, key) for key in ("name", "bits", "words")),
    *(("tables", "weights", key) for key in ("words", "crc32")),
]


@pytest.mark.parametrize("keys", KEYS, ids=lambda keys: ".".join(map(str, keys)))
def test_a_missing_key_is_named(folder, keys):
    def remove(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]

    rewritten(folder, remove, sealed=keys != ("crc32",))
    assert refusal(folder).startswith(f"{MANIFEST} lacks '{keys[-1]}': compile again")


@pytest.mark.parametrize("value", [None, True, -1, 1.0, math.nan, [[]], "1", {"a": 1}], ids=repr)
@pytest.mark.parametrize(
    "keys",
    [*KEYS, ("cycles", "operations", "signs"), ("tables", "weights"), ("memories", 0)],
    ids=lambda keys: ".".join(map(str, keys)),
)
def test_a_wrong_type_is_said(folder, keys, value):
    def put(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        if type(manifest[keys[-1]]) is not type(value) or value == -1:
            manifest[keys[-1]] = value
        else:
            manifest[keys[-1]] = None

    rewritten(folder, put, sealed=keys != ("crc32",))
    message = refusal(folder)
    assert re.match(rf"{MANIFEST}: '\w+' must be an? (integer|text|list|object), not ", message)
    assert "compile again" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["model"].update(heads=5), "heads: 64 is no multiple of 5"),
        (lambda m: m["model"].update(mine=1), "unknown in ModelConfig: mine"),
        (lambda m: m["memories"][1].update(bits=0), "memory weights: width must be 1 to"),
        (lambda m: m["memories"][1].update(name="ü"), "a memory's name must be 1 to 255 ASCII"),
        (lambda m: m["memories"][1].update(words=2), "memory 'weights' must have at most 2 words, not 3"),
        (lambda m: m["memories"].append(m["memories"][3]), "memories must have names of their own"),
        (lambda m: m["memories"].pop(1), ": tables of memories that there are not"),
        (
            lambda m: m["tables"].update(mine={"words": 0, "crc32": 0}),
            "tables of memories that there are not",
        ),
        (lambda m: m["tables"]["weights"].update(words=10**30), "tables.bin must have 8000000000000"),
    ],
)
def test_a_manifest_that_contradicts_itself(folder, change, message):
    rewritten(folder, change)
    assert message in refusal(folder)


# Accelerators


def test_tables_for_another_accelerator(digits, folder, tmp_path):
    save(digits, tmp_path)
    message = refusal(tmp_path, accelerator=CONFIGS["64x128"])
    assert message == "these tables are for 16x64, not for 64x128: compile for 64x128"
    assert "for mine, not for 64x128" in refusal(folder, accelerator=CONFIGS["64x128"])


def test_tables_for_an_accelerator_that_has_changed(digits, tmp_path):
    other = replace(MACHINE, weights=MACHINE.weights * 2)
    save(digits, tmp_path)
    message = refusal(tmp_path, accelerator=other)
    digest = f"digest {MACHINE.digest:#010x}, not {other.digest:#010x}"
    expected = f"these tables are for a 16x64 of other sizes or of another version ({digest}): compile again"
    assert message.startswith(expected)
    save(replace(digits, digest=other.digest), tmp_path)
    assert load(tmp_path, accelerator=other).digest == other.digest
    assert f"digest {other.digest:#010x}, not {MACHINE.digest:#010x}" in refusal(tmp_path)


# Interrupted writing


@pytest.mark.parametrize("failing", [1, 2])
def test_a_write_that_fails_leaves_the_old_files_and_nothing_else(digits, folder, monkeypatch, failing):
    """No space for the first file, or for the second."""
    calls, write = [], Path.write_bytes

    def full(path, content, *_, **__):
        calls.append(path)
        write(path, content[:100] if isinstance(content, bytes) else content[:100].encode())
        if len(calls) == failing:
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        save(digits, folder)
    monkeypatch.undo()
    assert len(calls) == failing
    assert load(folder) == SMALL
    assert {path.name for path in folder.iterdir()} == {MANIFEST, TABLES}


class PowerCut(BaseException):
    """Ends the program where it is."""


@pytest.mark.parametrize(("older", "message"), [(True, "compile again"), (False, f"no {MANIFEST}")])
def test_a_power_cut_between_the_files_is_noticed(digits, tmp_path, monkeypatch, older, message):
    """The manifest takes its place last: what it says is never of tables that are not there."""
    if older:
        save(SMALL, tmp_path)
    replaced, move = [], Path.replace

    def cut(path, target):
        if replaced:
            raise PowerCut
        replaced.append(target.name)
        return move(path, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(PowerCut):
        save(digits, tmp_path)
    monkeypatch.undo()
    assert replaced == [TABLES]
    assert message in refusal(tmp_path)
    save(digits, tmp_path)
    assert load(tmp_path) == digits
