"""`make sim` as a person meets it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import preset
from haarlequin.sim import run
from haarlequin.sim.faults import FAULTS
from haarlequin.sim.simulate import Expected, Outcome, Result
from haarlequin.sim.timeline import TraceError
from haarlequin.sim.workload import Workload, workload
from haarlequin.sw.targets import compile_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

BROKEN = [
    ("digits", "weight", "layers.2."),
    ("digits", "threshold", "layers.2."),
    ("digits", "shift", "layers.2."),
    ("cifar10-hybrid", "weight", "layers.4."),
    ("cifar10-hybrid", "threshold", "layers."),
    ("cifar10-hybrid", "shift", "layers.4."),
    ("cifar10-hybrid", "edge", "layers.4."),
    ("cifar10-hybrid", "merge", "layers.6.merge."),
    ("cifar10-hybrid", "border", "embedding"),
]
"""A model, a fault in its tables or its program, and where that is: in the middle layer if possible."""


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    """Whose build/sim the simulators are in."""
    monkeypatch.chdir(ROOT)


def test_digits_pass(capsys):
    run.main(["--model", "digits", "--images", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "PASS digits: 3/3 images bit-exact, top-1 3/3, 4918 cycles/image"
    assert sum("bit-exact (164,938 values)" in line for line in lines) == 3
    summary = json.loads(Path("build/sim/digits/summary.json").read_text())
    expected = {"model": "digits", "config": "16x64", "images": 3, "bit_exact": 3, "top1": 3}
    expected |= {
        "cycles_per_image": 4918,
        "ideal_cycles": 3776,
        "utilisation": 0.7678,
        "result_interval": 4918,
    }
    assert summary.items() >= expected.items()
    assert set(summary) == {*expected, "wall_s", "sim_cycles_per_s"}
    made = json.loads(Path("build/sim/digits/timeline.json").read_text())
    assert (made["image"], made["cycles"]) == (1, 4918)


@pytest.mark.parametrize("error", [None, TraceError("no events")])
def test_a_trace_that_is_not_in_order_makes_the_command_fail(error, monkeypatch, tmp_path, capsys):
    def told(*_):
        if error:
            raise error
        return ["timeline: wrong", "timeline: more"]

    monkeypatch.setattr(run.timeline, "timeline", lambda *_: {})
    monkeypatch.setattr(run.timeline, "faults_of", told)
    path = tmp_path / "timeline.json"
    path.write_text("of an earlier run")
    digits = workload("digits", [], 1)
    program = compile_model(digits.model, CONFIGS["16x64"], check=False)
    assert not run._write_timeline(digits, program, Outcome([], {}, late=0, cycles=1), path)
    assert not path.exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines == (["timeline: no events"] if error else ["timeline: wrong", "timeline: more"])


def test_a_scalar_machine_has_no_timeline(tmp_path, capsys):
    path = tmp_path / "timeline.json"
    path.write_text("of an array")
    program = SimpleNamespace(machine=CONFIGS["scalar"])
    assert run._write_timeline(None, program, Outcome([], {}, late=0, cycles=1), path)
    assert not path.exists()
    assert capsys.readouterr().out == "timeline: none, because scalar has no passes\n"


def test_digits_and_drawings_pass_where_nothing_is_asked_for(capsys):
    run.main(["--images", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("PASS")] == [
        "PASS digits: 2/2 images bit-exact, top-1 2/2, 4918 cycles/image",
        "PASS cifar10-hybrid: 2/2 images bit-exact, top-1 2/2, 19194 cycles/image",
    ]
    assert any("trained weights, 2 drawings" in line for line in lines)


@pytest.mark.parametrize("fault", ["edge", "merge", "border"])
def test_a_fault_that_a_model_has_no_part_for_is_refused(fault, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--model", "digits", "--fault", fault, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_fault_is_tried():
    assert {fault for _, fault, _ in BROKEN} == set(FAULTS) - {"saturation"}


@pytest.mark.parametrize("failing", ["digits", "cifar10-hybrid"])
def test_one_model_of_two_that_fails_makes_the_command_fail(failing, monkeypatch):
    ran = []

    def one(_arguments, model):
        ran.append(model)
        return model != failing

    monkeypatch.setattr(run, "_run", one)
    with pytest.raises(SystemExit) as stop:
        run.main([])
    assert stop.value.code == 1
    assert ran == list(run.SHOWN)


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["--config", "2x64"], "digits"),
        (["--set", "layers=1"], "digits"),
        (["--fault", "weight"], "digits"),
        (["--model", "cifar10-nano"], "cifar10-nano"),
    ],
)
def test_who_asks_for_something_gets_one_model(arguments, ran, monkeypatch):
    monkeypatch.setattr(run, "_run", lambda _arguments, model: model == ran)
    run.main(arguments)


@pytest.mark.parametrize(("model", "fault", "where"), BROKEN)
def test_a_fault_in_the_words_is_seen_where_it_is(model, fault, where, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["--model", model, "--config", "16x64", "--images", "2", "--fault", fault])
    assert stop.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"FAIL {model}: 0/2" if fault != "threshold" else f"FAIL {model}: ")
    first = next(line for line in lines if "DIFFERS" in line)
    assert f"DIFFERS: {where}" in first
    assert "token" in first
    assert "expected" in first
    assert "got" in first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "letters"], "unknown preset 'letters'"),
        (["--config", "3x3"], "unknown accelerator '3x3'"),
        (["--model", "nothing.onnx"], "nothing.onnx: no such file"),
        (["--model", "README.md"], "unknown preset 'README.md'"),
        (
            ["--model", "deit-tiny-224", "--config", "16x64", "--set", "layers=1"],
            "deit-tiny-224 is too large for 16x64",
        ),
        (["--set", "layers=0"], "layers must be an integer from 1"),
        (["--model", "some.onnx", "--set", "layers=1"], "an ONNX file has its configuration"),
        (["--data", ".", "--set", "layers=1"], "--data is for trained models, and digits has random weights"),
        (["--data", "."], "digits comes with scikit-learn: leave --data out"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main([*arguments, "--out", str(tmp_path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    "arguments", [["--images", "0"], ["--gaps", "16"], ["--stalls", "-1"], ["--fault", "fire"]]
)
def test_an_argument_out_of_range(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(arguments)
    assert stop.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_an_onnx_file_on_the_machine_it_fits(tmp_path, capsys):
    path = tmp_path / "mine.onnx"
    model = preset("digits").with_(name="mine", layers=1, hfsc=False, irprelu=False, mlp_ratio=2)
    save(export(freeze(random_model(model, 0))), path)
    run.main(["--model", str(path), "--config", "16x64", "--gaps", "3", "--stalls", "5"])
    assert capsys.readouterr().out.splitlines()[-1].startswith("PASS mine: 1/1 images bit-exact, ")


def test_lines_of_a_network_of_masks(capsys):
    """In place of a label and of top-1 it says the share of each class, also where there are true masks."""
    config = preset("digits").with_(name="masks", classes=("a", "b", "c"), segmentation=True)
    model = SimpleNamespace(config=config)
    program = SimpleNamespace(model=model, machine=CONFIGS["16x64"], cycles=7)
    logits = np.eye(3, dtype=np.int64)[[2] * 8 + [0] * 4 + [2] * 4]
    what = Workload("masks", model, np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8), np.uint8), "by hand")
    expected = [Expected({"logits": logits[None]}, 0)] * 2
    right = logits.argmax(-1).tolist()
    results = [Result(right, 7, 0, done, None) for done in (10, 20)]
    results[1] = replace(results[1], logits=[*right[:5], 1, *right[6:]])
    outcome = Outcome(results, {}, late=0, cycles=30)
    assert run._report_images(what, program, expected, outcome) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == "image 0: predicted c 75.0%, a 25.0%, 7 cycles, bit-exact (48 values)"
    assert second.startswith("image 1: predicted c 68.8%, a 25.0%, b 6.2%, 7 cycles, DIFFERS: ")
    assert "token 5" in second
    assert run._summary(what, program, outcome, 1, 1.0, 1.0)["top1"] is None


def test_an_interrupt_is_one_line(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "workload", interrupted)
    with pytest.raises(SystemExit) as ended:
        run.main([])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted: a simulator that was built is kept\n"
