"""Answers as HTML: each image as the network saw it, beside the shares of its classes.

`Page` makes the file of `haarlequin infer --show`, `fragment` what a notebook shows of
`haarlequin.Predictions`, `status` the page of `haarlequin serve --http`. All are whole in themselves:
pictures are data within the page, bars are styled boxes, and there is no script. Whatever comes from a
person's file is escaped.
"""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from haarlequin.models.common.errors import printable
from haarlequin.models.common.files import write_text
from haarlequin.sw.mask_picture import colours

LIMIT = 1000
"""Images on a page, and reasons in its list of refused ones: a browser takes no more without effort."""

IN_A_NOTEBOOK = 24
"""Images that a notebook shows: its file keeps them all."""

LABELS = 3
"""Classes of an image that are shown where nobody said how many."""

_SIDE, _MASK_SIDE = 96, 192
"""The least width of an enlarged picture, in CSS pixels: alone, and beside its mask."""


@dataclass(frozen=True)
class Answer:
    """One image with its answer."""

    name: str
    shares: Sequence[tuple[int, float]]
    """Classes to show and their shares, 0 to 1, the largest first: scores, or proportions of the mask."""
    pixels: np.ndarray | None = None
    """uint8 (H, W, 1 or 3), as the network saw it; None where nobody kept it."""
    mask: np.ndarray | None = None
    """uint8 (H, W), the class of each pixel; only of a segmentation model."""
    cycles: int = 0
    """Cycles that it took, 0 where they are not known."""
    target: int | None = None
    """The true class, where it is known."""
    difference: str | None = None
    """The first difference from the golden model, where one was found."""


def card(answer: Answer, classes: Sequence[str], predicted: bool = False) -> str:
    """The HTML of one image with its answer.

    Arguments:
        classes: the names of all classes.
        predicted: whether the cycles are predicted, not counted.
    """
    palette = colours(len(classes)) if answer.mask is not None else None
    side = _SIDE if palette is None else _MASK_SIDE
    pictures = [] if answer.pixels is None else [_picture(answer.pixels, f"{answer.name}, as seen", side)]
    if palette is not None:
        pictures.append(_picture(palette[answer.mask], f"{answer.name}, its mask", side))
    rows = "".join(
        _row(classes[i], share, palette[i] if palette is not None else None) for i, share in answer.shares
    )
    name = _text(answer.name).replace("/", "/<wbr>")  # a long path breaks there first
    cycles = f"{answer.cycles} cycles{' predicted' * predicted}" if answer.cycles else ""
    notes = [_verdict(answer, classes), f'<span class="hq-dim">{cycles}</span>' if cycles else ""]
    if answer.difference:
        notes.append(
            f'<strong class="hq-wrong">differs from the golden model: {_text(answer.difference)}</strong>'
        )
    return (
        f'<article class="hq-card{" hq-masked" * (palette is not None)}">'
        f'<div class="hq-pictures">{"".join(pictures)}</div>'
        f'<div class="hq-answer"><h2>{name}</h2><ol>{rows}</ol>'
        f"<p>{' '.join(filter(None, notes))}</p></div></article>\n"
    )


def fragment(answers: Iterable[Answer], count: int, classes: Sequence[str]) -> str:
    """HTML for a notebook: the first ``IN_A_NOTEBOOK`` of ``count`` answers, in the colours of its page."""
    shown = [card(answer, classes) for answer, _ in zip(answers, range(IN_A_NOTEBOOK), strict=False)]
    left = count - len(shown)
    more = f"<p>… and {left:,} more.</p>" if left else ""
    body = "".join(shown) if count else "<p>no images</p>"
    return f'<div class="hq"><style>{_STYLE}</style><div class="hq-cards">\n{body}</div>{more}</div>'


class Page:
    """A page of answers, which come one by one; `write` makes the file.

    Arguments:
        model: the name of the model.
        device: the name of the device that it runs on.
        classes: the names of the model's classes.
        predicted: whether the cycles of this device are predicted, not counted.
        top: how many classes of an image are to be shown.

    Members:
        top: the same, for those who make the answers.
    """

    def __init__(
        self, model: str, device: str, classes: Sequence[str], predicted: bool = False, top: int = LABELS
    ):
        self.top = top
        self._model, self._device, self._classes, self._predicted = model, device, classes, predicted
        self._cards: list[str] = []
        self._problems: list[str] = []
        self._answered = self._refused = 0

    def add(self, answer: Answer) -> None:
        """Show an answer; after `LIMIT` of them, only count it."""
        self._answered += 1
        if self._answered <= LIMIT:
            self._cards.append(card(answer, self._classes, self._predicted))

    def refuse(self, reason: str) -> None:
        """List an image, or a name without one, that could not be used: ``reason`` names it and says why."""
        self._refused += 1
        if self._refused <= LIMIT:
            self._problems.append(f"<li>{_text(reason)}</li>\n")

    def write(self, path: Path, summary: str, unanswered: int = 0) -> None:
        """Write the file, whole or not at all; raises OSError where that fails.

        Arguments:
            summary: a line about all images.
            unanswered: how many images have no answer, since the device failed or the run was ended.
        """
        write_text(path, self.text(summary, unanswered))

    def text(self, summary: str, unanswered: int = 0) -> str:
        """The content of the file, as `write` takes it."""
        notes = []
        if unanswered:
            notes.append(f"The run ended early: {_images(unanswered)} had no answer by then.")
        if self._answered > LIMIT:
            notes.append(f"{_images(self._answered)} were answered: the first {LIMIT:,} are shown here.")
        title = _text(f"{self._model} on {self._device}")
        said = "".join(f'<p class="hq-note">{note}</p>\n' for note in notes)
        refused = ""
        if self._refused:
            left = self._refused - len(self._problems)
            more = f"<li>… and {left:,} more.</li>\n" if left else ""
            refused = f"<h2>Could not be used</h2>\n<ul>\n{''.join(self._problems)}{more}</ul>\n"
        return document(
            title,
            f"<header>\n<h1>{title}</h1>\n<p>{_text(summary)}</p>\n{said}</header>\n"
            f'<main class="hq-cards">\n{"".join(self._cards)}</main>\n{refused}',
        )


def document(title: str, body: str, head: str = "") -> str:
    """A whole page that loads nothing and follows light and dark.

    Arguments:
        title: its title, as HTML.
        body: its content, as HTML.
        head: what more its head has.
    """
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        f'{head}<link rel="icon" href="data:,">\n<style>\n{_STYLE}{_PAGE_STYLE}</style>\n</head>\n'
        f'<body class="hq">\n{body}</body>\n</html>\n'
    )


def status(title: str, line: str, facts: Sequence[tuple[str, str]], problem: str | None, refresh: int) -> str:
    """A page of facts that asks for itself again.

    Arguments:
        title: its heading, as plain text.
        line: a line below it.
        facts: names and their values.
        problem: a line that stands out, or None.
        refresh: after how many seconds it asks again.
    """
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>\n" for name, value in facts)
    note = f'<p class="hq-note hq-wrong">{_text(problem)}</p>\n' if problem else ""
    return document(
        _text(title),
        f"<header>\n<h1>{_text(title)}</h1>\n<p>{_text(line)}</p>\n{note}</header>\n"
        f"<main><dl>\n{rows}</dl></main>\n",
        f'<meta http-equiv="refresh" content="{refresh}">\n',
    )


def _text(text: str) -> str:
    """``text`` for any place in the page: escaped, and without characters that have no shape, such as those
    that turn the direction of a line or that UTF-8 cannot hold.
    """
    return html.escape(printable(text))


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _picture(pixels: np.ndarray, what: str, side: int) -> str:
    """An enlarged picture of ``pixels``, uint8 (H, W, 1 or 3), as data within the page."""
    height, width = pixels.shape[:2]
    scale = max(1, -(-side // width))
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode("ascii")
    size = f'width="{scale * width}" height="{scale * height}"'
    return f'<img {size} alt="{_text(what)}" src="data:image/png;base64,{data}">'


def _row(name: str, share: float, colour: np.ndarray | None) -> str:
    """The bar of one class, with its colour in the mask, uint8 (3,), where it has one."""
    swatch = ""
    if colour is not None:
        swatch = (
            f'<span class="hq-swatch" style="background:rgb({",".join(map(str, colour.tolist()))})"></span>'
        )
    bar = f'<span class="hq-bar"><span style="width:{share:.1%}"></span></span>'
    number = f'<span class="hq-share">{share:.1%}</span>'
    return f'<li><span class="hq-name">{swatch}{_text(name)}</span>{bar}{number}</li>'


def _verdict(answer: Answer, classes: Sequence[str]) -> str:
    """Whether the first class is the true one, where that is known."""
    if answer.target is None:
        return ""
    if answer.shares[0][0] == answer.target:
        return '<span class="hq-right">✓ right</span>'
    return f'<span class="hq-wrong">✗ wrong: it is {_text(classes[answer.target])}</span>'


# Colours that a notebook's own page may have, light or dark: all but the bars is of its text's colour.
_STYLE = """\
.hq{--hq-line:rgba(128,128,128,.35);--hq-track:rgba(128,128,128,.18);--hq-fill:#4c86d8}
.hq-cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18rem),1fr));gap:.75rem}
.hq-cards:has(.hq-masked){grid-template-columns:repeat(auto-fill,minmax(min(100%,28rem),1fr))}
.hq-card{display:flex;flex-wrap:wrap;gap:.75rem;align-items:flex-start;align-content:flex-start;
min-width:0;padding:.75rem;border:1px solid var(--hq-line);border-radius:.5rem;box-sizing:border-box}
.hq-pictures{display:flex;flex-wrap:wrap;gap:.5rem;max-width:100%}
.hq-pictures:empty{display:none}
.hq-card img{display:block;max-width:100%;height:auto;margin:0;image-rendering:pixelated}
.hq-answer{flex:1 1 9rem;min-width:0}
.hq-masked .hq-answer,.hq-masked .hq-pictures{flex:0 0 100%}
.hq-masked .hq-pictures{flex-wrap:nowrap}
.hq-masked img{max-width:calc(50% - .25rem)}
.hq-masked{--hq-fill:#8a8a90}
.hq-card h2{margin:0 0 .4rem;font-size:.95rem;font-weight:600;line-height:1.3;overflow-wrap:anywhere}
.hq-card ol{list-style:none;margin:0;padding:0}
.hq-card li{display:grid;grid-template-columns:minmax(0,2fr) minmax(0,3fr) 3.4em;gap:.5rem;align-items:center;
margin:.15rem 0;font-size:.85rem;line-height:1.3}
.hq-name{overflow-wrap:anywhere}
.hq-bar{height:.7rem;border-radius:2px;overflow:hidden;background:var(--hq-track)}
.hq-bar>span{display:block;height:100%;background:var(--hq-fill)}
.hq-share{text-align:right;font-variant-numeric:tabular-nums}
.hq-card p{margin:.4rem 0 0;font-size:.8rem;line-height:1.4;overflow-wrap:anywhere}
.hq-card p:empty{display:none}
.hq-card p>span,.hq-card p>strong{display:inline-block;margin-right:.6rem}
.hq-swatch{display:inline-block;
width:.8em;height:.8em;margin-right:.5em;border:1px solid #888;vertical-align:-.05em}
.hq-dim{opacity:.75}
.hq-right{color:var(--hq-right,inherit)}
.hq-wrong{color:var(--hq-wrong,inherit);font-weight:600}
"""

_PAGE_STYLE = """\
:root{color-scheme:light dark}
body.hq{--hq-right:#1a7034;--hq-wrong:#b3261e;
margin:0 auto;padding:1rem;max-width:100rem;box-sizing:border-box;
background:#fff;color:#1c1c1e;font-family:system-ui,sans-serif}
h1{font-size:1.3rem;margin:0 0 .25rem;overflow-wrap:anywhere}
header p{margin:0 0 .5rem;overflow-wrap:anywhere}
header{margin-bottom:1rem}
.hq-note{font-weight:600}
body>h2{font-size:1.05rem;margin:1.5rem 0 .5rem}
body>ul{margin:0;padding-left:1.2rem;font-size:.9rem}
body>ul li{overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.3rem 1.5rem;margin:0}
dd{margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
@media (prefers-color-scheme:dark){
body.hq{--hq-right:#7ddc9a;--hq-wrong:#ff9d94;background:#161618;color:#ececee}
}
"""
