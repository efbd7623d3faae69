"""Links, headings, files, modules, classes and messages: whatever a page names must exist."""

import ast
import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, names, text

PARTS = ("hw", "models", "sim", "sw")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
SOURCES = {path: path.read_text(encoding="utf-8") for part in PARTS for path in (ROOT / part).rglob("*.py")}


def broken_links(page: Path, found: list[str]) -> list[str]:
    """The links that lead to no file of the checkout, or to no heading of its page."""
    broken = []
    for link in found:
        if link.startswith(("https://", "http://")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (heading and heading not in anchors(target)):
            broken.append(link)
    return broken


@each_page
def test_links_lead_somewhere(page):
    assert broken_links(page, links(page)) == []


def test_a_broken_link_is_noticed():
    readme = ROOT / "README.md"
    bad = ["docs/no.md", "docs/figures.md#no-such-heading", "#nor-this"]
    assert broken_links(readme, [*bad, "docs/figures.md#density"]) == bad


def missing_files(found: set[str]) -> list[str]:
    """The names that look like files or folders of the checkout and are none."""
    paths = {
        name for name in found if re.fullmatch(rf"({'|'.join((*PARTS, 'tests', 'docs'))})/[\w./*-]*", name)
    }
    return sorted(name for name in paths if not any(ROOT.glob(name.rstrip("/") or ".")))


@each_page
def test_files_that_a_page_names_exist(page):
    """In backquotes, and at the beginning of a line of a listing."""
    listed = re.findall(r"^ {4}(\S+/\S*?),?(?: |$)", text(page), re.MULTILINE)
    assert missing_files(names(page) | set(listed)) == []


def test_a_file_that_is_not_there_is_noticed():
    assert missing_files({"hw/layers.py", "hw/lanes/layers.py", "tests/", "models/zoo/*/card.json"}) == [
        "hw/layers.py"
    ]


def module_exists(name: str) -> bool:
    """Whether ``haarlequin.…`` is a package, a module, or something that the package itself has."""
    parts = name.split(".")[1:]
    path = ROOT.joinpath(*parts)
    top = SOURCES[ROOT / "sw" / "haarlequin" / "__init__.py"]
    return path.is_dir() or path.with_suffix(".py").is_file() or (len(parts) == 1 and f'"{parts[0]}"' in top)


@each_page
def test_modules_that_a_page_names_exist(page):
    found = set(re.findall(r"\bhaarlequin(?:\.[a-z_]\w*)+", text(page)))
    assert sorted(name for name in found if not module_exists(name)) == []


def test_a_module_that_is_not_there_is_noticed():
    assert module_exists("haarlequin.hw.config")
    assert module_exists("haarlequin.load")
    assert not module_exists("haarlequin.hw.layers")
    assert not module_exists("haarlequin.sw.resolved")
    assert not module_exists("haarlequin.unload")


def undefined(found: set[str]) -> list[str]:
    """The names that may be of a class, a function or a field, and that no source defines."""
    whole = "\n".join(SOURCES.values())
    missing = []
    for name in found:
        match = re.fullmatch(r"([A-Z][a-z]\w*|[A-Z]+[a-z]\w*|[a-z]+_[a-z_]+)(?:\.(\w+))?", name)
        for word in filter(None, match.groups() if match else ()):
            if not re.search(rf"^\s*(?:(?:class|def) {word}\b|{word}: )", whole, re.MULTILINE):
                missing.append(name)
    return sorted(missing)


TIMM = {"patch_embed", "pos_embed", "embed_dim", "num_heads"}
"""Names of the field that the glossary sets beside ours."""


def test_what_the_glossary_names_is_defined():
    assert undefined(names(ROOT / "docs" / "glossary.md") - TIMM) == []


def test_a_name_that_is_not_defined_is_noticed():
    assert undefined({"GoldenModel", "SilverModel", "haar_split", "haar_join", "ModelConfig.beta_zero"}) == [
        "ModelConfig.beta_zero",
        "SilverModel",
        "haar_join",
    ]


# Messages that troubleshooting quotes


def spoken() -> list[str]:
    """Every piece of text in the sources that a command may print, whole where it has no value in it."""
    files = [*SOURCES, ROOT / ".ci" / "setup.py"]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def pieces(message: str) -> list[str]:
    """The parts of a message that a source has in one piece: … stands for values between them."""
    assembled = {
        "asked what it is 6 times, and nothing came": ["asked ", "what it is", " times, and ", "nothing came"]
    }
    return assembled.get(message, message.split("…"))


def unspoken(messages: list[str]) -> list[str]:
    """The messages of which a piece between two … is said nowhere."""
    whole = "\n".join(spoken())
    return [
        message
        for message in messages
        if not all(piece.strip(" :") in whole for piece in pieces(message) if piece.strip(" :"))
    ]


OTHERS = ("%Error", "error …", "Permission denied")
"""Beginnings of what the compilers and the system say."""


def test_every_message_of_troubleshooting_is_said_somewhere():
    page = text(ROOT / "docs" / "troubleshooting.md")
    first = [row.split("|")[1] for row in page.splitlines() if row.startswith(("| `", "| an "))]
    messages = [message for cell in first for message in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) > 40
    assert unspoken([message for message in messages if not message.startswith(OTHERS)]) == []


def test_a_message_that_nothing_says_is_noticed():
    assert unspoken(["there is no such port; …", "there is no such harbour; …"]) == [
        "there is no such harbour; …"
    ]


# English


def stumbling(line: str) -> bool:
    """Whether a stranger may stumble over it: a place in the sense of a time, or a rate without its word."""
    rate = r"\ba \w+ an? (?:cycle|lane|token|file|line|word|pixel|byte|image|seed|trial|pass)\b"
    return bool(re.search(rf"\bbehind\b|{rate}", line))


@each_page
def test_words_that_a_stranger_stumbles_over(page):
    """Say after, or on the other side of; say one … per …."""
    assert [line for line in text(page).splitlines() if stumbling(line)] == []


def test_such_words_are_noticed():
    assert stumbling("a lane a cycle")
    assert stumbling("sent again behind a RESET")
    assert not stumbling("one lane per cycle, sent again after a RESET")
