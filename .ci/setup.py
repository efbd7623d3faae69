"""Make .venv, after checking that the machine has what pip cannot install. The Makefile runs this.

Exit codes: 2 usage, 3 where the machine lacks something (one line says all of it) or the install failed.
Even an old python3 must be able to read this file and say that it is too old: it keeps to Python 3.6.
"""

import argparse
import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)

TOOLS = [  # name, Debian package, command that must succeed
    ("g++", "g++", ["g++", "--version"]),
    ("make", "make", ["make", "--version"]),
    # Verilator's launcher loads both modules; a bare Debian has a perl without them.
    ("perl with its modules", "perl", ["perl", "-MFindBin", "-MPod::Usage", "-e", "1"]),
]

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
):
    """What the machine lacks, as pairs of a name and the Debian packages that provide it."""
    lacks = [(name, package) for name, package, command in TOOLS if not runs(command)]
    if version < OLDEST:
        name = "Python {}.{} or newer (this is {}.{})".format(*OLDEST, *version)
        return [*lacks, (name, "python3-venv libpython3-dev")]
    if not (find_module("venv") and find_module("ensurepip")):
        lacks.append(("Python's venv", "python3-venv"))
    if not find_libpython():
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


def install(venv=VENV, call=subprocess.check_call):
    """Fill .venv, and mark it complete at the very end.

    One that is complete but older than pyproject.toml is brought up to date. Anything else, be it left by an
    interrupted install, is made anew: the downloads are in pip's cache.
    """
    stamp = venv / "installed"
    if stamp.exists():
        print("pyproject.toml has changed: bringing .venv up to date.", flush=True)
        stamp.unlink()
    else:
        print(PLAN, flush=True)
        call([sys.executable, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    call([*pip, "install", "--editable", f"{ROOT}[dev]"])
    stamp.touch()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", action="store_true", help="only print the missing Debian packages")
    options = parser.parse_args()
    lacks = missing()
    if options.packages:
        print(debian_packages(lacks))
        return 0
    if lacks:
        print(explain(lacks), file=sys.stderr)
        return 3
    try:
        install()
    except (subprocess.CalledProcessError, KeyboardInterrupt):
        print("The install did not finish; the same command takes it up again.", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
