"""`make coverage`: how much of the arithmetic's corners, the RTL and Python's branches the tests come to.

    corners   how many values of the simulated models lie on each corner
    rtl       which statements of the RTL were in force, in the benches of tests/hw and in whole simulations
    python    which branches of Python ran, in all tests (as long as `make test`, and half as long again)

Exit status 1 where a corner has not been simulated, a statement is neither covered nor explained in
``explained.toml``, or fewer branches ran than the mark.
"""

import argparse
import json
import os
import subprocess
import sys
import tomllib
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from amaranth.hdl import UnusedElaboratable
from tqdm import tqdm

from haarlequin.models.common import ledger
from haarlequin.models.common.places import ROOT, build_folder
from tests.coverage import corners, whole
from tests.coverage.rtl import Line, Lines
from tests.small_machines import SIMULATED, simulated_programs

EXPLAINED = Path(__file__).with_name("explained.toml")
RTL_MARK, PYTHON_MARK = 98.0, 90.0
"""Percent of statements, and of branches, that must be covered."""


def count_corners(names: list[str]) -> Counter[str]:
    """The corners of all models that are simulated on these machines, with two images each."""
    found: Counter[str] = Counter()
    programs = [(i, program) for name in names for i, program in enumerate(simulated_programs(name))]
    for i, program in tqdm(programs, unit="model", disable=None):
        model = program.model
        found.update(corners.sizes(model, program.machine))
        shape = 2, *model.config.image, model.config.channels
        pixels = np.random.default_rng(i).integers(0, 256, shape, np.uint8)
        with corners.watched(found):
            model(pixels, {})
    return found


def report_corners() -> bool:
    found = count_corners([*SIMULATED])
    print("\nvalues of the simulated models on each corner")
    for name, count in sorted(found.items()):
        print(f"{count:10,}  {name}")
    return all(found.values())


def of_benches() -> Lines:
    """The statements that the benches of tests/hw come to; what was found is kept for the report."""
    folder = build_folder("coverage", "benches").absolute()
    for old in folder.glob("*.json"):
        old.unlink()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "-p", "tests.coverage.benches", "tests/hw"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"COVERAGE_FOLDER": str(folder)}, check=True)
    found = Lines()
    for file in folder.glob("*.json"):
        facts = json.loads(file.read_text(encoding="utf-8"))
        found.add(Lines({*map(tuple, facts["known"])}, {*map(tuple, facts["covered"])}))
    return found


def explained() -> dict[Line, str]:
    """Why statements are not covered, by their lines, which are found by their text."""
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("statement", [])
    found = {}
    for entry in entries:
        lines = (ROOT / entry["file"]).read_text(encoding="utf-8").splitlines()
        places = [number for number, line in enumerate(lines, 1) if entry["text"] in line]
        if len(places) != 1:
            raise SystemExit(
                f"{EXPLAINED.name}: {entry['text']!r} is on {len(places)} lines of {entry['file']}"
            )
        found[entry["file"], places[0]] = entry["reason"]
    return found


def report_rtl() -> bool:
    parts = {"benches": of_benches(), **{name: whole.lines(name) for name in whole.names()}}
    total = Lines()
    for lines in parts.values():
        total.add(lines)
    print("\nstatements of the RTL in force, by lines of Python")
    width = max(len(path) for path, _ in total.known)
    simulated: set[Line] = set()
    for name in whole.names():
        simulated |= parts[name].covered
    print(f"{'':{width}} {'lines':>6} {'benches':>8} {'whole':>6} {'either':>7}")
    for path in [*sorted({path for path, _ in total.known}), ""]:
        known = {line for line in total.known if line[0].startswith(path)}
        counts = (len(known & covered) for covered in (parts["benches"].covered, simulated, total.covered))
        benches, in_whole, either = (f"{100 * count / len(known):.0f}%" for count in counts)
        print(f"{path or 'all':{width}} {len(known):6} {benches:>8} {in_whole:>6} {either:>7}")
    reasons, missed = explained(), sorted(total.known - total.covered)
    for path, line in missed:
        print(f"{path}:{line} was never in force: {reasons.get((path, line), 'not explained')}")
    share = 100 * len(total.covered) / len(total.known)
    print(f"{share:.1f} % of {len(total.known)} lines, the mark is {RTL_MARK:g} %")
    return share >= RTL_MARK and all(line in reasons for line in missed)


def report_python() -> bool:
    """Run all tests under coverage.py, which `pyproject.toml` configures, and print its table, also where a
    test fails: it took an hour.
    """
    coverage = [sys.executable, "-m", "coverage"]
    tests = ["-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "8", "--dist", "worksteal"]
    subprocess.run([*coverage, "erase"], cwd=ROOT, check=True)
    passed = subprocess.run([*coverage, "run", *tests], cwd=ROOT, check=False).returncode == 0
    subprocess.run([*coverage, "combine", "-q"], cwd=ROOT, check=True)
    report = [*coverage, "report", f"--fail-under={PYTHON_MARK:g}"]
    return subprocess.run(report, cwd=ROOT, check=False).returncode == 0 and passed


REPORTS = {"corners": report_corners, "rtl": report_rtl, "python": report_python}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="corners, rtl, python (default: all)")
    parts = parser.parse_args().parts or [*REPORTS]
    warnings.simplefilter("ignore", UnusedElaboratable)  # machines are made only to ask for their sizes
    if unknown := [part for part in parts if part not in REPORTS]:
        parser.error(f"no part {unknown[0]!r}: the parts are {', '.join(REPORTS)}")
    failed = [part for part in parts if not REPORTS[part]()]
    lacks = f", {' and '.join(failed)} below the mark" if failed else ""
    ledger.write(
        "coverage", f'make coverage ARGS="{" ".join(parts)}"', not failed, f"{', '.join(parts)}{lacks}"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
