"""A sample of `make mutate`: one mutant of each of some files."""

from hashlib import sha256

import pytest

from tests.mutation.__main__ import RESULTS, outcome
from tests.mutation.folders import ROOT, benches, files, rank
from tests.mutation.judge import Tree
from tests.mutation.mutants import mutants
from tests.mutation.results import KILLERS, Results, equivalents, is_equivalent

pytestmark = pytest.mark.slow

SEED, COUNT = 1, 40


def places(path):
    """The mutants of a file, but for those that no test can notice."""
    known = equivalents()
    found = mutants((ROOT / path).read_text(encoding="utf-8"))
    return [mutant for mutant in found if not is_equivalent(path, mutant, known)]


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("tree"), {})
    yield tree
    tree.stop()


@pytest.fixture(scope="session")
def noticed(tree):
    """The tests that were asked first, or have noticed a mutant. One that fails anyway in a copy of the tree,
    or is not there any more, would notice everything: at the end they all run without a mutant, at once.
    """
    names: list[str] = []
    yield names
    if names:
        tree.measure(tuple(dict.fromkeys(names)))


@pytest.fixture(scope="session")
def campaign():
    """The results of the last one, which know the tests that notice most mutants."""
    return Results(RESULTS)


# By a digest of the name: a file that is new replaces one of the sample at most.
SAMPLE = sorted(filter(places, files()), key=lambda path: sha256(path.encode()).digest())[:COUNT]


@pytest.mark.parametrize("path", SAMPLE)
def test_a_mutant_is_noticed(path, tree, noticed, campaign):
    mutant = min(places(path), key=lambda mutant: rank(SEED, path, mutant))
    # All of these are tests themselves: not once more before each mutant.
    last = campaign.killer(path, mutant)
    tree.baseline |= dict.fromkeys([*benches(path), *([(last.test,)] if last else [])], 60.0)
    result = outcome(tree, path, mutant, "", last=last)
    assert result.outcome in KILLERS, mutant
    noticed.extend(each for each in (result.test, last.test if last else "") if "::" in each)
    if "::" not in result.test:  # its tests could not be loaded
        tree.baseline.pop(benches(path)[0])
        tree.measure(benches(path)[0])
