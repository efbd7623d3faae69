"""A stamp counts only with its outputs."""

import json
import math
import os

import pytest

from haarlequin.models.common import stamps


@pytest.fixture
def made(tmp_path):
    """A stamp of two outputs."""
    outputs = [tmp_path / "a", tmp_path / "deep" / "b"]
    outputs[1].parent.mkdir()
    for path in outputs:
        path.write_text(f"content of {path.name}")
    stamps.write(tmp_path / "stamp", stamps.digest("inputs"), outputs, seconds=3)
    return tmp_path / "stamp"


def test_what_is_there_and_unchanged_counts(made):
    assert stamps.facts(made) == stamps.facts(made, stamps.digest("inputs")) == {"seconds": 3}
    assert stamps.facts(made, stamps.digest("others")) is None


@pytest.mark.parametrize("name", ["a", "deep/b"])
def test_outputs_that_are_gone_or_changed(made, name):
    path = made.parent / name
    whole = path.read_bytes()
    for content in (b"", whole[:-1], whole + b"x", whole[:-1] + b"?"):
        path.write_bytes(content)
        assert stamps.facts(made) is None
    path.write_bytes(whole)
    assert stamps.facts(made) is not None
    path.unlink()
    assert stamps.facts(made) is None


def test_a_stamp_that_cannot_be_read_counts_for_nothing(made):
    whole = made.read_bytes()
    for count in range(len(whole) - 1):  # but for its line break
        made.write_bytes(whole[:count])
        assert stamps.facts(made) is None
    for content in (
        b"[]",
        b"{}",
        b"\xff",
        b'{"inputs": 1, "outputs": [], "facts": 1}',
        b"null",
        b"[" * 10_000,
    ):
        made.write_bytes(content)
        assert stamps.facts(made) is None
    made.unlink()
    assert stamps.facts(made) is None


def test_inputs_are_told_apart(tmp_path):
    (tmp_path / "file").write_bytes(b"ab")
    same = [stamps.digest(each) for each in ("ab", b"ab", tmp_path / "file")]
    assert len(set(same)) == 1
    assert len({stamps.digest("ab"), stamps.digest("a", "b"), stamps.digest("b", "a"), stamps.digest()}) == 4


def test_facts_must_be_of_their_kinds(tmp_path):
    stamps.write(tmp_path / "stamp", "", [], seconds=3, met=True, part=None)
    assert stamps.facts(tmp_path / "stamp", kinds={"seconds": float, "met": bool}) is not None
    assert stamps.facts(tmp_path / "stamp", kinds={"seconds": int}) is not None
    for kinds in ({"met": int}, {"met": float}, {"part": str}, {"baud": int}):
        assert stamps.facts(tmp_path / "stamp", kinds=kinds) is None


def test_a_float_is_finite(tmp_path):
    for seconds in (math.nan, math.inf, -math.inf, 10**400, -(10**400)):
        stamps.write(tmp_path / "stamp", "", [], seconds=seconds)
        assert stamps.facts(tmp_path / "stamp") is not None
        assert stamps.facts(tmp_path / "stamp", kinds={"seconds": float}) is None


def test_an_output_that_is_no_file_is_not_read(tmp_path, monkeypatch):
    """A device or a pipe may have no end."""

    def read(path):
        raise AssertionError(path)

    monkeypatch.setattr(stamps, "_hash_file", read)
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", os.devnull, "."):
        size = (tmp_path / name).stat().st_size
        content = {"inputs": "", "outputs": {name: [size, ""]}, "facts": {}}
        (tmp_path / "stamp").write_text(json.dumps(content))
        assert stamps.facts(tmp_path / "stamp") is None
