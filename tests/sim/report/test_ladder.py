"""The ladder of checks: each rung is a target of the Makefile, and shows its last result."""

import re
from pathlib import Path

from haarlequin.models.common import ledger
from haarlequin.sim.report import ladder

ROOT = Path(__file__).resolve().parents[3]


def test_every_rung_is_a_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for _, command, _ in ladder.LADDER:
        assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


def test_every_rung_is_recorded_somewhere():
    """A record of another name would never be shown."""
    sources = [path for part in ("sim", "tests") for path in (ROOT / part).rglob("*.py")]
    sources = [path for path in sources if not path.name.startswith("test_")]
    written = set()
    for path in sources:
        written |= set(re.findall(r'ledger\.write\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    assert written == {name for name, _, _ in ladder.LADDER}


def test_results_are_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    ledger.write("prove", "make prove", True, "212 of 212 flags proven")
    ledger.write("sim", "make sim", False, "digits: 15/16 images bit-exact")
    (panel,) = ladder.section().panels
    rows = {row[1]: row for row in panel.table}
    assert rows["make prove"][2] == "passed: 212 of 212 flags proven"
    assert rows["make prove"][3] == ledger.read()["prove"].finished
    assert rows["make sim"][2] == "FAILED: digits: 15/16 images bit-exact"
    assert rows["make fuzz"][2:] == ("not run here", "–")
    assert "2 of 9 checks have been run here, and 1 of these failed; 7 have not" in panel.says
