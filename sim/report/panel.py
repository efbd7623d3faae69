"""Parts of the page: a section has panels, and a panel a figure with the command that makes its data."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

PALETTE = (
    *("#4c8dd6", "#e08a3c", "#3fa776", "#d2604f", "#9a7bd0", "#b08a5c", "#d97fb4", "#b3ad3e", "#35aebd"),
    *("#7d6b3d", "#6f63c9", "#77b255", "#c04a86"),
)
"""Colours that can be told apart, on a light and on a dark page."""

GREY = "#8f9aa3"

VEIL = "rgba(140,150,160,0.3)"
"""For what is free."""


@dataclass(frozen=True)
class Panel:
    """One figure or table of the page.

    ``says`` is what a person should see in it, in a sentence with the figures that decide. ``command`` makes
    its data. Several ``figures`` stand beside each other where there is room, each ``height`` pixels high and
    ``width`` wide at least. A table has a row of headings first.
    """

    name: str
    title: str
    says: str
    command: str
    figures: Sequence[go.Figure] = ()
    height: int = 380
    width: int = 300
    wide: bool = False
    """The panel has a row of its own."""
    table: Sequence[Sequence[str]] = ()
    missing: bool = False
    """Nothing is there yet: ``command`` makes it."""


@dataclass(frozen=True)
class Section:
    """Panels under a heading, with a sentence about all of them."""

    name: str
    title: str
    lead: str
    panels: list[Panel] = field(default_factory=list)


def missing(name: str, title: str, what: str, command: str) -> Panel:
    """A panel for data that is not there: ``what`` is missing, and ``command`` makes it."""
    return Panel(name, title, what, command, missing=True)


def figure(*traces: object, **layout: object) -> go.Figure:
    """A figure of these traces. Its colours and fonts are left to the page, which has two schemes."""
    margin = {"l": 10, "r": 10, "t": 10, "b": 10}
    made = go.Figure(list(traces), layout={"template": None, "margin": margin, "colorway": PALETTE, **layout})
    made.update_xaxes(automargin=True)
    made.update_yaxes(automargin=True)
    return made
