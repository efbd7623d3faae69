"""Every command that a page tells people to type: there is such a target, command, option and file; what
needs no build is run, and says what the page says that it says.
"""

import argparse
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

import haarlequin
from docs import figures
from haarlequin.__main__ import COMMANDS, main
from haarlequin.hw.boards import BOARDS
from haarlequin.hw.presets import CONFIGS
from haarlequin.models import data
from haarlequin.models.network.teacher import TEACHERS
from haarlequin.models.presets import PRESETS, override
from haarlequin.models.stages import parse
from tests.docs.pages import PAGES, ROOT, Command, blocks, commands

pytestmark = pytest.mark.slow

README, LIST = ROOT / "README.md", ROOT / "docs" / "commands.md"
ALL = [command for page in PAGES for command in commands(page)]
VARIABLES = re.findall(r"\$\((?:or )?\$?\(?([A-Z]+)\b", (ROOT / "Makefile").read_text(encoding="utf-8"))

THEIRS = ("data", "my-pictures", "photo.jpg", "photos/", "runs/", "build/", "DIR", "path/to/")
"""Files and folders of pages that are not in a checkout: the reader's own, or made by a command."""


class Parsed(BaseException):
    """In place of what a command would do once it has its arguments."""


@pytest.fixture
def parsed(monkeypatch):
    """Ends every command when it has taken its arguments apart; returns how to ask what they are."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, *arguments, **more):
        raise Parsed(original(self, *arguments, **more))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.chdir(ROOT)

    def ask(words):
        with pytest.raises(Parsed) as ended:
            main(list(words))
        return ended.value.args[0]

    return ask


def check_values(arguments: argparse.Namespace) -> None:
    """Fails unless everything that the options name exists."""
    known = {
        "config": CONFIGS,
        "board": BOARDS,
        "preset": {**PRESETS, **TEACHERS},
        "tables": [path.parent.name for path in (ROOT / "models" / "zoo").glob("*/model.onnx")],
    }
    for name, values in known.items():
        given = getattr(arguments, name, None)
        for value in given if isinstance(given, list) else [given]:
            assert value is None or value in values, f"{name}: no {value}"
    settings = getattr(arguments, "settings", None) or getattr(arguments, "set", None)
    if settings:
        name = getattr(arguments, "preset", None) or arguments.model
        override(PRESETS[name], settings)
    # A model has a name or is a file; what else is given as an argument of its own is a file.
    paths = [getattr(arguments, name, None) for name in ("checkpoint", "teacher", "start", "data", "output")]
    paths += (
        getattr(arguments, "images", None) if isinstance(getattr(arguments, "images", None), list) else []
    )
    model = getattr(arguments, "model", None)
    if model and " " in model:
        parse(model)
    elif model and model not in PRESETS:
        paths.append(model)
    for path in paths:
        check_file(path)


def check_file(path: object) -> None:
    """It is in the checkout, or the reader's own."""
    name = "" if path is None else str(path)
    assert not name or (ROOT / name).exists() or f"{name}/".startswith(THEIRS), f"no {name}"


def check_haarlequin(words: tuple[str, ...], parsed) -> None:
    """The words after ``haarlequin``."""
    if words[0] not in ("--help", "--version"):
        assert words[0] in COMMANDS
        check_values(parsed(words))


def check_make(words: tuple[str, ...], parsed) -> None:
    """The words after ``make``: what it would run is checked in turn."""
    targets = [word for word in words if "=" not in word]
    for word in words:
        name, equals, _ = word.partition("=")
        assert not equals or name in (*VARIABLES, "PYTHON"), f"the Makefile knows no {name}"
    # -o: as if .venv were up to date, so that nothing is said of making it.
    command = ["make", "-n", "-s", "-o", ".venv/installed", *words]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert said.returncode == 0, said.stderr
    for line in said.stdout.splitlines():
        called = re.search(r"-m haarlequin (.*)|sw/infer\.py (.*)", line)
        if called:
            line = f"infer {called[2]}" if called[1] is None else called[1]
            check_haarlequin(tuple(shlex.split(line)), parsed)
        elif targets == ["test"] and "pytest" in line:
            for word in shlex.split(line)[shlex.split(line).index("worksteal") + 1 :]:
                check_file(word)


def check_python(words: tuple[str, ...], parsed) -> None:
    """The words after ``python``: a script of ours, or a module of others with names of our files."""
    if words[0] == "-m":
        assert words[1] == "pytest"
    else:
        assert (ROOT / words[0]).is_file()
    if words[0] == "docs/pictures.py":
        assert words[1] in ("result", "redraw", "floorplan", "record", "masks")
    for word in words[2 if words[0] == "-m" else 1 :]:
        if "/" in word:
            check_file(word)


def check(command: Command, parsed) -> None:
    """Fails unless the command can be typed as it stands."""
    program, *words = command.words
    if program == "make":
        check_make(tuple(words), parsed)
    elif program.endswith("haarlequin"):
        check_haarlequin(tuple(words), parsed)
    elif program.endswith("python"):
        check_python(tuple(words), parsed)
    elif program == "torchrun":
        module = words[words.index("-m") + 1]
        names = {f"haarlequin.{module}": name for name, (module, _) in COMMANDS.items()}
        check_haarlequin((names[module], *words[words.index(module) + 1 :]), parsed)
    else:
        pytest.fail(f"no test knows how to check {program}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists(page, parsed):
    wrong = []
    for command in commands(page):
        try:
            check(command, parsed)
        except (AssertionError, KeyError, ValueError, SystemExit, pytest.fail.Exception) as error:
            wrong.append(f"{command}: {error}")
    assert not wrong, "\n".join(wrong)


def test_the_lists_of_commands_are_not_empty():
    assert len(commands(README)) > 12
    assert len(commands(LIST)) > 50


@pytest.mark.parametrize(
    "words",
    [
        "make simulate",
        "make sim MODLE=digits",
        'make sim ARGS="--imagse 4"',
        "make sim CONFIG=15x64",
        "make bitstream BOARD=ulx4s",
        "haarlequin inference",
        "haarlequin infer --topmost 2 docs/seven.png",
        "haarlequin infer docs/eight.png",
        "haarlequin train --preset cifar10-nano --set dimension=3",
        "python docs/drawings.py",
        "python -m pytest tests/hw/test_no_such_block.py",
        "python -m models.train",
        "torchrun -m haarlequin.models.train --preset digits",
        "cd somewhere",
    ],
)
def test_a_command_that_is_not_there_is_noticed(words, parsed):
    command = Command(README, 1, tuple(shlex.split(words)))
    with pytest.raises((AssertionError, KeyError, SystemExit, ValueError, pytest.fail.Exception)):
        check(command, parsed)


def test_every_command_is_in_the_list():
    """Every target of ``make`` is there, too."""
    words = [set(command.words) for command in commands(LIST)]
    shown = {word for line in words for word in line}
    targets = set(
        re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert targets - shown - {"help"} == set()
    assert set(COMMANDS) - shown == set()


# What is run


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A build folder of the test's own, in the checkout's place of ``build/``."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "build"))
    monkeypatch.chdir(ROOT)
    return tmp_path / "build"


def run(line: str, build: Path, capsys) -> str:
    """The output of a command of ours, as a page has it, with ``build`` in place of build/."""
    words = [re.sub(r"^build/", f"{build}/", word) for word in shlex.split(line, comments=True)]
    try:
        main(words[1:])
    except SystemExit as ended:
        if ended.code:
            raise
    out, err = capsys.readouterr()
    return out + err


def lines(page: Path, program: str) -> list[str]:
    """The commands of a page whose first words these are."""
    found = [shlex.join(command.words) for command in commands(page)]
    return [line for line in found if line.startswith(program)]


def test_from_a_checkpoint_to_tables(elsewhere, capsys):
    (export,) = lines(LIST, ".venv/bin/haarlequin export")
    made, verified, planned, stages = lines(LIST, ".venv/bin/haarlequin compile")
    elsewhere.mkdir()
    run(export, elsewhere, capsys)
    assert "checked against the golden model" in run(made, elsewhere, capsys)
    assert "intact" in run(verified, elsewhere, capsys)
    assert "33444" in re.sub(r"\D", "", run(planned, elsewhere, capsys))
    (page,) = [text for _, text in blocks(ROOT / "docs" / "architecture.md", "text") if "26967" in text]
    assert run(stages, elsewhere, capsys).strip() == page.strip()


def test_a_model_is_as_good_as_its_card_says(elsewhere, capsys):
    (line,) = lines(LIST, ".venv/bin/haarlequin evaluate")
    card = figures.card(shlex.split(line)[-1])
    right = round(figures.top1(card["preset"]) * card["images"]["test"])
    assert f"({right} of {card['images']['test']})" in run(line, elsewhere, capsys).splitlines()[-1]


def test_the_list_of_boards(elsewhere, capsys):
    (line,) = [line for line in lines(LIST, "make bitstream") if "--list" in line]
    said = run(f"haarlequin bitstream {line.partition('ARGS=')[2]}", elsewhere, capsys)
    assert set(BOARDS) <= set(said.split())


def test_the_answer_on_the_readme_is_the_integer_model_s(elsewhere, capsys):
    """The page's is the RTL's; its cycles are as predicted."""
    (line,) = [line for line in lines(README, ".venv/bin/haarlequin infer") if "seven.png" in line]
    said = run(f"{line} --device golden", elsewhere, capsys)
    (answer,) = [block for _, block in blocks(README, "text") if "seven.png" in block]
    for expected in answer.splitlines():
        assert expected in said.replace(" predicted", "")


def test_what_make_sim_prints_is_what_it_would_print(elsewhere):
    """The integer model's label, the compiler's cycles, the values of a trace, and how many are right."""
    (block,) = [block for _, block in blocks(README, "text") if "PASS" in block]
    golden, test = haarlequin.load("digits"), data.load("digits").test
    pixels, labels = np.asarray(test.pixels[:16]), np.asarray(test.labels[:16])
    names = [golden.config.classes[int(row.argmax())] for row in np.asarray(golden(pixels))]
    right = sum(name == golden.config.classes[label] for name, label in zip(names, labels, strict=True))
    trace = {}
    golden(pixels[:1], trace)
    values = sum(np.asarray(tensor).size for tensor in trace.values())
    cycles = haarlequin.compile("digits", "16x64").cycles
    first = f"image 0: label {golden.config.classes[labels[0]]}, predicted {names[0]}, {cycles} cycles"
    assert f"{first}, bit-exact ({values:,} values)\n" in block
    assert f"PASS digits: 16/16 images bit-exact, top-1 {right}/16, {cycles} cycles/image\n" in block


@pytest.mark.parametrize(("page", "count"), [(README, 1), (LIST, 2)], ids=lambda value: str(value)[-9:])
def test_the_programs_run(page, count, elsewhere, capsys):
    """On the integer model, where the page has the simulator."""
    found = [program.replace('"sim"', '"golden"') for _, program in blocks(page, "python")]
    assert len(found) == count
    elsewhere.mkdir()
    main(["export", "models/zoo/digits/model.safetensors", "-o", str(elsewhere / "digits.onnx")])
    for program in found:
        exec(program.replace("build/", f"{elsewhere}/"), {})
    said = capsys.readouterr().out
    assert "['7']" in said if page == README else "4918" in said
