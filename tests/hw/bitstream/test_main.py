from collections import Counter

import pytest

from hw.bitstream.__main__ import BuildError, check_size, listing, main
from hw.bitstream.flow import Flow
from hw.boards import board
from tests.small_machines import MACHINES

TARGET = board("ulx3s-85f")


def test_a_design_larger_than_the_part_says_by_how_much(tmp_path):
    flow = Flow(TARGET, MACHINES["8x8"], TARGET.clock_hz, TARGET.baud, tmp_path)
    whole = Counter(TARGET.capacity)
    check_size({"all": whole}, flow)
    more = {"all": whole, "top": Counter(bram=2, lut4=1)}
    message = "8x8 does not fit ulx3s-85f: 83,641 LUT4 of 83,640, 210 BRAM of 208; take a smaller accelerator"
    with pytest.raises(BuildError, match=message):
        check_size(more, flow)


def test_the_list_says_what_fits():
    assert "ulx3s-85f  ULX3S, LFE5U-85F  32x128" in listing()
    assert listing().endswith("digits, cifar10-nano, cifar10-tiny")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "BOARD=… is one of ulx3s-85f"),
        (["--board", "x"], "unknown board 'x': there are ulx3s-85f"),
        (["--board", "ulx3s-85f", "--config", "7x7"], "unknown accelerator '7x7'"),
        (["--board", "ulx3s-85f", "--freq", "-5"], "--freq must be a positive number, not -5"),
        (["--board", "ulx3s-85f", "--freq", "900"], "ECP5 PLL, 25 MHz to 900 MHz: nothing within 2 % below"),
        (["--board", "ulx3s-85f", "--baud", "0"], "--baud must be a positive number, not 0"),
        (["--board", "ulx3s-85f", "--baud", "11500000"], "a clock of 60 MHz makes 12,000,000 baud"),
    ],
)
def test_one_line_says_what_is_wrong(capsys, monkeypatch, tmp_path, arguments, error):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))
