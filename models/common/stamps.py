"""Stamps: whether the outputs of a build stage are unchanged, and made from the inputs that it has now.

A stamp is a small JSON file beside the outputs of a stage. It holds a hash of the inputs, the size and hash
of every output, and facts that the stage adds. A stamp whose outputs are missing, truncated or changed counts
as none, and so does one that cannot be read.
"""

import hashlib
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from haarlequin.models.common.files import write_text


def digest(*inputs: str | bytes | Path) -> str:
    """A hash of texts, bytes and the contents of files, in that order."""
    whole = hashlib.sha256()
    for each in inputs:
        content = each.encode() if isinstance(each, str) else each
        part = _hash_file(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()
        whole.update(part.encode())
    return whole.hexdigest()


def fingerprint(*packages: ModuleType) -> str:
    """A hash of the Python files of some packages, wherever they are installed."""
    roots = [Path(inspect.getfile(package)).parent for package in packages]
    files = [(root, path) for root in roots for path in sorted(root.rglob("*.py"))]
    # Their names begin at the package, so that the hash is the same wherever the clone is.
    named = [(f"{root.name}/{path.relative_to(root).as_posix()}", path) for root, path in files]
    return digest(*(part for pair in named for part in pair))


def write(stamp: Path, inputs: str, outputs: Iterable[Path], **facts) -> None:
    """Write to ``stamp`` that ``outputs`` were made from ``inputs``, a `digest`. The outputs lie beside or
    below the stamp; ``facts`` are anything that JSON holds.
    """
    made = {
        path.relative_to(stamp.parent).as_posix(): [path.stat().st_size, _hash_file(path)] for path in outputs
    }
    content = {"inputs": inputs, "outputs": made, "facts": facts}
    write_text(stamp, json.dumps(content, indent=1) + "\n")


def facts(stamp: Path, inputs: str | None = None, kinds: Mapping[str, type] | None = None) -> dict | None:
    """The facts of a stamp whose outputs are all there and unchanged and, where ``inputs`` is given, were
    made from those; otherwise None. ``kinds`` are types that facts must have, by their names: without them,
    or with others, a stamp counts as none. A float is finite, and an integer that fits one is a float, too.
    """
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))
        if inputs is not None and content["inputs"] != inputs:
            return None
        for name, (size, hashed) in content["outputs"].items():
            path = stamp.parent / name
            # A device has a size of 0, but may have no end.
            if not path.is_file() or path.stat().st_size != size or _hash_file(path) != hashed:
                return None
        found = dict(content["facts"])
        return found if all(_is(found[name], kind) for name, kind in (kinds or {}).items()) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _is(value: object, kind: type) -> bool:
    """Whether ``value`` is of the type ``kind``: a float is any finite number."""
    if kind is float and isinstance(value, int | float) and type(value) is not bool:
        return abs(value) <= sys.float_info.max
    return type(value) is kind


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
