"""The check before the install says all that a machine lacks in one line; half an install counts as none."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "setup.py"

spec = importlib.util.spec_from_file_location("setup_script", SCRIPT)
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)


def probes(*lacking, version=(3, 11)):
    """The probes of a machine that has everything but what is named."""
    return {
        "version": version,
        "runs": lambda command: command[0] not in lacking,
        "find_module": lambda name: None if name in lacking else name,
        "find_libpython": lambda: None if "libpython" in lacking else "libpython3.11.so",
    }


BARE_PERL = 'case "$*" in *Pod::Usage*) exit 2; esac'  # runs, but has only the modules of Debian's perl-base


def run_setup(folder, *arguments, **commands):
    """Run a copy of the script on a machine whose only commands are the given ones, each a line of shell."""
    script = shutil.copytree(SCRIPT.parent, folder / ".ci") / SCRIPT.name
    for name, line in commands.items():
        command = folder / name.replace("gxx", "g++")
        command.write_text(f"#!/bin/sh\n{line}\n")
        command.chmod(0o755)
    command = [sys.executable, script, *arguments]
    return subprocess.run(command, env={"PATH": str(folder)}, capture_output=True, text=True)


def test_nothing_is_missing_on_a_complete_machine():
    assert setup.missing(**probes()) == []


@pytest.mark.parametrize(
    ("lacking", "name", "packages"),
    [
        ("g++", "g++", "g++"),
        ("make", "make", "make"),
        ("perl", "perl with its modules", "perl"),
        ("venv", "Python's venv", "python3-venv"),
        ("ensurepip", "Python's venv", "python3-venv"),
        ("libpython", "the shared libpython3.11", "libpython3-dev"),
    ],
)
def test_one_missing_thing(lacking, name, packages):
    line = setup.explain(setup.missing(**probes(lacking)), prefix="/usr")
    assert line == f"Missing: {name}. On Debian 12 or newer, as root: apt-get install {packages}"


def test_all_missing_things_share_a_line():
    lacks = setup.missing(**probes("g++", "make", "perl", "venv", "libpython"))
    assert setup.explain(lacks, prefix="/usr") == (
        "Missing: g++, make, perl with its modules, Python's venv, the shared libpython3.11. "
        "On Debian 12 or newer, as root: apt-get install g++ make perl python3-venv libpython3-dev"
    )


def test_an_old_python_is_named_with_its_version():
    (lack,) = setup.missing(**probes("venv", "libpython", version=(3, 9)))
    assert lack == ("Python 3.11 or newer (this is 3.9)", "python3-venv libpython3-dev")


@pytest.mark.parametrize(("lacking", "advised"), [("libpython", True), ("g++", False)])
def test_a_python_that_debian_did_not_install_must_be_given_up_for_one_it_did(lacking, advised):
    line = setup.explain(setup.missing(**probes(lacking)), prefix="/opt/python")
    assert line.endswith("; then choose that Python: make PYTHON=/usr/bin/python3") == advised


def test_this_python_has_its_library():
    assert "libpython" in setup.find_libpython().name


@pytest.mark.parametrize(("file", "found"), [("libpython3.99.so.1.0", True), ("libpython3.99.a", False)])
def test_only_a_shared_library_counts(tmp_path, monkeypatch, file, found):
    (tmp_path / file).touch()
    variables = {"LIBDIR": str(tmp_path), "MULTIARCH": None, "LDVERSION": "3.99"}
    monkeypatch.setattr(setup.sysconfig, "get_config_vars", lambda: variables)
    assert setup.find_libpython() == (tmp_path / file if found else None)


def test_a_machine_without_tools_ends_with_exit_code_3(tmp_path):
    result = run_setup(tmp_path)
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "Missing: g++, make, perl with its modules. "
        "On Debian 12 or newer, as root: apt-get install g++ make perl"
    ]


def test_a_perl_that_cannot_load_its_modules_is_missing(tmp_path):
    result = run_setup(tmp_path, gxx="exit 0", make="exit 0", perl=BARE_PERL)
    assert result.returncode == 3
    assert result.stderr.startswith("Missing: perl with its modules. ")


@pytest.mark.parametrize(("perl", "packages"), [("exit 0", ""), (BARE_PERL, "perl")])
def test_the_missing_packages_alone(tmp_path, perl, packages):
    result = run_setup(tmp_path, "--packages", gxx="exit 0", make="exit 0", perl=perl)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{packages}\n", "")


def test_make_says_when_there_is_no_python(tmp_path):
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path)
    command = ["make", "test", "PYTHON=no-python"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    ours, make_adds = result.stderr.splitlines()
    assert ours == (
        "Missing: no-python. On Debian 12 or newer, as root: "
        "apt-get install python3-venv libpython3-dev g++ make perl"
    )
    assert make_adds.endswith(" 3")


class Commands:
    """Stands in for the commands of an install and remembers them; the one that contains `failing` fails."""

    def __init__(self, venv, failing=None):
        self.venv, self.failing, self.seen = venv, failing, []

    def __call__(self, command):
        self.seen.append("venv" if "venv" in command else "pip")
        if self.seen[-1] == self.failing:
            raise subprocess.CalledProcessError(1, command)
        if "--clear" in command:
            self.venv.mkdir(exist_ok=True)


@pytest.mark.parametrize("failing", ["venv", "pip"])
def test_an_install_that_fails_is_begun_anew(tmp_path, failing):
    venv = tmp_path / "environment"
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        setup.install(venv, Commands(venv, failing))
    assert not (venv / "installed").exists()

    commands = Commands(venv)
    setup.install(venv, commands)
    assert commands.seen == ["venv", "pip"]
    assert (venv / "installed").exists()


def test_a_complete_install_is_only_updated_and_not_complete_meanwhile(tmp_path):
    (tmp_path / "installed").touch()
    commands = Commands(tmp_path, failing="pip")
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        setup.install(tmp_path, commands)
    assert commands.seen == ["pip"]
    assert not (tmp_path / "installed").exists()
