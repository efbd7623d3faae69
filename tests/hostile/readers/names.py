"""Names and patterns of pictures, as a person or a script gives them to `haarlequin infer`."""

from pathlib import Path
from random import Random

from haarlequin.models.common.errors import UsageError
from haarlequin.sw.images import find
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged

_PARTS = ["*", "**", "?", "a", "b.png", "..", ".", "[a-z]", "[!a]", "[", "*.png", "~", "", "x" * 300, "\x00"]


def _corpus(folder: Path) -> list[bytes]:
    tree = folder.parent / "files"
    for name in ("a/a/a/a/a/b.png", "a/b.png", "a/[a].png", "c/2.png", "c/10.png"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(b"")
    (tree / "a" / "round").symlink_to(tree / "a", target_is_directory=True)
    return [b"a", b"a/*.png", b"**/*.png", b"a/**/b.png", b"[ac]/*", b"a/[[]a].png"]


def _mutate(data: bytes, random: Random, others) -> bytes:
    if random.random() < 0.4:
        return damaged(data, random, others)[:4096]
    parts = data.decode(errors="replace").split("/")
    for _ in range(random.choice((1, 2, 4, 16))):
        parts.insert(random.randrange(len(parts) + 1), random.choice(_PARTS))
    return "/".join(parts).encode()[:4096]


def _read(data: bytes, folder: Path) -> None:
    """Everything that is found is there and below the folder, unless the name leads out of it."""
    name = data.decode(errors="replace")
    if ".." in name or name.startswith(("/", "~")):
        raise UsageError("it leads elsewhere")
    found = find([f"{folder}/{name}"])
    if problems := [each.problem for each in found if each.problem]:
        raise UsageError(problems[0])
    for each in found:
        if not each.path.is_file() or not each.path.is_relative_to(folder):
            raise Wrong(f"{each.path} of {name!r}")


READER = Reader("names", (UsageError,), _corpus, _read, _mutate, seconds=2, megabytes=256)
