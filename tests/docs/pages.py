"""The pages of the project, taken apart: blocks of commands, tables, links, and names of files."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))

PROGRAMS = ("make", "haarlequin", "python", "torchrun", ".venv/bin/haarlequin", ".venv/bin/python")
"""First words of commands, in blocks that are indented and may be something else."""


@dataclass(frozen=True)
class Command:
    """A command of a page, by its words, and where it is."""

    page: Path
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}: {shlex.join(self.words)}"


def text(page: Path) -> str:
    """The whole page."""
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """Number of the first line, and text, of each fenced block in that language."""
    content = text(page)
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", content, re.MULTILINE | re.DOTALL):
        yield content.count("\n", 0, found.start(1)) + 1, found[1]


def commands(page: Path) -> list[Command]:
    """Every line of its blocks of commands: fenced ones in ``sh``, and indented lines that begin with one of
    `PROGRAMS`.
    """
    found = []
    for first, block in blocks(page, "sh"):
        for number, line in enumerate(block.splitlines(), first):
            if line.strip():
                found.append(Command(page, number, tuple(shlex.split(line, comments=True))))
    for number, line in enumerate(_without_fenced(text(page)).splitlines(), 1):
        if line.startswith("    ") and line.split()[0:1] and line.split()[0] in PROGRAMS:
            found.append(Command(page, number, tuple(shlex.split(line, comments=True))))
    return found


def _without_fenced(content: str) -> str:
    """The same number of lines, those of fenced blocks empty."""
    return re.sub(r"^```.*?^```$", lambda found: "\n" * found[0].count("\n"), content, flags=re.M | re.S)


def tables(page: Path) -> list[list[str]]:
    """The lines of each table."""
    found: list[list[str]] = [[]]
    for line in text(page).splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def links(page: Path) -> list[str]:
    """Where its links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", text(page))


def anchors(page: Path) -> set[str]:
    """The names that a link may have after #, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def names(page: Path) -> set[str]:
    """All that is in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", text(page)))
