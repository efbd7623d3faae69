import re

import pytest

from hw import verilog as command
from hw.lane_array import LaneArray
from hw.verilog import verilog
from models.config import Widths


def test_the_text_is_always_the_same():
    assert verilog(LaneArray(2, 8, 8, Widths(), 2)) == verilog(LaneArray(2, 8, 8, Widths(), 2))


def test_an_accelerator_is_written(tmp_path, capsys):
    path = tmp_path / "two.v"
    command.main(["--config", "2x64", "-o", str(path)])
    text = path.read_text()
    assert "module haarlequin(" in text
    for port in (
        "rx__payload",
        "rx__valid",
        "rx__ready",
        "tx__payload",
        "tx__valid",
        "tx__ready",
        "clk",
        "rst",
    ):
        assert re.search(rf"(input|output) \S*\s?{port};", text), port
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "3x3"], "unknown accelerator '3x3'"),
        (["--config", "2x64", "--clock", "0"], "--clock must be at least 1"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([*arguments, "-o", str(tmp_path / "x.v")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
