import json

import pytest

from haarlequin.hw.bitstream import flow as flows
from haarlequin.hw.bitstream.flow import SUMMARY, Flow
from haarlequin.hw.bitstream.tools import ToolError
from haarlequin.hw.boards import board
from haarlequin.models.common import stamps
from tests.small_machines import MACHINES

pytestmark = pytest.mark.slow

TARGET = board("ulx3s-85f")


@pytest.fixture
def ran(monkeypatch):
    """The tools that were run, in place of running them; one that ``ran.breaks`` gives up half-way, and one
    that is ``ran.idle`` writes nothing.
    """

    class Ran(list):
        breaks = idle = None

    done, options = Ran(), ("--report", "--write", "--textcfg", "--bit")

    def run(name, arguments, log, milestones):
        done.append(name)
        if name == done.idle:
            return
        paths = dict(zip(arguments, map(log.with_name, arguments[1:]), strict=False))
        outputs = [paths[option] for option in options if option in paths]
        content = repr(arguments) + (paths["--input"].read_text() if "--input" in paths else "")
        if not outputs:  # a netlist
            content = json.dumps({"made by": content, "modules": {"top": {"cells": {}, "ports": {}}}})
        for path in outputs or [log.with_name("top.json")]:
            path.write_text(content[:9] if name == done.breaks else content)
        if name == done.breaks:
            raise ToolError("it gave up")

    monkeypatch.setattr(flows.tools, "run", run)
    monkeypatch.setattr(flows.tools, "version", lambda name: f"{name} 1")
    return done


@pytest.fixture(scope="module")
def elaborated(tmp_path_factory):
    """A flow whose Amaranth part is done but once."""
    made = Flow(TARGET, MACHINES["8x8"], TARGET.clock_hz, TARGET.baud, tmp_path_factory.mktemp("flow"))
    plan = made.platform.prepare(made.top, "top")
    made.platform.prepare = lambda *_, **__: plan
    return made


def build(flow, seed=1):
    flow.synthesise()
    flow.route(seed, "heap")
    flow.pack()


def test_only_what_changed_is_done_again(elaborated, ran, monkeypatch):
    build(elaborated)
    assert ran == ["yosys", "nextpnr-ecp5", "ecppack"]
    build(elaborated)
    assert ran == ["yosys", "nextpnr-ecp5", "ecppack"]
    build(elaborated, seed=2)
    assert ran[3:] == ["nextpnr-ecp5", "ecppack"]
    monkeypatch.setattr(flows.tools, "version", lambda name: f"{name} 2")
    build(elaborated, seed=2)
    assert ran[5:] == ["yosys", "nextpnr-ecp5", "ecppack"]


def test_each_stage_says_what_makes_it(elaborated, ran, capsys):
    build(elaborated, seed=8)
    build(elaborated, seed=8)
    out = capsys.readouterr().out
    assert "place and route by nextpnr-ecp5 1 …\n" in out
    assert out.endswith(
        "synthesis: as before, by yosys 1\nplace and route: as before, by nextpnr-ecp5 1\n"
        "packing: as before, by ecppack 1\n"
    )


def test_a_stage_that_failed_is_not_done(elaborated, ran):
    ran.breaks = "nextpnr-ecp5"
    with pytest.raises(ToolError, match="it gave up"):
        build(elaborated, seed=3)
    ran.breaks = None
    ran.clear()
    build(elaborated, seed=3)
    assert ran == ["nextpnr-ecp5", "ecppack"]


ROUTING, PACKING = ["nextpnr-ecp5"], ["ecppack"]


@pytest.mark.parametrize("left", [None, b"", b"{"], ids=["gone", "empty", "cut off"])
@pytest.mark.parametrize(
    ("name", "again"),
    [
        ("top.json", ["yosys"]),
        ("registers.json", []),
        ("synthesis.stamp", ["yosys"]),
        ("report.json", ROUTING),
        ("placed.json", ROUTING),
        ("top.config", ROUTING),
        ("place-and-route.stamp", ROUTING),
        ("top.bit", PACKING),
        ("packing.stamp", PACKING),
    ],
)
def test_what_is_gone_or_cut_off_is_made_again(elaborated, ran, name, again, left):
    """And nothing else: the tools make the same of the same."""
    build(elaborated, seed=4)
    ran.clear()
    (elaborated.folder / name).unlink()
    if left is not None:
        (elaborated.folder / name).write_bytes(left)
    build(elaborated, seed=4)
    assert ran == again
    ran.clear()
    build(elaborated, seed=4)
    assert ran == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "7", '{"digest": "1", "seconds": 1}', "\0" * 99])
def test_a_stamp_that_is_none_counts_for_nothing(elaborated, ran, content):
    build(elaborated, seed=5)
    ran.clear()
    (elaborated.folder / "packing.stamp").write_text(content)
    build(elaborated, seed=5)
    assert ran == PACKING


def test_what_routing_wrote_is_packed(elaborated, ran):
    """Whatever its stamp says."""
    build(elaborated, seed=6)
    bitstream = elaborated.bitstream.read_bytes()
    routed = elaborated.folder / "top.config"
    routed.write_bytes(routed.read_bytes() + b"!")
    ran.clear()
    elaborated.pack()
    assert ran == PACKING
    assert elaborated.bitstream.read_bytes() != bitstream


@pytest.mark.parametrize("stage", ["yosys", "nextpnr-ecp5", "ecppack"])
def test_an_interrupted_run_leaves_nothing_that_looks_whole(elaborated, ran, monkeypatch, stage):
    """A summary of the bitstream before counts for nothing once packing has begun again."""
    build(elaborated, seed=7)
    elaborated.summarise(met=True)
    for name in ("synthesis", "place-and-route", "packing"):
        (elaborated.folder / f"{name}.stamp").unlink()
    ran.breaks = stage
    with pytest.raises(ToolError, match="it gave up"):
        build(elaborated, seed=7)
    kept = {path.name for path in elaborated.folder.glob("*.stamp") if stamps.facts(path) is not None}
    assert len(kept) == ["yosys", "nextpnr-ecp5", "ecppack"].index(stage)
    whole = stamps.facts(elaborated.folder / SUMMARY) is not None
    assert whole == (stage != "ecppack")


@pytest.mark.parametrize(
    ("stage", "output"),
    [("yosys", "top.json"), ("nextpnr-ecp5", "placed.json"), ("ecppack", "top.bit")],
)
def test_a_tool_that_ends_well_and_writes_nothing(elaborated, ran, stage, output):
    """What an earlier run left is not taken for its work."""
    build(elaborated, seed=9)
    for name in ("synthesis", "place-and-route", "packing"):
        (elaborated.folder / f"{name}.stamp").unlink()
    ran.idle = stage
    with pytest.raises(
        ToolError, match=rf"{stage} ended well but did not write .*{output}; see .*{stage}.log$"
    ):
        build(elaborated, seed=9)


def test_the_clock_is_what_the_pll_makes(tmp_path):
    """And the UART's divisor follows it."""
    flow = Flow(TARGET, MACHINES["8x8"], 61_300_000, 3_000_000, tmp_path)
    assert 60_000_000 < flow.top.clock_hz <= 61_300_000
    assert flow.top.divisor == round(flow.top.clock_hz / 3_000_000)
