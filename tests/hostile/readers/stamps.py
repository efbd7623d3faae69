"""Stamps of what was built: a damaged one counts as none, whatever is in it."""

import json
from pathlib import Path

from haarlequin.models.common import stamps
from haarlequin.models.common.errors import UsageError
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged_json

_OUTPUT = b"a bitstream"


def _corpus(folder: Path) -> list[bytes]:
    (folder / "top.bit").write_bytes(_OUTPUT)
    stamps.write(folder / "stamp", "inputs", [folder / "top.bit"], seconds=1.5, met=True)
    stamps.write(folder / "second", "others", [folder / "top.bit", folder / "stamp"])
    return [(folder / "stamp").read_bytes()]


def _read(data: bytes, folder: Path) -> None:
    """A stamp that counts says what was built: there is only one output, whose size and hash are known."""
    (folder / "top.bit").write_bytes(_OUTPUT)
    (folder / "stamp").write_bytes(data)
    found = stamps.facts(folder / "stamp")
    if found is None:
        raise UsageError("no stamp")
    outputs = json.loads(data)["outputs"]
    if any(Path(folder, name).read_bytes() != _OUTPUT for name in outputs):
        raise Wrong(f"{outputs}")


READER = Reader("stamps", (UsageError,), _corpus, _read, damaged_json, seconds=1, megabytes=256)
