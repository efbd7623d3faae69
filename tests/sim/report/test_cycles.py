"""Where cycles go: bars are the timeline's spans, and sums are the program's."""

import json
import math

import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import PRESETS
from haarlequin.sim.report import cycles
from haarlequin.sw.targets import compile_model

pytestmark = pytest.mark.slow

SPANS = [
    {"unit": "array", "start": 0, "stop": 16, "operation": "signs", "name": "begin", "pass": 0, "tokens": 16},
    {"unit": "array", "start": 20, "stop": 36, "operation": "scores", "name": "s", "pass": 1, "tokens": 16},
    {"unit": "loading", "start": -4, "stop": 12, "operation": "weights", "name": "s", "pass": 0, "tokens": 0},
    {"unit": "head", "start": 30, "stop": 60, "operation": "head", "name": "head", "pass": None, "tokens": 0},
]
TIMELINE = {
    "machine": "16x64",
    "image": 1,
    "cycles": 40,
    "units": ["loading", "array", "head"],
    "spans": SPANS,
}


@pytest.fixture(scope="module")
def program():
    return compile_model(GoldenModel.blank(PRESETS["digits"]), CONFIGS["16x64"], check=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    (tmp_path / "sim" / "digits").mkdir(parents=True)
    return tmp_path / "sim" / "digits"


def panels(program):
    return {panel.name: panel for panel in cycles.section(program).panels}


def test_bars_are_the_spans(program, folder):
    (folder / "timeline.json").write_text(json.dumps(TIMELINE), encoding="utf-8")
    panel = panels(program)["timeline"]
    (made,) = panel.figures
    bars = {
        (unit, start, start + long)
        for trace in made.data
        for unit, start, long in zip(trace.y, trace.base, trace.x, strict=True)
    }
    assert bars == {(span["unit"], span["start"], span["stop"]) for span in SPANS}
    texts = [text for trace in made.data for text in trace.hovertext]
    assert any("<b>begin</b>" in text and "pass 0, 16 tokens" in text for text in texts)
    assert "an image takes 40 cycles; the array is at work in 80% of them" in panel.says
    assert panel.command == "make sim MODEL=digits CONFIG=16x64"


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", '{"spans": [], "units": []}', '{"spans": [1], "units": [1]}']
)
def test_what_is_not_there_has_its_command(program, folder, text):
    if text is not None:
        (folder / "timeline.json").write_text(text, encoding="utf-8")
    panel = panels(program)["timeline"]
    assert panel.missing
    assert panel.command == "make sim MODEL=digits CONFIG=16x64"


def test_operations_add_up(program, folder):
    panel = panels(program)["operations"]
    (bar,) = panel.figures[0].data
    assert sum(bar.x) == program.cycles
    largest = max(program.operations(), key=lambda each: each.cycles)
    assert panel.says.startswith(f"{largest.name.capitalize()} bounds the rate: {largest.cycles:,} of")


def test_no_operation_is_above_the_roof(program, folder):
    (made,) = panels(program)["roofline"].figures
    machine = program.machine
    roof, dots = made.data
    assert max(roof.y) == machine.lanes * machine.width
    names = ",".join(dots.text).replace("<br>", "")
    assert {*names.split(",")} >= {"queries and keys", "scores", "expand", "reduce"}
    for intensity, rate in zip(dots.x, dots.y, strict=True):
        assert rate <= min(machine.lanes * machine.width, intensity * machine.width) * (1 + 1e-9)


def test_intensity_is_tokens_for_each_weight(program):
    """Each weight is loaded once, and meets every token."""
    tokens = math.prod(PRESETS["digits"].grids[0])
    expand = next(each for each in program.operations() if each.name == "expand")
    assert expand.bit_macs == tokens * cycles.loaded_bits(program, "expand")
