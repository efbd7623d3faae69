"""The campaign finds faults that are planted, shrinks them and forgets nothing; a sample of it finds none."""

import importlib
from dataclasses import replace

import pytest

from haarlequin.models.common.places import build_folder
from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import ATTENTION, Stage, Stem
from haarlequin.sim.simulate import simulator
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.targets import compile_model
from tests.differential import __main__ as fuzz
from tests.differential.case import Case, Pair
from tests.differential.compare import Comparisons, faults_of_answers
from tests.differential.draw import batch, random_machine
from tests.differential.record import KINDS, Record
from tests.differential.shrink import shrink
from tests.small_machines import MACHINES

pytestmark = pytest.mark.slow

CASES = sorted(fuzz.CASES.glob("*.json"))


@pytest.fixture
def compare():
    return Comparisons(netlist=False)


def wrong(verdicts):
    return {name: each for name, each in verdicts.items() if any(each)}


def test_what_failed_once_is_equal(compare):
    """There may be none yet."""
    assert {path.stem: found for path in CASES if (found := wrong(compare(Case.load(path))))} == {}


@pytest.mark.parametrize("machine", [MACHINES["4x16"], MACHINES["8x8"], None], ids=["4x16", "8x8", "none"])
def test_a_sample_is_equal(machine, compare):
    case = batch(machine, seed=1000, number=0, pairs=6)
    verdicts = compare(case)
    assert wrong(verdicts) == {}
    assert None not in verdicts["deploy"]
    through = [verdicts[name] for name in ("RTL", "emulator")]
    assert all((None not in each) if machine else not any(each) for each in through)


SMALL = ModelConfig(
    name="random",
    image=(2, 4),
    channels=1,
    mean=(128.0,),
    stem=Stem(1),
    stages=(Stage(ATTENTION, 4, 1, heads=2),),
    classes=("a", "b"),
    theta=1,
)


def test_a_wrong_golden_function_is_found_shrunk_and_replayed(monkeypatch, compare, tmp_path):
    """The low band is rounded up. ONNX has a function of its own; the network and the compiler follow."""
    haar = importlib.import_module("haarlequin.models.arithmetic.haar")
    right = haar.shift_right
    case = Case(None, (Pair(SMALL, 5, (7, 8)),))
    with monkeypatch.context() as patch:
        patch.setattr(haar, "shift_right", lambda value, places: right(value + 3, places))
        (line,) = fuzz.through(compare, case, Record(tmp_path / "record.json"), "none/0", tmp_path)
        (saved,) = tmp_path.glob("onnxruntime-*.json")
        assert line == f"onnxruntime, none/0, pair 0: layers.0.x_lo differs ({saved})"
        again = Case.load(saved)
        assert wrong(compare(again)).keys() == {"onnxruntime"}
    assert wrong(compare(again)) == {}
    (pair,) = again.pairs
    assert (len(pair.images), pair.config.structure, pair.config.stages[0].dim) == (1, "p1 a1x1n", 1)
    assert sorted(pair.config.image) == [1, 2]
    assert len(pair.plain) > len(dict(pair.network.named_parameters())) / 2


def test_faults_of_a_machine_are_found_in_its_rtl():
    """In the tables and in the program of each pair."""
    case = batch(MACHINES["4x16"], seed=1000, number=0, pairs=6)
    assert sum(map(bool, Comparisons("weight", netlist=False)(case, ["RTL"])["RTL"])) >= 3


def test_answers_of_a_device_are_compared_as_those_of_a_netlist():
    """On the RTL, which needs no synthesis: all is equal, and other cycles and saturations are not."""
    machine = MACHINES["4x16"]
    pairs = batch(machine, seed=1000, number=0, pairs=3).pairs
    with LinkDevice(SimulatedLine(simulator(machine, build_folder("sim")))) as device:
        for pair in pairs:
            program, expected = compile_model(pair.golden, machine, check=False), pair.expected
            assert faults_of_answers(device, program, pair.pixels, expected) == []
            other = [replace(one, saturations=one.saturations + 1) for one in expected]
            slower = replace(program, cycles=program.cycles + 1)
            found = faults_of_answers(device, slower, pair.pixels, other)
            assert [line.split(": ")[1] for line in found[:2]] == ["cycles", "saturations"]


def test_a_pair_that_fails_only_after_another_keeps_it():
    """A machine that a model leaves in another state."""
    pairs = batch(None, seed=1, number=0, pairs=9).pairs
    guilty, victim = pairs[3], pairs[8]

    def fails(cases):
        return (guilty in case.pairs and case.pairs[-1].constants == victim.constants for case in cases)

    found = shrink(Case(None, pairs), fails)
    assert found.pairs[0] == guilty
    assert [len(found.pairs), found.pairs[1].config.dim] == [2, 1]


def test_a_new_machine_is_written_whole(tmp_path):
    machine = random_machine("0/1")
    case = replace(batch(machine, 0, 0, pairs=1), gaps=3)
    (tmp_path / "case.json").write_text(case.to_json(says="ß"), encoding="utf-8")
    assert Case.load(tmp_path / "case.json") == case


@pytest.fixture
def few(monkeypatch, tmp_path):
    """Three batches of one pair, on no machine; returns how to call the command."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    monkeypatch.setattr(fuzz, "RECORDS", tmp_path)
    monkeypatch.setattr(fuzz, "units", lambda seed: ((None, number) for number in range(3)))
    return lambda *arguments: fuzz.main(["--pairs", "1", *arguments])


def counted(capsys):
    """The last row of the table: the pairs that went through the golden model."""
    *_, row, says = capsys.readouterr().out.splitlines()
    count = int(row.split()[1 + len(KINDS)])
    assert says == f"{count} pairs, {count} of them with the sources as they are; no failures"
    return count


def test_what_is_done_is_not_done_again(few, monkeypatch, capsys):
    few()
    assert counted(capsys) == 3
    monkeypatch.setattr(fuzz, "through", pytest.fail)
    few()
    few("--report")
    assert counted(capsys) == 3


def test_pairs_of_other_sources_are_counted_apart(few, tmp_path, capsys):
    few()
    record = Record(tmp_path / "seed-0.json")
    record.batches["none/1"]["sources"] = "others"
    assert record.says == "3 pairs, 2 of them with the sources as they are; no failures"


def test_an_interruption_ends_with_the_count(few, monkeypatch, capsys):
    def until(compare, case, record, name, folder):
        if name == "none/2":
            raise KeyboardInterrupt
        return through(compare, case, record, name, folder)

    through = fuzz.through
    monkeypatch.setattr(fuzz, "through", until)
    with pytest.raises(SystemExit) as stop:
        few()
    assert stop.value.code == 130
    assert counted(capsys) == 2
