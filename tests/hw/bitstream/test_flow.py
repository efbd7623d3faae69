import json

import pytest

from hw.bitstream import flow as flows
from hw.bitstream.flow import Flow
from hw.bitstream.tools import ToolError
from hw.boards import board
from tests.small_machines import MACHINES

TARGET = board("ulx3s-85f")


@pytest.fixture
def ran(monkeypatch):
    """The tools that were run, in place of running them; one that ``ran.breaks`` gives up half-way."""

    class Ran(list):
        breaks = None

    done = Ran()

    def run(stage, command, folder, milestones):
        done.append(stage)
        (folder / "top.json").write_text(json.dumps({"modules": {}}))
        if stage == done.breaks:
            raise ToolError("it gave up")

    monkeypatch.setattr(flows.tools, "run", run)
    monkeypatch.setattr(flows.tools, "version", lambda name: f"{name} 1")
    monkeypatch.setattr("hw.bitstream.families.tool", lambda name: name)
    monkeypatch.setattr("hw.bitstream.tools.tool", lambda name: name)
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
    assert ran == ["yosys", "nextpnr", "pack"]
    build(elaborated)
    assert ran == ["yosys", "nextpnr", "pack"]
    build(elaborated, seed=2)
    assert ran[3:] == ["nextpnr", "pack"]
    monkeypatch.setattr(flows.tools, "version", lambda name: f"{name} 2")
    build(elaborated, seed=2)
    assert ran[5:] == ["yosys", "nextpnr", "pack"]


def test_a_stage_that_failed_is_not_done(elaborated, ran):
    ran.breaks = "nextpnr"
    with pytest.raises(ToolError, match="it gave up"):
        build(elaborated, seed=3)
    ran.breaks = None
    ran.clear()
    build(elaborated, seed=3)
    assert ran == ["nextpnr", "pack"]


def test_the_clock_is_what_the_pll_makes(tmp_path):
    """And the UART's divisor follows it."""
    flow = Flow(TARGET, MACHINES["8x8"], 61_300_000, 3_000_000, tmp_path)
    assert 60_000_000 < flow.top.clock_hz <= 61_300_000
    assert flow.top.divisor == round(flow.top.clock_hz / 3_000_000)
