"""`make fuzz`: random models × machines × inputs, through everything that computes them.

    draw.py     machines and models, by a seed
    case.py     a case: models, inputs and a machine
    compare.py  deploy mode, onnxruntime, the emulator, firmware, the RTL and a netlist = the golden model
    shrink.py   a case that fails becomes a small one
    record.py   what has been done, and the table
    records/    what has been done with each seed: committed, since a campaign takes hours
    cases/      the small cases that failed once; a test replays them

Exit codes: 1 is a difference, 2 is usage or build.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path
from zlib import crc32

from amaranth.hdl import UnusedElaboratable
from tqdm import tqdm

from haarlequin.hw.config import AnyConfig
from haarlequin.models.common import ledger
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder, shown
from haarlequin.sim.faults import FAULTS
from tests.differential.case import Case
from tests.differential.compare import Comparisons
from tests.differential.draw import BATCH, batch, units
from tests.differential.record import Record
from tests.differential.shrink import failing, shrink

CASES, RECORDS = (Path(__file__).with_name(name) for name in ("cases", "records"))


def through(compare: Comparisons, case: Case, record: Record, name: str, folder: Path) -> list[str]:
    """Compare a batch and remember it. The first failure of each comparison is shrunk and saved in
    ``folder``. Returns one line for each failure.
    """
    verdicts = compare(case)
    lines = []
    for comparison, each in verdicts.items():
        wrong = [i for i, verdict in enumerate(each) if verdict]
        found = [f"{comparison}, {name}, pair {i}: {each[i]}" for i in wrong]
        if wrong:
            saved = save(compare, smallest(compare, case, wrong[0], comparison), comparison, folder)
            found[0] += f" ({shown(saved)})"
        lines += found
    record.add(name, case, verdicts, lines)
    return lines


def smallest(compare: Comparisons, case: Case, index: int, comparison: str) -> Case:
    """The smallest case that fails as that pair of a batch does."""
    fails = failing(compare, comparison)
    whole = case.with_(*case.pairs[: index + 1])
    return shrink(whole, fails) if any(fails([whole])) else case


def save(compare: Comparisons, case: Case, comparison: str, folder: Path) -> Path:
    """Write a case that fails, with what the comparison says; the same case always gets the same name."""
    says = next(filter(None, compare(case, [comparison])[comparison]), "")
    text = case.to_json(comparison=comparison, says=says)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{comparison.lower()}-{crc32(text.encode()):08x}.json"
    write_text(path, text)
    return path


@command(interrupted="what is done is remembered, and the next call goes on")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make fuzz",
        description="Random models × machines × inputs, through everything that computes them.",
        epilog="faults: " + "; ".join(f"{name}: {text}" for name, text in FAULTS.items()),
    )
    parser.add_argument("--minutes", type=float, default=10, help="no new batch after that (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: 0)")
    parser.add_argument("--pairs", type=int, default=BATCH, help=f"of a batch, at most (default: {BATCH})")
    parser.add_argument("--no-netlist", action="store_true", help="spare the minutes that a netlist takes")
    parser.add_argument("--report", action="store_true", help="print what has been done, and nothing else")
    parser.add_argument("--fault", choices=FAULTS, help="break every machine on purpose: it must show")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore", UnusedElaboratable)  # an accelerator is made only to ask for its shapes
    with one_line_errors(arguments.verbose):
        name = f"seed-{arguments.seed}" + (f"-{arguments.fault}" if arguments.fault else "")
        record = Record((build_folder("fuzz") if arguments.fault else RECORDS) / f"{name}.json")
        try:
            if not arguments.report:
                _campaign(arguments, record)
        finally:
            print("\n".join([record.table(), *record.failures, record.says]))
            if not (arguments.report or arguments.fault):
                ledger.write("fuzz", "make fuzz", not record.failures, record.says)
    if record.failures:
        sys.exit(1)


def _campaign(arguments: argparse.Namespace, record: Record) -> None:
    end = time.monotonic() + 60 * arguments.minutes
    compare = Comparisons(arguments.fault, not arguments.no_netlist, tqdm.write)
    folder = build_folder("fuzz") / "cases" if arguments.fault else CASES
    with tqdm(initial=record.pairs, unit=" pairs", disable=None) as bar:
        for machine, number in units(arguments.seed):
            name = f"{_name(machine)}/{number}"
            if name in record.batches:
                continue
            if time.monotonic() > end:
                return
            bar.set_description(name)
            compare.build(machine)
            case = batch(machine, arguments.seed, number, arguments.pairs)
            for line in through(compare, case, record, name, folder):
                tqdm.write(line)
            bar.update(len(case.pairs))


def _name(machine: AnyConfig | None) -> str:
    return machine.name if machine else "none"


if __name__ == "__main__":
    main()
