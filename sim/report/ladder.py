"""The ladder of checks, from one function of the arithmetic to a board's netlist, with their last results."""

from haarlequin.models.common import ledger
from haarlequin.sim.report.panel import Panel, Section

LADDER = (
    ("test", "make test", "all tests: each function, block, tool and command"),
    ("prove", "make prove", "streams, sums, the receiver and thresholds, proven for all inputs"),
    ("sim", "make sim", "a model in the real RTL = the integer model, every tensor"),
    ("fuzz", "make fuzz", "random models on random machines, through all that computes them"),
    ("noise", "make noise", "faults on the link: no wrong logits"),
    ("gatesim", "make gatesim BOARD=…", "a board's netlist, gate by gate = the integer model"),
    ("hostile", "make hostile", "damaged files for every reader of a stranger's bytes"),
    ("mutate", "make mutate", "sources broken in one place at a time: tests must notice"),
    ("coverage", "make coverage", "corners, statements and branches that the tests come to"),
)
"""By the name of its record, the command of each check and what it is."""


def section() -> Section:
    """The last result of each check here, and when it was."""
    results = ledger.read()
    rows = [("check", "command", "result", "when, UTC")]
    for name, command, what in LADDER:
        last = results.get(name)
        if last is None:
            rows.append((what, command, "not run here", "–"))
        else:
            rows.append(
                (what, last.command, f"{'passed' if last.passed else 'FAILED'}: {last.says}", last.finished)
            )
    run = [results[name] for name, _, _ in LADDER if name in results]
    failed = sum(not each.passed for each in run)
    says = (
        f"{len(run)} of {len(LADDER)} checks have been run here, and {failed or 'none'} of these failed; "
        f"{len(LADDER) - len(run)} have not."
    )
    lead = (
        "How it is known that the machine computes the very integers of the network, from single functions "
        "up to a board's netlist. Every comparison is equality."
    )
    panel = Panel("ladder", "Last results", says, "make test, and the commands of the table", table=rows)
    return Section("checks", "The ladder of checks", lead, [panel])
