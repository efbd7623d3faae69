"""`make bench` as a person meets it; what takes minutes is replaced."""

import json

import pytest

from haarlequin.__main__ import main
from haarlequin.hw.boards import BOARDS
from haarlequin.models.common.errors import UsageError
from haarlequin.sim.benchmark import boards, report
from haarlequin.sim.benchmark.boards import BoardFigures
from haarlequin.sim.benchmark.computer import ComputerFigures, Differs
from haarlequin.sim.benchmark.figure import Figure, Mark
from haarlequin.sim.benchmark.simulator import NotBuilt, SimulatorFigures
from haarlequin.sw.bitstream import BuildError
from haarlequin.sw.verilated.build import SimulationError
from tests.sim.benchmark import summaries

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    """An empty build folder."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "build"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "build"


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """Figures at once. A test may put a function in place of one of them, by its name."""
    made = {
        "board": lambda target, found, model: BoardFigures(
            target.name,
            found["part"],
            model,
            found["config"],
            [Figure("array_images_per_second", "images/s, array", 10.0, "10", Mark(4000.0))],
            {"scores": (5, 0.5)},
        ),
        "simulator": lambda model, build: SimulatorFigures(model, "16x64", 2, []),
        "computer": lambda model, arrays: ComputerFigures(model, {"golden": 20.0}, arrays),
        "make": lambda target: pytest.fail("it builds"),
    }
    monkeypatch.setattr(boards, "figures_of", lambda *what: made["board"](*what))
    monkeypatch.setattr(report.simulator, "figures_of", lambda *what: made["simulator"](*what))
    monkeypatch.setattr(report.computer, "figures_of", lambda *what: made["computer"](*what))
    monkeypatch.setattr(report, "make", lambda target: made["make"](target))
    return made


def run(capsys, *arguments):
    """(exit code, stdout, stderr) of the command."""
    code = 0
    try:
        main(["benchmark", *map(str, arguments)])
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()


def written(build):
    return json.loads((build / "bench.json").read_text(encoding="utf-8"))


def fails(error):
    def fail(*what):
        raise error

    return fail


def test_what_is_built_is_shown_and_what_is_not_gets_its_command(build, capsys):
    summaries.write(build, "ulx3s-25f")
    code, said, errors = run(capsys)
    assert (code, errors) == (0, "")
    lines = said.splitlines()
    assert "ulx3s-25f: ULX3S, LFE5U-25F" in lines
    assert any("images/s, array" in line and line.endswith("≥ 4,000: missed") for line in lines)
    others = [name for name in BOARDS if name != "ulx3s-25f"]
    for name in others:
        assert f"{name}: no bitstream here: make bitstream BOARD={name}" in lines
    assert lines[-1] == "build/bench.json: all of it as JSON"
    found = written(build)
    assert found["missing"] == [f"make bitstream BOARD={name}" for name in others]
    assert list(found["boards"]) == ["ulx3s-25f"]
    figures = found["boards"]["ulx3s-25f"]["cifar10-hybrid"]["figures"]
    assert figures["array_images_per_second"]["mark"] == {"at_least": 4000.0, "met": False}
    operations = found["boards"]["ulx3s-25f"]["cifar10-hybrid"]["operations"]
    assert operations == {"scores": {"cycles": 5, "busy": 0.5}}


def test_by_default_the_models_of_the_boards_and_that_of_the_marks(build, capsys):
    assert run(capsys)[0] == 0
    models = {"digits", "cifar10-hybrid", "cifar10-hybrid-large", "cifar10-tiny"}
    assert written(build)["simulator"].keys() == written(build)["computer"].keys() == models


def test_a_model_on_this_computer_is_beside_the_arrays_that_have_it(build, capsys):
    summaries.write(build, "ulx3s-25f")
    summaries.write(build, "icebreaker")
    run(capsys)
    of = {model: each["ways"]["golden"]["of"] for model, each in written(build)["computer"].items()}
    assert of["cifar10-hybrid"] == {"golden": 1.0, "ulx3s-25f": 2.0}
    assert of["digits"] == {"golden": 1.0, "icebreaker": 2.0}
    assert of["cifar10-tiny"] == {"golden": 1.0}


def test_some_boards_and_models_into_another_file(build, tmp_path, capsys):
    for name in ("ulx3s-25f", "ulx3s-85f", "icebreaker"):
        summaries.write(build, name)
    path = tmp_path / "some" / "file.json"
    arguments = ["--board", "ulx3s-25f", "--board", "ulx3s-85f", "cifar10-nano", "--json", path]
    assert run(capsys, *arguments)[0] == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    models = {name: list(each) for name, each in found["boards"].items()}
    assert models == {"ulx3s-25f": ["cifar10-nano"], "ulx3s-85f": ["cifar10-nano"]}
    assert list(found["simulator"]) == list(found["computer"]) == ["cifar10-nano"]
    assert not (build / "bench.json").exists()


def test_a_model_that_does_not_fit_a_board_is_said_and_the_rest_goes_on(build, fakes, capsys):
    summaries.write(build, "icebreaker")
    fakes["board"] = fails(UsageError("too large"))
    code, _, errors = run(capsys, "--board", "icebreaker", "cifar10-tiny")
    assert (code, errors) == (0, "icebreaker: too large\n")
    assert list(written(build)["computer"]) == ["cifar10-tiny"]


def test_a_simulator_that_is_missing_gets_its_command(build, fakes, capsys):
    summaries.write(build, "icebreaker")
    fakes["simulator"] = fails(NotBuilt("make sim MODEL=digits CONFIG=16x64"))
    code, said, _ = run(capsys, "--board", "icebreaker", "digits")
    assert code == 0
    assert "simulator for digits: not built here: make sim MODEL=digits CONFIG=16x64" in said.splitlines()
    assert written(build)["missing"] == ["make sim MODEL=digits CONFIG=16x64"]


def test_build_builds_what_is_missing_and_nothing_else(build, fakes, capsys):
    summaries.write(build, "icebreaker")
    asked, simulated = [], []
    fakes["make"] = lambda target: asked.append(target.name) or summaries.write(build, target.name)
    fakes["simulator"] = lambda model, build: simulated.append(build) or SimulatorFigures(model, "", 2, [])
    assert run(capsys, "--build", "--board", "icebreaker", "--board", "ulx3s-25f", "digits")[0] == 0
    assert (asked, simulated) == (["ulx3s-25f"], [True])
    assert list(written(build)["boards"]) == ["icebreaker", "ulx3s-25f"]
    assert written(build)["missing"] == []


def test_a_build_that_fails_is_an_error_at_the_end(build, fakes, capsys):
    """A board that misses its clock has figures all the same; everything else is measured and written."""

    def miss(target):
        summaries.write(build, target.name, met=False)
        raise BuildError(f"{target.name} misses 60 MHz")

    fakes["make"] = miss
    fakes["simulator"] = fails(UsageError("there is no Verilator"))
    code, _, errors = run(capsys, "--build", "--board", "ulx3s-25f", "digits")
    said = "error: not everything could be built: ulx3s-25f misses 60 MHz; there is no Verilator"
    assert (code, errors.splitlines()[-1]) == (2, said)
    assert list(written(build)["boards"]) == ["ulx3s-25f"]
    assert list(written(build)["computer"]) == ["digits"]


@pytest.mark.parametrize("part", ["simulator", "computer"])
@pytest.mark.parametrize("error", [SimulationError, Differs])
def test_another_result_than_the_golden_models_is_exit_code_1(fakes, capsys, part, error):
    fakes[part] = fails(error("image 0 differs"))
    code, _, errors = run(capsys, "--board", "icebreaker", "digits")
    assert (code, errors) == (1, "error: image 0 differs\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--board", "x"], "unknown board 'x': there are ecpix5-85f, "),
        (["cifar11"], "unknown preset 'cifar11': the presets are digits, "),
        (["--train", "cifar11"], "unknown preset 'cifar11'"),
        (["--json", "."], "--json writes a file: . is a folder"),
    ],
)
def test_one_line_says_what_is_wrong(capsys, arguments, error):
    code, said, errors = run(capsys, *arguments)
    assert (code, said) == (2, "")
    assert errors.startswith(f"error: {error}")
    assert errors.count("\n") == 1


def test_training_is_timed_in_both_phases_each_way(monkeypatch, capsys):
    monkeypatch.setattr("haarlequin.models.training.step.compile_blocks", lambda model, on=True: None)
    code, said, _ = run(capsys, "digits", "--train", "--batch", "8", "--seconds", "0.1", "--device", "cpu")
    lines = said.splitlines()
    assert code == 0
    assert [line.partition(": ")[0] for line in lines] == [
        "digits, Brevitas' quantisers",
        "digits, plain functions",
        "digits, compiled blocks",
    ]
    for line in lines:
        rates = line.partition(": ")[2].removesuffix(" images/s").split(", ")
        assert [rate.split()[0] for rate in rates] == ["float", "deploy"]
        assert all(int(rate.split()[1]) > 0 for rate in rates)
