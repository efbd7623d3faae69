import os
import subprocess
import sys

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw import area
from haarlequin.hw.bitstream.tools import ToolError
from haarlequin.hw.common.pipeline import GROUP, spread, streamed
from haarlequin.hw.common.thermometer import thermometer
from haarlequin.hw.lanes.popcount import Popcount
from haarlequin.hw.lanes.postprocess import PostProcess
from haarlequin.models.common.cli import INTERRUPTED
from haarlequin.models.common.places import ROOT
from haarlequin.models.widths import Widths

pytestmark = pytest.mark.slow


def test_a_popcount_takes_two_luts_a_full_adder(tmp_path):
    """Seven bits: three full adders in the tree and one in the last row, which the mapper folds into LUTs."""
    figures = area.count(area.synthesise(Popcount(7), tmp_path))
    assert figures["DSP"] == figures["BRAM"] == 0
    assert 8 <= figures["LUT4"] <= 16


def test_a_lane_multiplies_on_two_multipliers(tmp_path):
    assert area.count(area.synthesise(PostProcess(Widths(), 12), tmp_path))["DSP"] == 2


class Mask(wiring.Component):
    """Ones from the place ``low`` on, up to ``high``."""

    low: In(range(129))
    high: In(range(129))
    mask: Out(128)

    def elaborate(self, platform):
        m = Module()
        low, high = (streamed(m, number) for number in (self.low, self.high))
        m.d.sync += self.mask.eq(thermometer(high, 128) & ~thermometer(low, 128))
        return m


def test_a_mask_is_not_a_comparison_for_each_bit(tmp_path):
    """1,542 LUT4 with comparisons, 330 without."""
    assert area.count(area.synthesise(Mask(), tmp_path))["LUT4"] < 350


class Near(wiring.Component):
    """A bit that goes to three groups of lanes."""

    bit: In(1)
    words: In(3 * GROUP)
    found: Out(3 * GROUP)

    def elaborate(self, platform):
        m = Module()
        for lane, bit in enumerate(spread(m, self.bit, 3 * GROUP)):
            m.d.sync += self.found[lane].eq(bit & self.words[lane])
        return m


def test_synthesis_leaves_each_group_of_lanes_its_register(tmp_path):
    assert area.count(area.synthesise(Near(), tmp_path))["FF"] == 3 + 3 * GROUP


@pytest.fixture
def native(tmp_path, monkeypatch):
    """A program on PATH as new as tested, which does what a shell script says."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def install(name: str, answer: str, script: str) -> None:
        text = f"#!/bin/sh\n[ $1 = --version ] && exec echo '{answer}'\n{script}\n"
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    return install


def test_an_error_comes_alone(native):
    """Without Amaranth's warnings of the blocks that were not reached."""
    native("yosys", "Yosys 9.0", "echo 'ERROR: no such option.'; exit 1")
    command = [sys.executable, "-m", "haarlequin", "area"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (2, "error: yosys: no such option.\n")


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo top.ys:3: what follows; echo 'ERROR: no such option.'; exit 1", "no such option."),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_a_yosys_that_gives_up_is_one_line(native, capsys, script, error):
    native("yosys", "Yosys 9.0", script)
    with pytest.raises(SystemExit) as exit_:
        area.main([])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: yosys: {error}\n"


def test_a_nextpnr_that_gives_up_is_quoted(native, tmp_path):
    native("nextpnr-ecp5", "(Version nextpnr-9.0)", "echo 'ERROR: no place'; exit 1")
    with pytest.raises(ToolError, match=r"^nextpnr-ecp5: no place$"):
        area.route(tmp_path / "top.json", seed=1)


def test_an_interruption_is_one_line(monkeypatch, capsys):
    def report(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(area, "_report", report)
    with pytest.raises(SystemExit) as exit_:
        area.main([])
    assert exit_.value.code == INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"
