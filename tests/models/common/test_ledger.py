"""The ledger of checks: a result is read as it was written, and damaged ones count as none."""

import re

import pytest

from haarlequin.models.common import ledger
from haarlequin.models.common.places import build_folder

OWN = build_folder().absolute()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    return tmp_path / "checks"


def test_nothing_is_there_at_first():
    assert ledger.read() == {}


def test_the_last_result_stands():
    ledger.write("sim", "make sim", True, "16/16")
    ledger.write("sim", "make sim", False, "15/16")
    (entry,) = ledger.read().values()
    assert (entry.command, entry.passed, entry.says) == ("make sim", False, "15/16")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", entry.finished)


def test_commands_of_tests_leave_no_results(monkeypatch):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(OWN))
    before = ledger.read()
    ledger.write("sim", "a test's", True, "all")
    assert ledger.read() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"command": "x"}', "\0"])
def test_a_damaged_one_counts_as_none(folder, text):
    ledger.write("prove", "make prove", True, "all")
    (folder / "sim.json").write_text(text, encoding="utf-8")
    assert {*ledger.read()} == {"prove"}


def test_a_field_of_another_type_counts_as_none(folder):
    ledger.write("sim", "make sim", True, "all")
    path = folder / "sim.json"
    path.write_text(path.read_text(encoding="utf-8").replace("true", '"true"'), encoding="utf-8")
    assert ledger.read() == {}
