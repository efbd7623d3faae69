import pytest

from tests.mutate import MUTATIONS, ROOT


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_would_be_broken_is_there_and_has_tests(name):
    text = (ROOT / "models" / "arithmetic" / f"{name}.py").read_text(encoding="utf-8")
    assert [old for old, _ in MUTATIONS[name] if old not in text] == []
    assert (ROOT / "tests" / "models" / "arithmetic" / f"test_{name}.py").exists()


def test_every_file_of_the_arithmetic_is_broken():
    files = {path.stem for path in (ROOT / "models" / "arithmetic").glob("*.py")}
    assert MUTATIONS.keys() == files - {"__init__"}
