"""Verilator's own sources are compiled once for each set of options, anything else every time."""

import sys
from pathlib import Path

import pytest

from haarlequin.sw.verilated.object_cache import SOURCES, main

COMPILER = "import shutil, sys; shutil.copyfile(sys.argv[-1], sys.argv[-2])"
"""Takes ``-o OUTPUT SOURCE`` and copies."""


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """A function that compiles a source and says what came out."""
    monkeypatch.chdir(tmp_path)
    source = tmp_path / SOURCES / "verilated.cpp"
    source.parent.mkdir(parents=True)

    def run(text: str, *options: str, of: Path = source) -> str:
        of.write_text(text, encoding="utf-8")
        Path("verilated.o").unlink(missing_ok=True)
        command = [sys.executable, "-c", COMPILER, *options, "-o", "verilated.o", str(of)]
        assert main(str(tmp_path / "kept"), command) == 0
        return Path("verilated.o").read_text(encoding="utf-8")

    return run


def test_verilators_sources_are_compiled_once(compiled):
    assert [compiled("one"), compiled("two")] == ["one", "one"]
    assert [compiled("two", "-O1"), compiled("three", "-O1")] == ["two", "two"]


def test_others_are_compiled_every_time(compiled, tmp_path):
    assert [compiled(text, of=tmp_path / "Vtop.cpp") for text in ("one", "two")] == ["one", "two"]


def test_what_fails_is_not_kept(compiled, tmp_path):
    source = str(tmp_path / SOURCES / "verilated.cpp")
    command = [sys.executable, "-c", "import sys; sys.exit(3)", "-o", "verilated.o", source]
    assert main(str(tmp_path / "kept"), command) == 3
    assert not (tmp_path / "kept").exists()


def test_a_source_needs_no_output(tmp_path):
    """As where a makefile asks a compiler for its version."""
    assert main(str(tmp_path), [sys.executable, "-c", "pass", str(tmp_path / SOURCES / "verilated.cpp")]) == 0
