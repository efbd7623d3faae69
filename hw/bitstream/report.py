"""What a routed design takes, and what limits its clock."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from haarlequin.hw.families.family import REPORT, RESOURCES, Family

DEPTH = 4
"""Levels of modules below the top that are told apart."""


@dataclass(frozen=True)
class Limit:
    """The path that limits a clock: delays in ns, and the modules and cells at its ends."""

    nanoseconds: float
    routing: float
    start: str
    end: str


@dataclass(frozen=True)
class Routed:
    """Of a routed design: by resource, (used, available); the clock in MHz; the path that limits it."""

    usage: dict[str, tuple[int, int]]
    fmax_mhz: float
    path: Limit


def routed(folder: Path, family: Family) -> Routed:
    """What nextpnr reports."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    places = report["utilization"]
    usage = {
        resource: (places[bel]["used"], places[bel]["available"]) if bel in places else (0, 0)
        for resource, bel in family.bels.items()
    }
    if family.shared:
        cells = sum(by_module(folder / family.netlist, family).values(), Counter())
        usage |= {resource: (cells[resource], usage[resource][1]) for resource in family.shared}
    # The accelerator's clock is the one with the longest path: the pin's own drives the PLL alone.
    inner = [path for path in report["critical_paths"] if path["from"] == path["to"]]
    worst = max(inner, key=lambda path: sum(part["delay"] for part in path["path"]))["path"]
    delay = sum(part["delay"] for part in worst)
    routing = sum(part["delay"] for part in worst if part["type"] == "routing")
    limits = Limit(delay, routing, worst[0]["from"]["cell"], worst[-1]["to"]["cell"])
    return Routed(usage, 1000 / delay, limits)


def by_module(netlist: Path, family: Family) -> dict[str, Counter]:
    """Cells of the netlist by module and resource; lanes and other numbered ones together."""
    top = json.loads(netlist.read_text(encoding="utf-8"))["modules"]["top"]
    found: dict[str, Counter] = {}
    for name, cell in top["cells"].items():
        for resource, counts in family.cells.items():
            if cell["type"] in counts:
                found.setdefault(module(name), Counter())[resource] += counts[cell["type"]]
    return found


def module(cell: str) -> str:
    """The module that a cell of a flattened netlist lies in: `DEPTH` levels, without their numbers."""
    parts = [part.rstrip("0123456789").rstrip("_$") for part in cell.split(".")[:-1][:DEPTH]]
    return ".".join(parts) or "top"


def table(rows: dict[str, Counter]) -> str:
    """As Markdown, the largest first."""
    lines = [
        f"| module | {' | '.join(resource.upper() for resource in RESOURCES)} |",
        "|---|" + "---:|" * len(RESOURCES),
    ]
    for name, counts in sorted(rows.items(), key=lambda row: -row[1]["lut4"]):
        lines.append(f"| `{name}` | {' | '.join(f'{counts[resource]:,}' for resource in RESOURCES)} |")
    total = sum(rows.values(), Counter())
    lines.append(f"| all | {' | '.join(f'{total[resource]:,}' for resource in RESOURCES)} |")
    return "\n".join(lines)
