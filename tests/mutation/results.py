"""The outcome of every mutant: a file, with which a campaign goes on where it stopped, and a table."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from haarlequin.models.common.files import write_text
from tests.mutation.folders import ROOT, folder_of
from tests.mutation.mutants import Mutant

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
KILLERS = ("own bench", "whole", "import")
MISSED = "own bench missed it"
"""The outcome of a mutant for which the whole has not been asked."""
COLUMNS = ("folder", "mutants", *(f"killed by {name}" for name in KILLERS), "survived", "equivalent", "score")


@dataclass(frozen=True)
class Result:
    """The outcome of one mutant."""

    path: str
    mutant: str
    key: str
    """A digest of the file as it is when broken."""
    outcome: str
    """One of `KILLERS`, `MISSED`, "survived", or "timeout": longer than it takes without the mutant, and the
    bench has no limit of its own.
    """
    test: str
    """The test that noticed it."""
    seconds: float
    tests: str
    """A digest of the tests; what survived other ones is tried again."""


def digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def tests_digest() -> str:
    """A digest of all tests but those of this folder."""
    paths = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "mutation")
    return digest(*(path.read_text(encoding="utf-8") for path in paths))


class Results:
    """The results of earlier runs and of this one, in a file of one line of JSON for each.

    There is one for each mutant of a file. It counts while the file, when broken, is still the same; after
    that it tells which test is likely to notice the mutant again.
    """

    def __init__(self, file: Path):
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        # A run that was killed may have left half a line.
        rows = [Result(**json.loads(line)) for line in lines if line.endswith("}")]
        self._known = {(row.path, row.mutant): row for row in rows}
        self._equivalent = equivalents()

    def get(self, path: str, mutant: Mutant, key: str, tests: str, own: bool = False) -> Result | None:
        """The result of a mutant, unless it survived other tests than those of now, or not all of them where
        more than a file's ``own`` are asked. One that is equivalent is not asked for again.
        """
        found = self._known.get((path, str(mutant)))
        if not found or found.key != key:
            return None
        if found.outcome in KILLERS:
            return found
        asked = found.tests == tests or is_equivalent(path, mutant, self._equivalent)
        return found if asked and (own or found.outcome != MISSED) else None

    def killer(self, path: str, mutant: Mutant) -> Result | None:
        """The last result of a mutant where one test noticed it, in a file that may have changed since."""
        found = self._known.get((path, str(mutant)))
        return found if found and found.outcome in KILLERS and "::" in found.test else None

    def add(self, result: Result) -> None:
        self._known[result.path, result.mutant] = result
        with self.file.open("a", encoding="utf-8") as file:
            file.write(_line(result))

    def forget_all_but(self, drawn: set[tuple[str, str]]) -> None:
        """Drop what is known of other mutants of files than those, and put the rest in order, so that a
        version control system shows what is new.
        """
        self._known = {each: result for each, result in self._known.items() if each in drawn}
        write_text(self.file, "".join(_line(self._known[each]) for each in sorted(self._known)))


def _line(result: Result) -> str:
    return json.dumps(asdict(result), ensure_ascii=False) + "\n"


def equivalents() -> dict[tuple[str, str], str]:
    """The reason by (file, mutant) for those that no test can kill."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])
    return {(entry["file"], entry["mutant"]): entry["reason"] for entry in entries}


def is_equivalent(path: str, mutant: Mutant | str, known: dict[tuple[str, str], str]) -> bool:
    return (path, str(mutant)) in known


def table(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """Rows of `COLUMNS`, one for each folder and one for all."""
    known, counts = equivalents(), {}
    for result in results:
        outcome = result.outcome if result.outcome in KILLERS else "survived"
        if outcome == "survived" and is_equivalent(result.path, result.mutant, known):
            outcome = "equivalent"
        for folder in (folder_of(result.path), "all"):
            counts.setdefault(folder, Counter())[outcome] += 1
    total = counts.pop("all", Counter())
    return [_row(folder, counter) for folder, counter in [*sorted(counts.items()), ("all", total)]]


def _row(folder: str, counter: Counter[str]) -> tuple[str, ...]:
    killed = [counter[name] for name in KILLERS]
    different = sum(killed) + counter["survived"]
    score = f"{100 * sum(killed) / different:.1f} %" if different else "–"
    numbers = [counter.total(), *killed, counter["survived"], counter["equivalent"]]
    return (folder, *(str(number) for number in numbers), score)
