"""The last result of each check, in ``checks/`` of the build folder, for the page of `make report`."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder


@dataclass(frozen=True)
class Entry:
    """The last result of a check."""

    command: str
    """The command that was run."""
    passed: bool
    says: str
    """Its result in a few words, with the counts."""
    finished: str
    """The minute in which it ended, in UTC: 2026-11-30 15:04."""


def write(check: str, command: str, passed: bool, says: str) -> None:
    """Keep a result of the check of that name, in place of the one before it."""
    entry = Entry(command, passed, says, f"{datetime.now(UTC):%Y-%m-%d %H:%M}")
    write_text(build_folder("checks", f"{check}.json"), json.dumps(asdict(entry), indent=1) + "\n")


def read() -> dict[str, Entry]:
    """The results by the names of their checks; what is no result counts as none."""
    found = {}
    folder = build_folder("checks")
    for path in sorted(folder.glob("*.json")):
        try:
            entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        kinds = {"command": str, "passed": bool, "says": str, "finished": str}
        if all(isinstance(getattr(entry, name), kind) for name, kind in kinds.items()):
            found[path.stem] = entry
    return found
