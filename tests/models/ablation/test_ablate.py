import json
import shlex

import pytest
from PIL import Image

from haarlequin.models.ablation import ablate
from haarlequin.models.ablation.trial import Trial
from haarlequin.sw.ablate import main

pytestmark = pytest.mark.slow

SMALL = ["--preset", "digits", "--set=layers=1", "--set=dim=8", "--set=mlp_ratio=1", "--images=64"]
STUDY = [*SMALL, "--epochs=1", "--seeds=2", "--only", "full", "pre-norm"]


def results(folder):
    files = folder.glob("*/result.json")
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8"))["accuracy"] for file in files}


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    return error


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    main([*STUDY, "--out", str(folder)])
    return folder


def test_a_study_leaves_a_table_a_plot_and_a_result_a_trial(study):
    names = {f"{cell}-{seed}" for cell in ("full", "pre-norm") for seed in (0, 1)}
    assert results(study).keys() == names
    assert {path.name for path in study.iterdir()} == names | {"table.md", "table.csv", "plot.png"}
    table = (study / "table.md").read_text(encoding="utf-8")
    assert table.count("\n| full | ") == table.count("\n| pre-norms | ") == 1
    assert "`haarlequin ablate --preset digits --set=layers=1 --set=dim=8 " in table
    assert "--epochs 1 --deploy-epochs 1 --seeds 2`" in table
    assert "64 training images" in table
    assert "4 of 30 trials are finished" in table
    with Image.open(study / "plot.png") as picture:
        assert picture.width > 600


def test_the_first_seeds_of_all_cells_come_first(study, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(Trial, "train", lambda self, *_: order.append(self.name) or False)
    monkeypatch.setattr(ablate.Stop, "__call__", lambda self: setattr(self, "why", "time is up"))
    for _ in range(2):
        main([*STUDY, "--out", str(tmp_path)])
    assert order == ["full, seed 0"] * 2
    trials = [trial.name for trial in _trials(tmp_path, monkeypatch)]
    assert trials == ["full, seed 0", "pre-norm, seed 0", "full, seed 1", "pre-norm, seed 1"]


def _trials(folder, monkeypatch):
    found = []
    monkeypatch.setattr(ablate, "_train", lambda study, trials, *_: found.extend(trials))
    main([*STUDY, "--out", str(folder)])
    return found


def test_what_is_finished_is_not_trained_again(study, capsys, monkeypatch):
    monkeypatch.setattr(Trial, "train", lambda *_: pytest.fail("trained again"))
    before = (study / "table.md").read_text(encoding="utf-8")
    main([*STUDY, "--out", str(study)])
    assert capsys.readouterr().out == before


def test_a_report_trains_nothing(study, capsys, monkeypatch):
    monkeypatch.setattr(Trial, "train", lambda *_: pytest.fail("trained"))
    (study / "table.csv").unlink()
    main([*STUDY, "--seeds=3", "--report", "--out", str(study)])
    assert "4 of 45 trials are finished" in capsys.readouterr().out
    assert (study / "table.csv").exists()


class StopAfter(ablate.Stop):
    """As a Ctrl-C would after that many times of being asked."""

    asked = 0

    def __call__(self):
        type(self).asked += 1
        if self.asked == 5:
            self.why = "interrupted"
        return super().__call__()


def test_an_interrupted_study_says_how_to_go_on_and_does(study, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ablate, "Stop", StopAfter)
        error = refused(capsys, *STUDY, "--out", str(tmp_path))
    assert error.startswith("error: interrupted, 1 of 4 trials finished, all of it saved; go on with: ")
    assert results(tmp_path).keys() == {"full-0"}
    command = shlex.split(error.partition("go on with: ")[2])
    assert command[:2] == ["haarlequin", "ablate"]
    main(command[2:])
    assert results(tmp_path) == results(study)


@pytest.mark.parametrize(("options", "jobs"), [(["--jobs=3"], 3), (["--jobs=9"], 4)])
def test_jobs_are_no_more_than_there_is_to_do(tmp_path, capsys, monkeypatch, options, jobs):
    asked = []
    monkeypatch.setattr(ablate, "at_once", lambda trials, read, computer, jobs, *_: asked.append(jobs) or [])
    monkeypatch.setattr(ablate.Stop, "__init__", lambda self, _: setattr(self, "why", "interrupted"))
    monkeypatch.setattr(ablate.Stop, "restore", lambda _: None)
    assert "interrupted, 0 of 4 trials" in refused(capsys, *STUDY, *options, "--out", str(tmp_path))
    assert asked == [jobs]


def test_a_study_comes_in_pieces(tmp_path, capsys):
    main([*STUDY, "--minutes=0", "--out", str(tmp_path)])
    assert "time is up, 0 of 4 trials finished, all of it saved; go on with: " in capsys.readouterr().out


def test_another_study_needs_another_folder(study, capsys):
    error = refused(capsys, *STUDY, "--deploy-epochs=2", "--out", str(study))
    assert "was trained with other settings or images: choose another --out, or delete it" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "letters"], "unknown preset 'letters': the presets are digits, cifar10-nano"),
        (["--preset", "cifar10-nano"], "is trained on images: say where they are with --data DIR"),
        (["--preset", "digits", "--only", "no-head"], "no cell 'no-head': the cells are full, no-diba"),
        (["--preset", "digits", "--set=pre_norm=true"], "pre_norm is of the float phase only"),
        (["--preset", "digits", "--jobs=0"], "--jobs and --seeds must be at least 1"),
        (["--preset", "digits", "--seeds=0"], "--jobs and --seeds must be at least 1"),
        (["--preset", "digits", "--epochs=0"], "epochs must lie within 1 to 1e+06, not 0"),
        (["--preset", "digits", "--deploy-epochs=-1"], "deploy_epochs must lie within 0 to 1e+06, not -1"),
        (["--preset", "digits", "--device=abacus"], "no device 'abacus' here"),
        (["--preset", "digits", "--report"], "nothing is finished in"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, message):
    assert message in refused(capsys, *arguments, "--out", str(tmp_path / "study"))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("options", "epochs"), [([], (150, 40)), (["--epochs=30"], (30, 8)), (["--epochs=1"], (1, 1))]
)
def test_deploy_mode_keeps_its_share(options, epochs):
    recipe = ablate._recipe(ablate._arguments(["--preset=digits", *options]))
    assert (recipe.epochs, recipe.deploy_epochs) == epochs
