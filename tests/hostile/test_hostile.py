"""A hunt reports every kind of fault, and a seeded sample of every reader has none."""

import json
from importlib import import_module
from random import Random

import pytest

from tests.hostile import __main__ as command
from tests.hostile import watched
from tests.hostile.engine import Hunt
from tests.hostile.mutate import damaged, damaged_json
from tests.hostile.readers import PLACES

pytestmark = pytest.mark.slow

PLANTED = "tests.hostile.planted:"
FAULTS = {
    "UNCHECKED": "struct.error: unpack requires a buffer of 2 bytes",
    "HANGS": "it hangs: nothing in",
    "SLOW": "s of 0.2 s",
    "DIES": "the process died, exit code -6",
    "OUTSIDE": "Written: open of",
    "HERE": "files in the working directory: ['here.db']",
    "STARTS": "Written: os.system",
    "GROWS": "the process has grown from",
    "ALLOCATES": "MemoryError",
    "SWALLOWS": "more than 200 MB of memory, refused as: damaged",
    "LINES": "a message that is not one line: 'damaged:\\nsee above'",
    "TALKS": "a message of 8,000 characters",
    "ACCEPTS": "Wrong: another meaning",
}


@pytest.mark.parametrize(("fault", "said"), FAULTS.items(), ids=FAULTS)
def test_a_planted_fault_is_reported_with_the_file_that_shows_it(fault, said, monkeypatch):
    monkeypatch.setattr(watched, "MOST_FAILURES", 1)
    tally = watched.hunt(PLANTED + fault, 1000, seed=1)
    why, data = tally.failures[0]
    assert said in why
    if fault == "UNCHECKED":
        assert len(data) < 2
    elif fault not in ("GROWS", "HERE"):
        assert len(data) == 3


def test_a_reader_without_faults_has_none():
    tally = watched.hunt(PLANTED + "NONE", 1000, seed=1)
    assert (tally.read, tally.failures) == (1000, [])
    assert tally.accepted > 100
    assert tally.refused > 100


def test_a_hunt_goes_on_after_a_process_that_died():
    tally = watched.hunt(PLANTED + "DIES", 60, seed=1)
    assert tally.read == 60
    assert len(tally.failures) > 1


def test_a_reader_that_refuses_its_own_files_is_no_reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from tests.hostile.planted import ALLOCATES

    hunt = Hunt(ALLOCATES, tmp_path)
    hunt._valid.append(b"\0\7abc")
    with pytest.raises(AssertionError, match=r"valid file 2: .*not as long as it says"):
        hunt.undamaged()


def test_damage_is_the_same_for_the_same_seed():
    texts = [json.dumps({"a": [1, {"b": "c"}], "d": None}).encode()] * 2
    for function in (damaged, damaged_json):
        files = [[function(text, Random(seed), [b"other"]) for seed in range(300)] for text in texts]
        assert files[0] == files[1]
        assert len({*files[0]}) > 200


# The readers


SAMPLES = {"frames": 1500, "checkpoints": 30, "onnx": 20, "archives": 60}
"""Damaged files in a sample, where it is not 200."""


@pytest.mark.parametrize("name", PLACES)
def test_a_sample_of_every_reader(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, _, attribute = PLACES[name].partition(":")
    reader = getattr(import_module(module), attribute)
    assert reader.name == name
    hunt = Hunt(reader, tmp_path, seed=1)
    hunt.undamaged()
    for _, data in zip(range(SAMPLES.get(name, 200)), hunt.files(), strict=False):
        hunt.one(data)
    assert [why for why, _ in hunt.tally.failures] == []
    assert hunt.tally.accepted
    assert hunt.tally.refused


# The command


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A build folder of the test's own, and planted readers in place of the project's."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    monkeypatch.setattr(command.readers, "PLACES", {"good": f"{PLANTED}NONE", "bad": f"{PLANTED}ACCEPTS"})
    monkeypatch.setattr(command.readers, "COUNTS", {"good": 300, "bad": 300})
    return tmp_path / "hostile"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        command.main([*arguments])
    return ended.value.code


def test_counts_are_kept_and_added_to(build, capsys):
    assert run("good", "--count", "100") == 0
    assert "| `good` | 100 |" in capsys.readouterr().out
    kept = list((build / "good" / "corpus").iterdir())
    assert kept
    assert run("good") == 0
    assert "| `good` | 300 |" in capsys.readouterr().out
    assert json.loads((build / "counts.json").read_text(encoding="utf-8"))["good"]["read"] == 300
    assert run("good") == 0
    assert "| `good` | 300 |" in capsys.readouterr().out
    assert run("good", "--again", "--count", "50") == 0
    assert "| `good` | 50 |" in capsys.readouterr().out


def test_time_is_up(build, capsys):
    assert run("good", "--minutes", "0.001", "--count", "1000000") == 0
    assert "| `good` |" in capsys.readouterr().out


def test_a_failure_is_kept_and_is_exit_code_1(build, capsys):
    assert run("bad") == 1
    failures = build / "bad" / "failures"
    (data, *_), (why, *_) = sorted(failures.glob("*[!t]")), sorted(failures.glob("*.txt"))
    assert len(data.read_bytes()) == 3
    assert "Wrong: another meaning" in why.read_text(encoding="utf-8")
    assert "bad: tests.hostile.engine.Wrong: another meaning; see" in capsys.readouterr().err


def test_a_reader_that_is_not_there(build, capsys):
    assert run("ugly") == 2
    assert "unknown 'ugly': there are good, bad" in capsys.readouterr().err
