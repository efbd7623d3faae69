import json
from collections import Counter

import pytest

from hw.bitstream.__main__ import BuildError, check_size, listing, main
from hw.bitstream.flow import Flow
from hw.boards import BOARDS, board
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
    rows = {line.split()[0]: line for line in listing().splitlines()[1:]}
    assert rows.keys() == BOARDS.keys()
    assert "ULX3S, LFE5U-85F " in rows["ulx3s-85f"]
    assert rows["ulx3s-85f"].endswith("digits, cifar10-nano, cifar10-tiny")
    assert rows["ulx3s-25f"].endswith("  cifar10-nano")


def test_the_table_has_what_was_built(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hw.bitstream.__main__.BUILD", tmp_path)
    used, available = {"lut4": 10_157, "ff": 6_266, "bram": 93, "dsp": 9}, TARGET.capacity
    found = {"part": TARGET.title, "config": "2x64", **used, "available": available}
    (tmp_path / TARGET.name).mkdir()
    (tmp_path / TARGET.name / "summary.json").write_text(
        json.dumps(found | {"clock_mhz": 60.0, "fmax_mhz": 67.4})
    )
    main(["--table"])
    head, rule, row = capsys.readouterr().out.splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    cells = "10,157 of 83,640 | 6,266 of 83,640 | 93 of 208 | 9 of 156"
    assert row == f"| ULX3S, LFE5U-85F | `2x64` | {cells} | 67.4 of 60 |"


@pytest.mark.parametrize(
    ("arguments", "routed"),
    [
        (["--board", "ulx3s-85f"], (1, "static")),
        (["--board", "ulx3s-25f"], (1, "heap")),
        (["--board", "ulx3s-85f", "--seed", "3", "--placer", "heap"], (3, "heap")),
    ],
)
def test_seed_and_placer(tmp_path, monkeypatch, arguments, routed):
    asked = []

    def route(flow, *how):
        asked.append(how)
        raise KeyboardInterrupt

    monkeypatch.setattr("hw.bitstream.__main__.BUILD", tmp_path)
    monkeypatch.setattr(Flow, "synthesise", lambda flow: None)
    monkeypatch.setattr("hw.bitstream.report.by_module", lambda *netlist: {})
    monkeypatch.setattr(Flow, "route", route)
    with pytest.raises(SystemExit, match="interrupted"):
        main(arguments)
    assert asked == [routed]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--table"], "nothing was built here yet: make bitstream BOARD=…"),
        ([], "BOARD=… is one of icebreaker, "),
        (["--board", "x"], "unknown board 'x': there are icebreaker, "),
        (["--board", "ulx3s-85f", "--config", "7x7"], "unknown accelerator '7x7'"),
        (["--board", "ulx3s-85f", "--freq", "-5"], "--freq must be a positive number, not -5"),
        (["--board", "ulx3s-85f", "--freq", "900"], "ECP5 PLL, 25 MHz to 900 MHz: nothing within 2 % below"),
        (["--board", "ulx3s-85f", "--baud", "0"], "--baud must be a positive number, not 0"),
        (
            ["--board", "ulx3s-85f", "--freq", "60", "--baud", "11500000"],
            "a clock of 60 MHz makes 12,000,000 baud",
        ),
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
