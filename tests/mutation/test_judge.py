"""The judge: a mutant is killed by the test that fails, survives tests that pass, and does not hang."""

import json
from dataclasses import replace

import pytest

from tests.mutation import fork_server, judge
from tests.mutation.__main__ import outcome
from tests.mutation.judge import BrokenBench, Tree
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.results import MISSED, Result, Results, table

BENCH = ("tests/models/arithmetic/test_shortcut.py",)
PATH = "models/arithmetic/shortcut.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("tree"), {})
    yield tree
    tree.stop()


def source(tree):
    return (tree.folder / PATH).read_text(encoding="utf-8")


def test_a_mutant_is_killed_by_a_test_and_the_tree_is_whole_again(tree):
    before = source(tree)
    broken = before.replace("[x] * repeats", "[-x] * repeats")
    assert broken != before
    verdict = tree.judge(PATH, broken, BENCH)
    assert verdict.failed.startswith(BENCH[0])
    assert source(tree) == before


def test_what_changes_nothing_survives(tree):
    verdict = tree.judge(PATH, source(tree) + "\n# nothing\n", BENCH)
    assert (verdict.failed, verdict.timed_out) == ("", False)


def test_what_cannot_be_loaded_is_said_to_be_so(tree):
    assert tree.judge(PATH, "1 / 0\n", BENCH).failed == "import"


def test_a_hang_survives_unless_the_bench_has_a_limit(tree, monkeypatch):
    monkeypatch.setattr(judge, "LEAST", 1.0)
    tree.baseline[BENCH] = 1.0
    verdict = tree.judge(PATH, "while True:\n    pass\n", BENCH)
    assert verdict.timed_out
    assert not verdict.failed


def test_tests_that_fail_anyway_stop_the_campaign(tree):
    (tree.folder / "tests" / "test_red.py").write_text("def test_red():\n    assert False\n")
    with pytest.raises(BrokenBench, match="fails without a mutant"):
        tree.judge(PATH, source(tree), ("tests/test_red.py",))


def test_memory_is_bounded(tree):
    broken = f"rows = bytearray({fork_server.MEMORY})\n{source(tree)}"
    assert tree.judge(PATH, broken, BENCH).failed == "import"


def test_a_test_that_is_gone_does_not_pass(tree):
    assert tree.passes(BENCH)
    assert not tree.passes((f"{BENCH[0]}::test_gone",))


MUTANT = Mutant(1, "number", 0, 1, "1", "2")


def result(key, outcome, tests="now", test=""):
    return Result(PATH, str(MUTANT), key, outcome, test, 1.0, tests)


def test_results_are_kept_and_survivors_meet_new_tests(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.add(result("a", "own bench"))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"path": "half a line')
    next_run = Results(tmp_path / "results.jsonl")
    assert next_run.get(PATH, MUTANT, "a", "other").outcome == "own bench"
    next_run.forget_all_but({(PATH, str(MUTANT))})
    next_run.add(result("a", "survived"))
    again = Results(tmp_path / "results.jsonl")
    assert again.get(PATH, MUTANT, "a", "now").outcome == "survived"
    assert again.get(PATH, MUTANT, "a", "other") is None


def test_an_equivalent_mutant_is_not_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.mutation.results.equivalents", lambda: {(PATH, str(MUTANT)): "the same"})
    results = Results(tmp_path / "results.jsonl")
    results.add(result("a", "survived"))
    assert results.get(PATH, MUTANT, "a", "other").outcome == "survived"
    assert results.get(PATH, MUTANT, "b", "other") is None


def test_of_a_file_that_has_changed_only_the_test_is_known(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.add(result("a", "own bench", test="test_it.py::test_it"))
    assert results.get(PATH, MUTANT, "b", "now") is None
    assert results.killer(PATH, MUTANT).test == "test_it.py::test_it"
    results.add(result("b", "survived"))
    assert results.killer(PATH, MUTANT) is None


def test_the_test_that_noticed_it_last_time_is_asked_first(tree):
    one = next(each for each in mutants(source(tree)) if outcome(tree, PATH, each, "").outcome == "own bench")
    known = outcome(tree, PATH, one, "")
    again = outcome(tree, PATH, one, "", last=known)
    assert (again.outcome, again.test) == (known.outcome, known.test)
    assert (known.test,) in tree.baseline
    gone = replace(known, test=f"{BENCH[0]}::test_gone")
    assert outcome(tree, PATH, one, "", last=gone).test == known.test


def test_results_of_mutants_that_are_drawn_no_more_are_forgotten(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    for path in "bca":
        results.add(replace(result("a", "own bench"), path=path))
    results.forget_all_but({("a", str(MUTANT)), ("b", str(MUTANT))})
    lines = (tmp_path / "results.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["a", "b"]
    assert results.get("c", MUTANT, "a", "now") is None


def test_the_whole_is_asked_for_what_the_own_bench_missed(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.add(result("a", MISSED))
    assert results.get(PATH, MUTANT, "a", "now", own=True).outcome == MISSED
    assert results.get(PATH, MUTANT, "a", "now") is None


def test_the_score_is_of_those_that_differ():
    some = [result("a", "own bench"), result("b", "whole"), result("c", "import"), result("d", "survived")]
    expected = ("4", "1", "1", "1", "1", "0", "75.0 %")
    assert table(some) == [("models/arithmetic", *expected), ("all", *expected)]
