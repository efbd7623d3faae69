"""The report on a routed design: the resources that it takes, and the path that limits its clock."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haarlequin.hw.families.family import REPORT, RESOURCES, Family

DEPTH = 4
"""How many levels of modules below the top the report distinguishes."""


LINES = ("sck", "sck_clk", "fifo_clk", "usb_clk", "usb_io_clk", "ulpi_clk", "ethernet_clk")
"""The clocks that lines bring have one of these as a part of their name. A line's module has the
accelerator's clock as well."""


@dataclass(frozen=True)
class Limit:
    """The path that limits a clock: its delay and the wires' part of it, in ns, and the cells at its ends."""

    nanoseconds: float
    routing: float
    start: str
    end: str


@dataclass(frozen=True)
class Routed:
    """The report of nextpnr on a routed design.

    ``usage`` has (used, available) for each resource. ``fmax_mhz`` is the highest clock of the accelerator;
    ``path`` limits it. ``lines`` has (reached, wanted) for each clock that a line brings, in MHz.
    """

    usage: dict[str, tuple[int, int]]
    fmax_mhz: float
    path: Limit
    lines: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def missed(self) -> dict[str, tuple[float, float]]:
        """The clocks among `lines` that are not reached."""
        return {name: (reached, wanted) for name, (reached, wanted) in self.lines.items() if reached < wanted}


def routed(folder: Path, family: Family) -> Routed:
    """Read the report of nextpnr from a folder."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    places = report["utilization"]
    usage = {
        resource: (places[bel]["used"], places[bel]["available"]) if bel in places else (0, 0)
        for resource, bel in family.bels.items()
    }
    if family.shared:
        cells: Counter[str] = sum(by_module(folder / family.netlist, family).values(), Counter())
        usage |= {resource: (cells[resource], usage[resource][1]) for resource in family.shared}
    lines = {
        name: (clock["achieved"], clock["constraint"])
        for name, clock in report["fmax"].items()
        if of_line(name)
    }
    worst = worst_path(report)
    delay = sum(part["delay"] for part in worst)
    routing = sum(part["delay"] for part in worst if part["type"] == "routing")
    limits = Limit(delay, routing, worst[0]["from"]["cell"], worst[-1]["to"]["cell"])
    return Routed(usage, 1000 / delay, limits, lines)


def of_line(clock: str) -> bool:
    """Whether a clock of a report is one that a line brings."""
    return not set(LINES).isdisjoint(clock.removeprefix("$glbnet$").split("."))


def worst_path(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The longest path of the accelerator's clock, part by part, from nextpnr's report as JSON.

    The clock with the longest path is the accelerator's; the clock of the pin drives only the PLL.
    """
    inner = [
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] and not of_line(path["from"].split()[-1])
    ]
    return max(inner, key=lambda path: sum(part["delay"] for part in path))


def by_module(netlist: Path, family: Family) -> dict[str, Counter]:
    """The cells of each module of a netlist, by resource. Modules that differ in a number count as one."""
    top = json.loads(netlist.read_text(encoding="utf-8"))["modules"]["top"]
    found: dict[str, Counter] = {}
    for name, cell in top["cells"].items():
        for resource, counts in family.cells.items():
            if cell["type"] in counts:
                found.setdefault(module(name), Counter())[resource] += counts[cell["type"]]
    return found


def module(cell: str) -> str:
    """The module of a cell of a flattened netlist: the first `DEPTH` levels of its name, without numbers."""
    parts = [part.rstrip("0123456789").rstrip("_$") for part in cell.split(".")[:-1][:DEPTH]]
    return ".".join(parts) or "top"


def table(rows: dict[str, Counter]) -> str:
    """The table as Markdown, with the largest module first."""
    lines = [
        f"| module | {' | '.join(resource.upper() for resource in RESOURCES)} |",
        "|---|" + "---:|" * len(RESOURCES),
    ]
    for name, counts in sorted(rows.items(), key=lambda row: -row[1]["lut4"]):
        lines.append(f"| `{name}` | {' | '.join(f'{counts[resource]:,}' for resource in RESOURCES)} |")
    total: Counter[str] = sum(rows.values(), Counter())
    lines.append(f"| all | {' | '.join(f'{total[resource]:,}' for resource in RESOURCES)} |")
    return "\n".join(lines)
