"""What holds for every file: read as text, because no run of it would show that it is missing."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    path for folder in ("hw", "models", "sim", "sw", "docs") for path in sorted((ROOT / folder).rglob("*.py"))
]
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def nodes(path):
    """Every node of a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def calls(path):
    return [node for node in nodes(path) if isinstance(node, ast.Call)]


def name_of(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_binary(call):
    """Whether a call of `open` has a mode with a b in it."""
    modes = [
        value
        for value in (*call.args, *(key.value for key in call.keywords))
        if isinstance(value, ast.Constant)
    ]
    return any(isinstance(mode.value, str) and "b" in mode.value for mode in modes)


def opens(call):
    """Whether it opens a file by Python's own `open`, or a path's."""
    others = ("os", "Image", "tarfile", "webbrowser", "wave")
    owner = getattr(call.func, "value", None)
    return name_of(call) == "open" and getattr(owner, "id", "") not in others


@each_file
def test_text_has_an_encoding(path):
    """A locale such as ISO-8859-1 would choose another, and stop at the first →."""
    for call in calls(path):
        keywords = {key.arg for key in call.keywords}
        text = name_of(call) in ("read_text", "write_text") and len(call.args) < 2
        text = text or (opens(call) and not is_binary(call)) or keywords & {"text", "universal_newlines"}
        # Our own `write_text(path, text)` has one.
        ours = isinstance(call.func, ast.Name) and call.func.id == "write_text"
        assert not text or ours or "encoding" in keywords, f"line {call.lineno}: say encoding="


@each_file
def test_no_command_depends_on_docstrings(path):
    """PYTHONOPTIMIZE=2 takes them away."""
    names = [node for node in nodes(path) if isinstance(node, ast.Name)]
    assert "__doc__" not in {node.id for node in names}


MAINS = [
    path
    for path in FILES
    if path.parent.name != "docs" and "argparse.ArgumentParser(" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", MAINS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_is_one(path):
    """With `models.common.cli.command` around it: streams, caches, Ctrl-C."""
    functions = [node for node in nodes(path) if isinstance(node, ast.FunctionDef)]
    mains = [node for node in functions if node.name == "main"]
    if path.as_posix().endswith("models/ablation/ablate.py"):  # sw/ablate.py, which knows costs, has it
        assert not mains
        return
    (main,) = mains
    assert [ast.unparse(each).partition("(")[0].rpartition(".")[2] for each in main.decorator_list] == [
        "command"
    ]


# English


NEXT_MACHINE = [
    *(f"hw/lanes/{name}.py" for name in ("binary_lane", "popcount", "lane_array", "postprocess")),
    *(f"hw/lanes/{name}.py" for name in ("haar", "line_buffer", "local_convolution", "loader")),
    *("hw/attention/attention.py", "hw/ends/pool.py", "hw/ends/images.py", "hw/link/link.py"),
]
"""Blocks that are about to be rebuilt: their new versions will be read by these rules."""


def docstrings(path):
    """(line, text) of every docstring, those of constants and fields included."""
    for node in nodes(path):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        before = [None, *body[:-1]]
        for last, each in zip(before, body, strict=True):
            text = getattr(getattr(each, "value", None), "value", None)
            belongs = isinstance(last, ast.Assign | ast.AnnAssign) or (last is None and documented)
            if isinstance(each, ast.Expr) and isinstance(text, str) and belongs:
                yield each.lineno, text


written = pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(ROOT).as_posix() not in NEXT_MACHINE],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)


@written
def test_no_docstring_ends_with_a_leftover_word(path):
    for line, text in docstrings(path):
        lines = text.strip().splitlines()
        assert len(lines) == 1 or len(lines[-1].split()) > 1 or lines[-1].lstrip()[:1] in "]})>", (
            f"line {line}"
        )


@written
def test_docstrings_are_sentences_or_name_a_thing(path):
    """Not "Of those." and not "What came.", which nobody understands without the line above."""
    for line, text in docstrings(path):
        first = text.strip().partition(" ")[0]
        assert first not in ("Of", "What", "Whose", "Those", "Behind"), f"line {line}: {text.strip()[:60]}"


@written
def test_words_that_a_stranger_stumbles_over(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert not re.search(r"\bbehind\b", line), f"line {number}: say after, or on the other side of"
        assert not re.search(r"\ba \w+ an? (cycle|lane|token|file|line|word|pixel|byte|image)\b", line), (
            f"line {number}: say one … per …"
        )
