"""`make mutate`: breaks the sources in hundreds of places, one at a time; the tests must notice each.

A mutant first meets the tests of its own file, then those of the whole. What came of it is kept beside this
file, in ``results.jsonl``, and committed, since a campaign takes hours: the same command goes on where one
was stopped, on whichever computer, and tries survivors again once a test has changed.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

from haarlequin.models.common import ledger
from tests.mutation.folders import ROOT, benches, drawn, own_bench
from tests.mutation.judge import BrokenBench, Tree
from tests.mutation.mutants import Mutant
from tests.mutation.results import (
    COLUMNS,
    KILLERS,
    MISSED,
    Result,
    Results,
    digest,
    equivalents,
    is_equivalent,
    table,
    tests_digest,
)

RESULTS = Path(__file__).with_name("results.jsonl")


def outcome(
    tree: Tree, path: str, mutant: Mutant, tests: str, own: bool = False, last: Result | None = None
) -> Result:
    """Ask the tests of a file, then, unless only its ``own`` are asked, the whole, until one fails.

    The ``last`` result has the test that noticed the mutant in a file that has changed since: if it passes
    without the mutant, it is asked before them all.
    """
    source = mutant.apply((ROOT / path).read_text(encoding="utf-8"))
    asked = [(bench, KILLERS[bench != own_bench(path)]) for bench in benches(path)]
    if last and tree.passes((last.test,)):
        asked.insert(0, ((last.test,), last.outcome))
    seconds, name, test = 0.0, MISSED if own else "survived", ""
    for bench, killer in asked:
        if own and killer == KILLERS[1]:
            continue
        verdict = tree.judge(path, source, bench)
        seconds += verdict.seconds
        if verdict.failed or verdict.timed_out:
            name = "timeout" if verdict.timed_out else "import" if verdict.failed == "import" else killer
            test = verdict.failed or " ".join(bench)
            break
    return Result(path, str(mutant), digest(path, source), name, test, round(seconds, 1), tests)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="which mutants are drawn (default: 1)")
    parser.add_argument("--only", nargs="+", metavar="PATH", help="files or folders, such as hw/lanes")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once (default: all cores)"
    )
    parser.add_argument("--minutes", type=float, help="stop after that time")
    parser.add_argument(
        "--own", action="store_true", help="ask only a file's own tests: quick, and shows what these miss"
    )
    parser.add_argument("--report", action="store_true", help="try nothing: the table of what is known")
    arguments = parser.parse_args()

    everything = [*drawn(arguments.seed)]
    chosen = [
        (path, mutant)
        for path, mutant in everything
        if not arguments.only or any(path.startswith(each.rstrip("/")) for each in arguments.only)
    ]
    results, tests = Results(RESULTS), tests_digest()
    if not arguments.report:
        results.forget_all_but({(path, str(mutant)) for path, mutant in everything})
    found: list[Result] = []
    missing: list[tuple[str, Mutant]] = []
    for path, mutant in chosen:
        key = digest(path, mutant.apply((ROOT / path).read_text(encoding="utf-8")))
        known = results.get(path, mutant, key, tests, arguments.own)
        if known:
            found.append(known)
        else:
            missing.append((path, mutant))
    if not arguments.report:
        end = time.monotonic() + 60 * (arguments.minutes or 1e9)
        found += campaign(missing, results, tests, arguments.jobs, end, arguments.own)
    return report(found, len(chosen), bool(arguments.only or arguments.own))


def campaign(
    missing: list[tuple[str, Mutant]], results: Results, tests: str, jobs: int, end: float, own: bool
) -> list[Result]:
    """Try mutants, ``jobs`` at once, until none is missing or the time is over."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        baseline: dict[tuple[str, ...], float] = {}
        all_trees = [Tree(Path(scratch) / str(i), baseline) for i in range(min(jobs, len(missing)))]
        trees: SimpleQueue[Tree] = SimpleQueue()
        for tree in all_trees:
            trees.put(tree)

        def attempt(item: tuple[str, Mutant]) -> Result | None:
            if time.monotonic() > end:
                return None
            tree = trees.get()
            try:
                return outcome(tree, *item, tests, own, last=results.killer(*item))
            finally:
                trees.put(tree)

        found = []
        known = equivalents()
        with tqdm(total=len(missing), unit="mutant", disable=None) as progress:
            try:
                for result in pool.map(attempt, missing):
                    if result is None:
                        continue
                    results.add(result)
                    found.append(result)
                    progress.update()
                    if result.outcome not in KILLERS and not is_equivalent(result.path, result.mutant, known):
                        progress.write(f"{result.outcome}: {result.path}: {result.mutant}")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                for tree in all_trees:
                    tree.stop()
        return found


def report(found: list[Result], drawn: int, partial: bool) -> int:
    """Print the table and the survivors; 1 if there are any, or mutants that were not tried. ``partial`` is
    whether only some files, or only their own tests, were asked for.
    """
    rows = [COLUMNS, *table(found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]))
    known = equivalents()
    survivors = [
        each
        for each in found
        if each.outcome not in KILLERS and not is_equivalent(each.path, each.mutant, known)
    ]
    for each in survivors:
        print(f"{each.outcome}: {each.path}: {each.mutant}")
    if len(found) < drawn:
        print(f"{drawn - len(found)} of {drawn} mutants have not been tried: the same command goes on")
    passed = not survivors and len(found) == drawn
    if not partial:
        says = f"{len(found)} of {drawn} mutants tried, {len(survivors) or 'none'} survived"
        ledger.write("mutate", "make mutate", passed, says)
    return int(not passed)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("stopped: the same command goes on")
    except BrokenBench as error:
        sys.exit(f"error: {error}")
