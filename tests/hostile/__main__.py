"""`make hostile`: damaged files for every reader of a stranger's bytes, and a table of what came of them."""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from haarlequin.models.common import ledger
from haarlequin.models.common.cli import command
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from tests.hostile import readers, watched
from tests.hostile.engine import Tally

ORDER = ("read", "accepted", "refused", "messages", "failures", "seconds")


def table(rows: dict[str, dict]) -> str:
    """The counts of every reader, as Markdown."""
    lines = ["| reader | inputs | accepted | refused | distinct messages | failures | seconds |"]
    lines.append("|---|" + "---:|" * len(ORDER))
    for name, row in rows.items():
        cells = [len(row[key]) if key == "messages" else round(row[key]) for key in ORDER]
        lines.append(f"| `{name}` | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    return "\n".join(lines)


class Counts:
    """What hunts have read so far, in `counts.json` of a folder, beside the files that failed."""

    def __init__(self, folder: Path):
        self.folder, self._path = folder, folder / "counts.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, dict] = {}
        if self._path.exists():
            self.rows = json.loads(self._path.read_text(encoding="utf-8"))

    def of(self, name: str) -> dict:
        """The counts of a reader."""
        return self.rows.setdefault(name, {key: [] if key == "messages" else 0 for key in ORDER})

    def add(self, name: str, tally: Tally) -> None:
        """Add what a hunt has read, and keep the files that failed with the reasons."""
        row = self.of(name)
        for key in ("read", "accepted", "refused", "seconds"):
            row[key] = round(row[key] + getattr(tally, key), 3)
        row["failures"] += len(tally.failures)
        row["messages"] = sorted({*row["messages"], *tally.messages})
        for why, data in tally.failures:
            self.keep(name, "failures", data, why)
        write_text(self._path, json.dumps(self.rows, indent=1))

    def keep(self, name: str, kind: str, data: bytes, why: str = "") -> None:
        """Write a file into a folder of that reader."""
        place = self.folder / name / kind
        place.mkdir(parents=True, exist_ok=True)
        path = place / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        if why:
            path.with_suffix(".txt").write_text(why, encoding="utf-8", errors="backslashreplace")
            tqdm.write(f"{name}: {why.strip().splitlines()[-1]:.300}; see {path}", file=sys.stderr)

    def kept(self, name: str) -> list[bytes]:
        """The files that earlier hunts have kept to damage them further."""
        place = self.folder / name / "corpus"
        return [path.read_bytes() for path in sorted(place.iterdir())] if place.exists() else []


def hunt(name: str, wanted: int, counts: Counts, deadline: float) -> None:
    """Go on with a reader until it has read ``wanted`` files, or until the time of ``deadline``."""
    row = counts.of(name)
    before = row["read"]
    with tqdm(desc=name, total=wanted, initial=before, unit=" inputs", disable=None) as bar:

        def tell(report: watched.Report) -> bool:
            counts.add(name, report.tally)
            for data in report.kept:
                counts.keep(name, "corpus", data)
            bar.update(report.tally.read)
            return time.monotonic() < deadline

        if before < wanted:
            watched.hunt(readers.PLACES[name], wanted - before, before, counts.kept(name), tell)


@command(interrupted="the counts are kept, and the same command goes on")
def main(argv: list[str] | None = None) -> None:
    """The command line: exit code 1 where a reader has failed."""
    parser = argparse.ArgumentParser(
        prog="make hostile", description="Damaged files for every reader of a stranger's bytes."
    )
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"some of {', '.join(readers.PLACES)}")
    parser.add_argument("--count", type=int, help="inputs of each reader (default: its own count)")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes; the counts are kept")
    parser.add_argument("--again", action="store_true", help="count from 0")
    arguments = parser.parse_args(argv)
    if unknown := sorted({*arguments.readers} - {*readers.PLACES}):
        parser.error(f"unknown {unknown[0]!r}: there are {', '.join(readers.PLACES)}")
    counts = Counts(build_folder("hostile").absolute())
    deadline = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    names = arguments.readers or list(readers.PLACES)
    for name in names:
        if arguments.again:
            counts.rows.pop(name, None)
        if time.monotonic() < deadline:
            hunt(name, arguments.count or readers.COUNTS[name], counts, deadline)
    rows = {name: counts.of(name) for name in names}
    print(table(rows))
    read, failures = (sum(row[key] for row in counts.rows.values()) for key in ("read", "failures"))
    ledger.write("hostile", "make hostile", not failures, f"{read:,} files, {failures or 'no'} failures")
    sys.exit(1 if any(row["failures"] for row in rows.values()) else 0)


if __name__ == "__main__":
    main()
