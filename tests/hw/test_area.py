from hw import area
from hw.popcount import Popcount
from hw.postprocess import PostProcess
from models.config import Widths


def test_a_popcount_takes_two_luts_a_full_adder(tmp_path):
    """Seven bits: three full adders in the tree and one in the last row, which the mapper folds into LUTs."""
    figures = area.count(area.synthesise(Popcount(7), tmp_path))
    assert figures["DSP"] == figures["BRAM"] == 0
    assert 8 <= figures["LUT4"] <= 16


def test_a_lane_multiplies_on_two_multipliers(tmp_path):
    assert area.count(area.synthesise(PostProcess(Widths(), 12, slots=16), tmp_path))["DSP"] == 2
