"""A sample of `make mutate`: one mutant of each of some files."""

import random

import pytest

from tests.mutation.__main__ import outcome
from tests.mutation.folders import ROOT, benches, files
from tests.mutation.judge import Tree
from tests.mutation.mutants import mutants
from tests.mutation.results import KILLERS, equivalents, is_equivalent

pytestmark = pytest.mark.slow

SEED, COUNT = 1, 40


def places(path):
    return list(mutants((ROOT / path).read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("tree"), {})
    yield tree
    tree.stop()


@pytest.mark.parametrize(
    "path", random.Random(SEED).sample([each for each in files() if places(each)], COUNT)
)
def test_a_mutant_is_noticed(path, tree):
    mutant = random.Random(f"{SEED} {path}").choice(places(path))
    tree.baseline |= dict.fromkeys(benches(path), 60.0)  # they are tests themselves: not once more without it
    found = outcome(tree, path, mutant, "")
    assert found.outcome in KILLERS or is_equivalent(path, mutant, equivalents()), mutant
