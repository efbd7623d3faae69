"""Where what is built goes."""

from pathlib import Path

import pytest

from haarlequin.models.common import places
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.places import ROOT, VARIABLE, build_folder, shown, tool_variables, writable


def test_the_variable_wins_over_the_checkout_and_that_over_the_platform(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert build_folder("sim") == ROOT / "build" / "sim"
    monkeypatch.setattr(places, "ROOT", tmp_path / "site-packages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert build_folder("sim").absolute() == tmp_path / "cache" / "haarlequin" / "sim"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "chosen"))
    assert build_folder("sim") == Path("chosen/sim")
    monkeypatch.setenv(VARIABLE, "chosen")
    assert build_folder("sim") == Path("chosen/sim")
    monkeypatch.chdir("/")
    assert build_folder("boards", "x").is_absolute() or build_folder("boards", "x") == Path("chosen/boards/x")


def test_paths_are_shown_as_they_would_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b") == Path("a/b")
    assert shown(Path("/elsewhere")) == Path("/elsewhere")
    assert shown(Path("a")) == Path("a")


def test_a_folder_that_cannot_be_written_names_the_variable(tmp_path, monkeypatch):
    assert writable(tmp_path / "new" / "one").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(
        UsageError, match=rf"file/build cannot be written \(Not a directory\): set {VARIABLE} to"
    ):
        writable(tmp_path / "file" / "build")
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)  # by hand: root may write everything
    with pytest.raises(
        UsageError, match=rf"cannot be written \(Permission denied\): set {VARIABLE} to a folder"
    ):
        writable(tmp_path)


def test_tools_keep_their_caches_there_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("YOWASP_CACHE_DIR", "my own")
    assert tool_variables() == {"MPLCONFIGDIR": str(tmp_path / "cache" / "matplotlib")}
