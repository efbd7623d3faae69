"""A picture of a placed design, which shows where each module lies."""

import json
import re
from collections import Counter
from pathlib import Path

from haarlequin.hw.bitstream.report import module
from haarlequin.models.common.figures import empty, save

COLOURS = 9
"""How many modules have a colour of their own. These are the largest ones; the others are grey."""

_SITE = re.compile(r"X(\d+)/?Y(\d+)")


def sites(placed: Path) -> dict[str, list[tuple[int, int]]]:
    """The column and row of every cell of each module, read from the placed design that nextpnr wrote."""
    found: dict[str, list[tuple[int, int]]] = {}
    for name, cell in json.loads(placed.read_text(encoding="utf-8"))["modules"]["top"]["cells"].items():
        if place := _SITE.match(cell.get("attributes", {}).get("NEXTPNR_BEL", "")):
            found.setdefault(module(name), []).append((int(place[1]), int(place[2])))
    return found


def draw(placed: Path, title: str, path: Path) -> None:
    """Draw a PNG with one dot for each cell. Dots are spread over their tile: full tiles look full."""
    found = sites(placed)
    largest = sorted(found, key=lambda name: -len(found[name]))[:COLOURS]
    figure = empty(9, 7)
    axes = figure.subplots()
    taken: Counter = Counter()
    groups = [(name, f"C{i}", found[name]) for i, name in enumerate(largest)]
    rest = [site for name, some in found.items() if name not in largest for site in some]
    for name, colour, some in [*groups, ("others", "lightgrey", rest)]:
        dots = []
        for site in some:
            down, right = divmod(taken[site] % 16, 4)
            taken[site] += 1
            dots.append((site[0] + right / 4, site[1] + down / 4))
        if dots:
            axes.scatter(*zip(*dots, strict=True), s=0.6, c=colour, label=name.removeprefix("accelerator."))
    figure.suptitle(title)
    axes.set(aspect="equal", xlabel="column", ylabel="row")
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=3, markerscale=8, frameon=False)
    save(figure, path)
