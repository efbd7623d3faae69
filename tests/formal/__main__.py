"""`make prove`: prove properties of the RTL with yosys' ABC, for all inputs and without a bound in time.

A line for each as it ends, then what is not proven because it needs no proof, and why. The exit code is 1 if
one is refuted or not decided in time.
"""

import argparse
import shutil
import sys
import time
import warnings
from fnmatch import fnmatch

from amaranth.hdl import UnusedElaboratable

from haarlequin.models.common import ledger
from haarlequin.models.common.places import build_folder
from tests.formal.allowed import MODULO
from tests.formal.engine import Outcome, Verdict, prove
from tests.formal.overflow import OverflowDesign
from tests.formal.properties import Property, properties
from tests.formal.streams import MAY_CHANGE, StreamDesign

SHOWN = 4
"""The last cycles of a counterexample that are printed."""


def check(one: Property, seconds: int) -> list[Verdict]:
    """Prove a property. Prints a line for it, and the counterexamples if there are any."""
    start, design = time.monotonic(), one.design()
    if isinstance(design, StreamDesign):
        for path in design.vacuous:
            reason, _ = MAY_CHANGE.get(f"{design.name}: {path}", ("always taken at once", None))
            print(f"       {'':>8}   {one.name}: {path} has no rule: {reason}")
    if isinstance(design, OverflowDesign):
        for name in sorted(design.meant):
            print(f"       {'':>8}   {name} may wrap: {MODULO.get(name, 'an address, modulo its memory')}")
    if not design.flags:
        return []
    folder = build_folder("formal", one.name)
    verdicts = prove(design, folder, one.arbitrary, seconds)
    failed = [each for each in verdicts if each.outcome is not Outcome.PROVEN]
    spent = time.monotonic() - start
    result = "FAIL  " if failed else "proven"
    print(f"{result} {spent:6.1f} s   {one.name} ({one.kind}, {len(verdicts)}): {one.says}")
    for each in failed:
        print(f"       {each.flag}: {each.outcome.value}, after {len(each.cycles)} cycles, with", flush=True)
        for number, values in list(enumerate(each.cycles))[-SHOWN:]:
            print(
                f"         {number}:",
                ", ".join(f"{name}={value:#x}" for name, value in values.items() if value),
            )
    if not failed:
        shutil.rmtree(folder)
    sys.stdout.flush()
    return verdicts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.formal", description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="names of properties, with * and ?")
    parser.add_argument("--list", action="store_true", help="name them and what they show, and prove nothing")
    parser.add_argument("--seconds", type=int, default=300, help="the most for each flag (default: 300)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UnusedElaboratable)  # a design without flags is not converted
    chosen = [one for one in properties() if any(fnmatch(one.name, name) for name in arguments.names)]
    if not chosen:
        parser.error(f"no property is called {' or '.join(arguments.names)}")
    if arguments.list:
        for one in chosen:
            print(f"{one.name} ({one.kind}): {one.says}")
        return
    start = time.monotonic()
    verdicts = [each for one in chosen for each in check(one, arguments.seconds)]
    proven = sum(each.outcome is Outcome.PROVEN for each in verdicts)
    says = f"{proven} of {len(verdicts)} flags proven in {time.monotonic() - start:.0f} s"
    print(says)
    if arguments.names == ["*"]:
        ledger.write("prove", "make prove", proven == len(verdicts), says)
    sys.exit(proven != len(verdicts))


if __name__ == "__main__":
    main()
