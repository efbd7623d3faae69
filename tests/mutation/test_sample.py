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
def campaign():
    """The results of the last one, which know the tests that notice most mutants."""
    return Results(RESULTS)


# By a digest of the name: a file that is new replaces one of the sample at most.
SAMPLE = sorted(filter(places, files()), key=lambda path: sha256(path.encode()).digest())[:COUNT]


@pytest.mark.parametrize("path", SAMPLE)
def test_a_mutant_is_noticed(path, tree, campaign):
    mutant = min(places(path), key=lambda mutant: rank(SEED, path, mutant))
    tree.baseline |= dict.fromkeys(benches(path), 60.0)  # they are tests themselves: not once more without it
    result = outcome(tree, path, mutant, "", last=campaign.killer(path, mutant))
    assert result.outcome in KILLERS, mutant
    # A test that fails anyway in a copy of the tree would notice everything.
    if "::" in result.test:
        tree.measure((result.test,))
    else:
        tree.baseline.pop(benches(path)[0])
        tree.measure(benches(path)[0])
