import math
import threading
from collections import Counter

import pytest

from haarlequin.hw.bitstream import floorplan, report, tools
from haarlequin.hw.bitstream.flow import SUMMARY, Flow
from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.boards.top import BoardTop
from haarlequin.hw.families.family import RESOURCES
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common import stamps
from haarlequin.models.common.cli import INTERRUPTED
from haarlequin.models.common.files import locked
from haarlequin.sw.bitstream import BuildError, check_size, facts_of, listing, main, remedy
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
    assert "baud  cifar10-hybrid, cifar10-hybrid-large, " in rows["ulx3s-85f"]
    assert rows["ulx3s-25f"].endswith("baud  cifar10-hybrid")


@pytest.fixture
def boards(tmp_path, monkeypatch):
    """Where the folders of boards are."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "build"))
    return tmp_path / "build" / "boards"


@pytest.fixture
def built(boards):
    """The folder of a board that was built."""
    used, available = {"lut4": 10_157, "ff": 6_266, "bram": 93, "dsp": 9}, TARGET.capacity
    found = {"part": TARGET.title, "config": "2x64", **used, "available": available}
    folder = boards / TARGET.name
    folder.mkdir(parents=True)
    (folder / "top.bit").write_bytes(b"bits")
    stamps.write(folder / SUMMARY, "", [folder / "top.bit"], **found, clock_mhz=60.0, fmax_mhz=67.4)
    return folder


def test_the_table_has_what_was_built(built, capsys):
    main(["--table"])
    head, rule, row = capsys.readouterr().out.splitlines()
    assert head.count("|") == rule.count("|") == row.count("|")
    cells = "10,157 of 83,640 | 6,266 of 83,640 | 93 of 208 | 9 of 156"
    assert row == f"| ULX3S, LFE5U-85F | `2x64` | {cells} | 67.4 of 60 |"


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"inputs": "", "outp',
        '{"part": "of an older version"}',
        '{"inputs": "", "outputs": {}, "facts": {"part": "of an older version"}}',
    ],
)
def test_the_table_passes_over_a_summary_that_is_cut_off(built, capsys, content):
    (built / SUMMARY).write_text(content)
    with pytest.raises(SystemExit) as exit_:
        main(["--table"])
    assert exit_.value.code == 2
    line, error = capsys.readouterr().err.splitlines()
    said = "summary.json is damaged, or belongs to another bitstream: make bitstream BOARD=ulx3s-85f"
    assert line.endswith(f"/ulx3s-85f/{said}")
    assert error == "error: nothing was built here yet: make bitstream BOARD=…"


def changed(folder, name, value):
    """The summary in a folder with another value of a fact, or of what is available."""
    facts = stamps.facts(folder / SUMMARY)
    place, _, key = name.rpartition(".")
    (facts[place] if place else facts)[key] = value
    stamps.write(folder / SUMMARY, "", [folder / "top.bit"], **facts)


NUMBERS = ("clock_mhz", "fmax_mhz", *RESOURCES, *(f"available.{name}" for name in RESOURCES))


@pytest.mark.parametrize("name", NUMBERS)
def test_no_bitstream_has_such_a_number(built, name, capsys):
    assert facts_of(TARGET)
    clock = (0, 0.0, 5e-324, 1e308) if name.endswith("mhz") else ()
    for value in (10**400, -(10**400), 1 << 31, -1, math.nan, math.inf, -math.inf, True, *clock):
        changed(built, name, value)
        assert facts_of(TARGET) is None
        said = "summary.json is damaged, or belongs to another bitstream: make bitstream BOARD=ulx3s-85f\n"
        assert capsys.readouterr().err.endswith(said)


@pytest.fixture
def stages(monkeypatch):
    """Stages that do nothing but write a bitstream that names its baud rate, and reach such clocks."""
    limit = report.Limit(10.0, 5.0, "from", "to")

    class Stages:
        fmax_mhz = 100.0
        sck_mhz = 100.0

        @classmethod
        def routed(cls, *_):
            usage = dict.fromkeys(("lut4", "ff", "bram", "dsp"), (1, 2))
            return report.Routed(usage, cls.fmax_mhz, limit, {"spi.sck": (cls.sck_mhz, 50.0)})

    monkeypatch.setattr(Flow, "synthesise", lambda flow: None)
    monkeypatch.setattr(Flow, "route", lambda *_: None)
    monkeypatch.setattr(Flow, "pack", lambda flow: flow.bitstream.write_text(f"{flow.baud} baud"))
    monkeypatch.setattr(report, "by_module", lambda *_: {})
    monkeypatch.setattr(report, "routed", Stages.routed)
    monkeypatch.setattr(floorplan, "draw", lambda *_: None)
    monkeypatch.setattr(tools, "version", lambda name: f"{name} 1")
    return Stages


def test_one_that_waits_for_a_folder_builds_its_own(boards, stages, capsys):
    """And says at the end what the bitstream is for."""
    with locked(boards / TARGET.name):
        second = threading.Thread(target=main, args=(["--board", TARGET.name, "--baud", "1000000"],))
        second.start()
        second.join(1)
        assert second.is_alive()
        said = capsys.readouterr().err
        assert said.startswith("another process is building in ")
        assert said.count("\n") == 1
        bitstream = boards / TARGET.name / "top.bit"
        bitstream.write_text("2000000 baud")
    second.join(60)
    assert bitstream.read_text() == "1000000 baud"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("/ulx3s-85f/top.bit: 16x256 at 60 MHz, 1,000,000 baud; 0 s in all")
    assert stamps.facts(boards / TARGET.name / SUMMARY)["baud"] == 1_000_000


def test_the_summary_says_what_made_it(boards, stages):
    main(["--board", "icebreaker"])
    found = stamps.facts(boards / "icebreaker" / SUMMARY)
    assert found["toolchain"] == ["yosys 1", "nextpnr-ice40 1", "icepack 1"]
    assert (found["clock_mhz"], found["baud"], found["met"]) == (18.0, 3_000_000, True)


def test_a_missed_clock_is_an_error(boards, stages, capsys):
    stages.fmax_mhz = 33.3
    with pytest.raises(SystemExit) as exit_:
        main(["--board", "ulx3s-85f"])
    assert exit_.value.code == 2
    said = "ulx3s-85f misses 60 MHz: it reaches 33.3 MHz; take FREQ=30, or try another SEED"
    assert capsys.readouterr().err == f"error: {said}\n"
    assert not stamps.facts(boards / "ulx3s-85f" / SUMMARY)["met"]


def test_a_line_that_misses_its_clock_is_an_error(boards, stages, capsys):
    stages.sck_mhz = 41.6
    with pytest.raises(SystemExit) as exit_:
        main(["--board", "ulx3s-85f"])
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert "  spi.sck: 41.6 MHz of 50\n" in out
    assert err == (
        "error: ulx3s-85f misses 50 MHz of spi.sck: it reaches 41.6 MHz; "
        "try another SEED, or use that line at a lower clock\n"
    )
    assert not stamps.facts(boards / "ulx3s-85f" / SUMMARY)["met"]


def test_no_clock_is_proposed_that_the_pll_does_not_make():
    """An iCE40's makes 16 MHz at least: FREQ=12, as was once proposed, would be refused."""
    said = (
        'try another SEED, or a smaller accelerator, ARGS="--config …": the lowest clock that the PLL makes '
        "is 16.125 MHz"
    )
    assert remedy(board("icebreaker"), 3_000_000, 12.8) == said


@pytest.mark.parametrize("target", BOARDS.values(), ids=BOARDS)
@pytest.mark.parametrize("share", [0.99, 0.93, 0.71, 0.3])
def test_what_is_proposed_can_be_done(target, share):
    for baud in (target.baud, 1_000_000, 2_345_678):
        fmax_mhz = share * target.clock_hz / 1e6
        said = remedy(target, baud, fmax_mhz)
        found = said.partition("take FREQ=")[2].replace(",", " ").split(" ")[0] or said.split()[-2]
        baud = 1_000_000 if "--baud 1000000" in said or "lowest" in said else baud
        assert (float(found) <= fmax_mhz) == ("take FREQ=" in said)
        top = BoardTop(target, CONFIGS[target.config], round(float(found) * 1e6), baud)
        assert round(top.clock_hz / 1e6, 4) == round(float(found), 4)


@pytest.mark.parametrize(
    ("name", "baud", "fmax_mhz", "said"),
    [
        ("icebreaker", 3_000_000, 17.5, 'take FREQ=17.25 with ARGS="--baud 1000000", or try another SEED'),
        ("ulx3s-25f", 15_000_000, 55.0, 'take FREQ=55 with ARGS="--baud 1000000", or try another SEED'),
    ],
)
def test_where_the_uart_stands_in_the_way_it_gets_another_rate(name, baud, fmax_mhz, said):
    assert remedy(board(name), baud, fmax_mhz) == said


@pytest.mark.parametrize(
    ("arguments", "routed"),
    [
        (["--board", "ulx3s-85f"], (1, "static")),
        (["--board", "icebreaker"], (1, "heap")),
        (["--board", "orangecrab-25f", "--usb"], (1, "static")),
        (["--board", "ulx3s-85f", "--seed", "3", "--placer", "heap"], (3, "heap")),
    ],
)
def test_seed_and_placer(boards, monkeypatch, capsys, arguments, routed):
    asked = []

    def route(flow, *how):
        asked.append(how)
        raise KeyboardInterrupt

    monkeypatch.setattr(Flow, "synthesise", lambda flow: None)
    monkeypatch.setattr("haarlequin.hw.bitstream.report.by_module", lambda *netlist: {})
    monkeypatch.setattr(Flow, "route", route)
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == INTERRUPTED
    kept = "the stages that ended are kept, and the same command goes on after them"
    assert capsys.readouterr().err == f"interrupted: {kept}\n"
    assert asked == [routed]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--table"], "nothing was built here yet: make bitstream BOARD=…"),
        ([], "BOARD=… is one of ecpix5-85f, "),
        (["--board", "x"], "unknown board 'x': there are ecpix5-85f, "),
        (["--board", "ulx3s-85f", "--config", "7x7"], "unknown accelerator '7x7'"),
        (["--board", "ulx3s-85f", "--address", "10.0.0.7"], "ulx3s-85f has no Ethernet, and so no address"),
        (["--board", "ecpix5-85f", "--address", "10.0"], "'10.0' is not an IPv4 address such as "),
        (
            ["--board", "ulx3s-85f", "--serial", "a"],
            "a serial number is for a board with a USB device: add --usb",
        ),
        (["--board", "ulx3s-85f", "--usb", "--serial", "a:b"], "'a:b' is not a serial number: take 1 to 64 "),
        (["--board", "ulx3s-85f", "--freq", "-5"], "--freq must be a positive number, not -5"),
        (["--board", "ulx3s-85f", "--freq", "900"], "ECP5 PLL, 25 MHz to 900 MHz: nothing within 2 % below"),
        (["--board", "ulx3s-85f", "--baud", "0"], "--baud must be a positive number, not 0"),
        (
            ["--board", "ulx3s-85f", "--freq", "60", "--baud", "11500000"],
            "a clock of 60 MHz makes 12,000,000 baud",
        ),
    ],
)
def test_one_line_says_what_is_wrong(capsys, boards, tmp_path, arguments, error):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {error}")
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))


def test_a_build_folder_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "file"))
    with pytest.raises(SystemExit) as exit_:
        main(["--board", "icebreaker"])
    assert exit_.value.code == 2
    assert "set HAARLEQUIN_BUILD to a folder that can" in capsys.readouterr().err
