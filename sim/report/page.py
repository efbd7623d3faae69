"""The page: sections as HTML, with figures as JSON and the library that draws them, all in one file."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from haarlequin import __version__
from haarlequin.sim.report.panel import Panel, Section

TEMPLATE = Path(__file__).with_name("page.html")


def page(title: str, lead: str, numbers: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The whole page as HTML. ``numbers`` are those that a person looks for first, by what they are."""
    figures: dict[str, object] = {}
    parts = [_section(section, figures) for section in sections]
    contents = " ".join(f'<a href="#{section.name}">{escape(section.title)}</a>' for section in sections)
    footer = (
        f"Haarlequin {escape(str(__version__))}. Each panel names the command that makes its data; "
        "<code>make report</code> makes the page from what is there."
    )
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        lead=escape(lead),
        numbers="".join(f"<div><dt>{escape(a)}</dt><dd>{escape(b)}</dd></div>" for a, b in numbers.items()),
        contents=contents,
        sections="\n".join(parts),
        footer=footer,
        figures=_within_script(figures),
        library=get_plotlyjs(),
    )


def _within_script(figures: dict[str, object]) -> str:
    """JSON that can stand in a script: no text within it ends that."""
    return json.dumps(figures, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")


def _section(section: Section, figures: dict[str, object]) -> str:
    panels = "\n".join(_panel(panel, section, figures) for panel in section.panels)
    return (
        f'<section id="{section.name}"><h2>{escape(section.title)}</h2>'
        f'<p class="lead">{escape(section.lead)}</p><div class="panels">{panels}</div></section>'
    )


def _panel(panel: Panel, section: Section, figures: dict[str, object]) -> str:
    name = f"{section.name}-{panel.name}"
    kinds = ["panel"]
    if panel.missing:
        kinds.append("missing")
    if panel.table or panel.wide:
        kinds.append("wide")
    lines = [f'<article class="{" ".join(kinds)}" id="{name}"><h3>{escape(panel.title)}</h3>']
    lines.append(f'<p class="says">{escape(panel.says)}</p>')
    if panel.figures:
        columns = f"grid-template-columns: repeat(auto-fit, minmax(min(100%, {panel.width}px), 1fr))"
        lines.append(f'<div class="figures" style="{columns}">')
        for number, each in enumerate(panel.figures):
            key = f"{name}-{number}"
            figures[key] = json.loads(each.to_json())
            lines.append(f'<div data-figure="{key}" style="height: {panel.height}px"></div>')
        lines.append("</div>")
    if panel.table:
        lines.append(_table(panel.table))
    verb = "This makes it:" if panel.missing else "From"
    lines.append(f'<p class="command">{verb} <code>{escape(panel.command)}</code></p></article>')
    return "\n".join(lines)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    for row in body:
        # On a narrow page the cells stand below each other, each after its heading.
        cells = zip(head, row, strict=True)
        lines.append("".join(f'<td data-head="{escape(a)}">{escape(b)}</td>' for a, b in cells))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
