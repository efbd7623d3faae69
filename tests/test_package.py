"""The package `haarlequin`: its wheel, its import beside a user's own files, and parts without PyTorch."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import haarlequin
from haarlequin.__main__ import COMMANDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

BLOCKED = """
import runpy, sys

class Blocker:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}, in this test", name=name)

sys.meta_path.insert(0, Blocker())
"""
"""What makes a Python without some packages."""


def child(code, *arguments, cwd=ROOT, **variables):
    """(exit code, stdout, stderr) of a Python program."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    ran = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8")
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, made from the files that git knows."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    copy = folder / "checkout"
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-q", "-w", folder, copy], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel) -> Path:
    """A folder with what the wheel installs."""
    folder = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_has_every_file_of_the_four_parts(wheel):
    """Except what only those who train here go on from."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    parts = {part: Path("haarlequin", part) for part in ("hw", "models", "sim", "sw")}
    listed = subprocess.run(
        ["git", "ls-files", "-c", "-o", "--exclude-standard", *parts],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    wanted = set()
    for name in map(Path, listed.stdout.split("\n")[:-1]):
        if (ROOT / name).exists() and not name.is_relative_to("models/starts"):
            inside = name.is_relative_to("sw/haarlequin")
            wanted.add(name.relative_to("sw").as_posix() if inside else f"haarlequin/{name.as_posix()}")
    assert packed == wanted


TEN_LINES = """
import numpy as np
import haarlequin
from haarlequin import Accelerator

with Accelerator("golden", "digits") as accelerator:
    predictions = accelerator.classify([np.zeros((8, 8), np.uint8), "seven.png"])
print(predictions.names[1], haarlequin.__version__)
print(haarlequin.load("digits").config.name, haarlequin.compile("digits", "16x64").cycles)
print(haarlequin.__file__)
"""


def test_an_installed_package_works_beside_a_users_own_models_py(installed, tmp_path):
    for name in ("models.py", "hw.py", "sw.py", "sim.py", "compiler.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user')")
    (tmp_path / "seven.png").write_bytes((ROOT / "docs" / "seven.png").read_bytes())
    paths = os.pathsep.join([str(tmp_path), str(installed)])
    code, said, errors = child(
        TEN_LINES, cwd=tmp_path, PYTHONPATH=paths, HAARLEQUIN_BUILD=str(tmp_path / "b")
    )
    assert (code, errors) == (0, "")
    made = installed / "haarlequin" / "__init__.py"
    assert said == f"7 {PROJECT['version']}\ndigits 4918\n{made}\n"


def test_the_version_is_that_of_the_project():
    assert haarlequin.__version__ == PROJECT["version"]


def test_what_the_package_offers():
    assert {"Accelerator", "Predictions", "load", "compile"} < {*haarlequin.__all__}
    assert all(hasattr(haarlequin, name) for name in haarlequin.__all__)
    with pytest.raises(AttributeError, match="module 'haarlequin' has no attribute 'Accelerators'"):
        haarlequin.Accelerators  # noqa: B018


# Parts that do without PyTorch


WITHOUT = BLOCKED.format(names={"torch", "brevitas"})


def test_the_rtl_elaborates_without_pytorch_and_onnx():
    code = BLOCKED.format(names={"torch", "brevitas", "onnx", "onnxruntime"})
    code += """
import haarlequin.hw, importlib, pkgutil
for found in pkgutil.walk_packages(haarlequin.hw.__path__, "haarlequin.hw."):
    importlib.import_module(found.name)
from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.presets import CONFIGS
print(len(Accelerator(CONFIGS["2x64"], 50_000_000, 8192).identity.memories) > 5)
"""
    assert child(code) == (0, "True\n", "")


def test_compiling_needs_no_pytorch(tmp_path):
    code = WITHOUT + "sys.argv = sys.argv[1:]; sys.path.insert(0, 'sw')\n"
    code += "runpy.run_path('sw/compile.py', run_name='__main__')"
    model = ROOT / "models" / "zoo" / "digits" / "model.onnx"
    arguments = "sw/compile.py", model, "--config", "16x64", "-o", tmp_path / "tables"
    code, said, errors = child(code, *arguments)
    assert (code, errors) == (0, "")
    assert "program and tables, checked against the golden model" in said
    assert (tmp_path / "tables" / "manifest.json").exists()


def test_inference_needs_no_pytorch(tmp_path):
    code = WITHOUT + "sys.argv = sys.argv[1:]; sys.path.insert(0, 'sw')\n"
    code += "runpy.run_path('sw/infer.py', run_name='__main__')"
    arguments = "sw/infer.py", "--device", "golden", "docs/seven.png"
    came = child(code, *arguments, HAARLEQUIN_BUILD=str(tmp_path))
    assert came[:2] == (
        0,
        "docs/seven.png: 7 67.1%, 4918 cycles predicted\n" + came[1].partition("\n")[2],
    )


ON_WINDOWS = """
import numpy, serial, tqdm, PIL.Image, threadpoolctl, filelock, sys
for name in ("termios", "fcntl", "tty", "pty", "grp", "pwd", "resource"):
    sys.modules[name] = None
import haarlequin.sw.infer, haarlequin.sw.compile, haarlequin.sw.devices.serial_port
"""
"""What other packages take of Unix they know themselves not to find on Windows."""


def test_a_host_without_unix_modules_can_import_what_it_needs():
    assert child(ON_WINDOWS) == (0, "", "")


# Commands


def test_every_command_has_a_module_and_a_line():
    code, said, _ = child("from haarlequin.__main__ import main; main(['--help'])")
    assert code == 0
    for name, (_, what) in COMMANDS.items():
        assert f"  {name:<10}  {what}\n" in said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 2, "error: unknown command 'nothing': there are infer, compile,"),
        (["--version"], 0, PROJECT["version"]),
        ([], 0, "usage: haarlequin COMMAND"),
    ],
)
def test_the_command_line(arguments, code, message):
    came = child("import sys; from haarlequin.__main__ import main; main(sys.argv[1:])", *arguments)
    assert came[0] == code
    assert message in came[1] + came[2]
