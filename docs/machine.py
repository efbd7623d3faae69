"""`python docs/machine.py`: draws docs/machine.svg, the README's picture of the machine.

Its figures are a preset's, and it says what it was made from, by which a test sees when it is out of date.
"""

import argparse
import hashlib
import io
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve

from haarlequin.hw.presets import CONFIGS

HERE = Path(__file__).resolve()
PICTURE = HERE.with_suffix(".svg")
C = CONFIGS["32x128"]
WIDTH, HEIGHT = 900, 710

PAPER, CARD, LINE, INK, GREY = "#fbfaf7", "#f1efe8", "#d5d1c6", "#27313c", "#59646f"
KINDS = {  # fill and edge of a box
    "memory": ("#e0eaf3", "#6d8fad"),
    "compute": ("#e4eedf", "#7b9c6c"),
    "control": ("#f6ead3", "#b9924f"),
    "link": ("#ebe4f0", "#9079a6"),
}
FLOWS = {  # colour, width and dashes of an arrow
    "wide": ("#3d688a", 1.9, "-"),
    "bits": ("#b4532f", 1.9, "-"),
    "load": ("#9a7436", 1.3, "-"),
    "control": ("#9a7436", 1.3, (0, (3, 2))),
    "link": ("#80679a", 1.5, "-"),
}
# The fonts that come with matplotlib are the same everywhere.
FONTS = {
    style: FontProperties(fname=Path(mpl.get_data_path()) / f"fonts/ttf/DejaVuSans{style}.ttf")
    for style in ("", "-Bold", "-Oblique")
}

LANE_FILES = "lane_array.py, postprocess.py"
THETA = f"{C.theta} × {C.theta}"
SIGNS = "0: x, Q, Â, u\n1: x, K, V"


@dataclass(frozen=True)
class Box:
    """Its left, top, right and bottom; what it is; its name, a line or two about it, its files below hw/."""

    left: float
    top: float
    right: float
    bottom: float
    kind: str
    name: str
    about: str = ""
    files: str = ""


BOXES = (
    Box(20, 18, 120, 58, "link", "Host", "sw/"),
    Box(20, 92, 120, 692, "link", "Link", "frames of bytes,\nCRC-16", "link.py"),
    Box(146, 118, 256, 156, "memory", "Program", f"{C.program:,} updates"),
    Box(146, 172, 256, 212, "control", "Sequencer", "", "sequencer.py"),
    Box(318, 136, 430, 196, "control", "Loader", "one lane per cycle", "loader.py"),
    Box(486, 118, 690, 156, "memory", "Weights", f"{C.weights:,} words of {C.width} bits"),
    Box(486, 172, 690, 212, "memory", "Constants", "affines, slopes, moves, tₙ"),
    Box(146, 262, 244, 388, "memory", "Signs", f"2 × {C.signs} words\nof {C.width} bits\n\n{SIGNS}"),
    Box(312, 278, 412, 304, "memory", "", f"{C.width} weight bits"),
    Box(498, 278, 652, 304, "memory", "", "constants of a tile"),
    Box(312, 330, 412, 372, "compute", "XOR", "popcount"),
    Box(430, 330, 480, 372, "compute", "Σ", "K − 2H"),
    Box(498, 330, 554, 372, "compute", "affine"),
    Box(572, 336, 602, 366, "compute", "+"),
    Box(620, 330, 690, 372, "compute", "IRPReLU"),
    Box(708, 330, 776, 372, "compute", "saturate"),
    Box(800, 330, 848, 372, "compute", "sign"),
    Box(276, 430, 396, 488, "compute", "Local convolution", f"{THETA} of V", "local_unit.py"),
    Box(416, 430, 484, 488, "memory", "Bank C", "partial\nsums"),
    Box(490, 430, 570, 488, "memory", "Bank A", "lo, hi, scores,\nV′, context"),
    Box(612, 430, 714, 488, "memory", "Bank B", "x of this image\nand of the next"),
    Box(772, 430, 864, 488, "compute", "Haar", "x → lo, hi", "haar_unit.py"),
    Box(424, 538, 566, 592, "compute", "Attention", "row maxima, softmax", "attention.py, softmax.py"),
    Box(684, 538, 800, 592, "compute", "Pool and head", "Σ x → logits", "pool.py, head.py"),
    Box(146, 606, 256, 650, "memory", "Pixels", "of two images", "images.py"),
    Box(312, 606, 452, 650, "compute", "Embedding", f"{C.macs} multipliers", "embedding.py"),
)
ARROWS = (  # a flow and its corners, beginning to head
    ("link", (58, 58), (58, 92)),
    ("link", (82, 92), (82, 58)),
    ("link", (120, 137), (146, 137)),
    ("link", (716, 137), (716, 192), (690, 192)),
    ("link", (120, 103), (716, 103), (716, 137), (690, 137)),
    ("link", (120, 628), (146, 628)),
    ("link", (256, 628), (312, 628)),
    ("link", (742, 592), (742, 674), (120, 674)),
    ("control", (201, 156), (201, 172)),
    ("control", (256, 184), (318, 184)),
    ("control", (168, 212), (168, 262)),
    ("load", (486, 146), (430, 146)),
    ("load", (486, 186), (430, 186)),
    # Signs, to and from the lanes.
    ("bits", (848, 351), (880, 351), (880, 245), (230, 245), (230, 262)),
    ("bits", (864, 445), (880, 445), (880, 351)),
    ("bits", (396, 245), (396, 278)),
    ("bits", (204, 262), (204, 227), (338, 227), (338, 196)),
    ("bits", (244, 344), (312, 344)),
    ("bits", (244, 362), (312, 362)),
    ("bits", (224, 388), (224, 459), (276, 459)),
    ("bits", (424, 565), (190, 565), (190, 388)),
    ("load", (364, 196), (364, 278)),
    ("load", (414, 196), (414, 227), (525, 227), (525, 278)),
    ("load", (671, 212), (671, 330)),
    # Wide values.
    ("bits", (362, 304), (362, 330)),
    ("load", (525, 304), (525, 330)),
    ("load", (638, 304), (638, 330)),
    ("wide", (412, 351), (430, 351)),
    ("wide", (480, 351), (498, 351)),
    ("wide", (554, 351), (572, 351)),
    ("wide", (602, 351), (620, 351)),
    ("wide", (690, 351), (708, 351)),
    ("wide", (776, 351), (800, 351)),
    ("wide", (336, 430), (336, 410), (444, 410), (444, 372)),
    ("wide", (465, 430), (465, 372)),
    ("wide", (570, 459), (587, 459)),
    ("wide", (612, 459), (587, 459)),
    ("wide", (587, 459), (587, 366)),
    ("wide", (655, 430), (655, 372)),
    ("wide", (818, 488), (818, 512), (742, 512)),
    ("wide", (742, 512), (536, 512)),
    ("wide", (536, 512), (536, 538)),
    ("wide", (536, 512), (536, 488)),
    ("wide", (536, 512), (450, 512), (450, 488)),
    ("wide", (690, 512), (690, 488)),
    ("wide", (742, 372), (742, 538)),
    ("wide", (714, 459), (772, 459)),
    ("wide", (510, 488), (510, 538)),
    ("wide", (452, 628), (638, 628), (638, 488)),
)
DOTS = {  # where arrows part or meet, and the flow
    (716, 137): "link",
    (396, 245): "bits",
    (880, 351): "bits",
    (587, 459): "wide",
    (742, 512): "wide",
    (690, 512): "wide",
    (536, 512): "wide",
}
LABELS = (  # left end, or negative the right one, and middle; the flow it is about; what it says
    (90, 75, "link", "bytes"),
    (128, 95, "link", "a model's tables"),
    (-112, 120, "link", "LOAD"),
    (-112, 628, "link", "IMAGE"),
    (-112, 674, "link", "RESULT"),
    (212, 219, "bits", "keys"),
    (-872, 236, "bits", f"{C.lanes} new signs per cycle"),
    (402, 254, "bits", "V's columns"),
    (249, 329, "bits", f"{C.width} signs\nper cycle"),
    (232, 450, "bits", "V"),
    (200, 556, "bits", f"rows of Â, {C.lanes} bits per cycle"),
    (677, 304, "load", "tₙ"),
    (471, 412, "wide", "partial"),
    (592, 412, "wide", "shortcut"),
    (660, 412, "wide", "residual"),
    (748, 412, "wide", f"y, {C.lanes} × {C.widths.wide} bits"),
    (-504, 526, "wide", "scores"),
    (-812, 502, "wide", "lo, hi"),
    (645, 607, "wide", "x of the next image"),
    (262, 664, "link", "logits, cycles, saturations"),
)


def text(
    axes, x: float, y: float, words: str, size: float, colour: str = INK, style: str = "", side="center"
):
    """Words with their middle at ``y``."""
    axes.text(
        x, y, words, color=colour, size=size, font=FONTS[style].copy(), ha=side, va="center", linespacing=1.3
    )


def rounded(axes, left, top, right, bottom, fill, edge, radius=6.0, width=1.1) -> None:
    """A box with round corners."""
    style = f"round,pad=0,rounding_size={radius}"
    size = (left, top), right - left, bottom - top
    axes.add_patch(FancyBboxPatch(*size, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=width))


def draw_box(axes, box: Box) -> None:
    """A box and what is written in it, in the middle."""
    rounded(axes, box.left, box.top, box.right, box.bottom, *KINDS[box.kind])
    lines = [(box.name, 10.6, INK, "-Bold")] if box.name else []
    lines += [(line, 9.4, INK, "") for line in box.about.splitlines()]
    lines += [(box.files, 8.8, GREY, "-Oblique")] if box.files else []
    heights = [size + 3.4 for _, size, _, _ in lines]
    y = (box.top + box.bottom - sum(heights)) / 2
    for (words, size, colour, style), height in zip(lines, heights, strict=True):
        text(axes, (box.left + box.right) / 2, y + height / 2, words, size, colour, style)
        y += height


def draw_arrow(axes, flow: str, *corners: tuple[float, float]) -> None:
    """A line round its corners, and its head unless it ends in a dot."""
    colour, width, dashes = FLOWS[flow]
    points, codes = [corners[0]], [Curve.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        points += [_towards(corner, before, 6), corner, _towards(corner, after, 6)]
        codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
    tip, neck = corners[-1], _towards(*corners[:-3:-1], 7)
    line = Curve([*points, tip if tip in DOTS else neck], [*codes, Curve.LINETO])
    style = {"linewidth": width, "linestyle": dashes, "capstyle": "butt"}
    axes.add_patch(PathPatch(line, facecolor="none", edgecolor=colour, **style))
    if tip not in DOTS:
        dx, dy = (tip[0] - neck[0]) / 2, (tip[1] - neck[1]) / 2
        head = [tip, (neck[0] + dy, neck[1] - dx), (neck[0] - dy, neck[1] + dx)]
        axes.add_patch(Polygon(head, facecolor=colour, edgecolor="none"))


def _towards(start: tuple[float, float], end: tuple[float, float], far: float) -> tuple[float, float]:
    share = far / math.dist(start, end)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def legs(corners: tuple[tuple[float, float], ...]) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of an arrow's straight pieces."""
    return [(min(a, c), min(b, d), max(a, c), max(b, d)) for (a, b), (c, d) in pairwise(corners)]


def draw_bridges(axes, below: list, *corners: tuple[float, float]) -> None:
    """A gap in whatever of the arrows ``below`` crosses this one."""
    for left, top, right, bottom in legs(corners):
        for leg in (leg for other in below for leg in legs(other)):
            if left < leg[0] == leg[2] < right and leg[1] < top == bottom < leg[3]:
                axes.plot([leg[0]] * 2, [top - 4, top + 4], color=PAPER, linewidth=4, solid_capstyle="butt")
            if top < leg[1] == leg[3] < bottom and leg[0] < left == right < leg[2]:
                axes.plot([left - 4, left + 4], [leg[1]] * 2, color=PAPER, linewidth=4, solid_capstyle="butt")


def draw_legend(axes, x: float, y: float) -> None:
    """The meaning of the colours."""
    for kind, (fill, edge) in KINDS.items():
        rounded(axes, x, y - 5, x + 18, y + 5, fill, edge, 3)
        text(axes, x + 26, y, kind, 9.4, INK, "", "left")
        y += 17
    for flow, words in (("wide", f"{C.widths.wide}-bit values"), ("bits", "signs, one bit each")):
        draw_arrow(axes, flow, (x, y), (x + 18, y))
        text(axes, x + 26, y, words, 9.4, INK, "", "left")
        y += 17


def draw() -> Figure:
    """The picture, a point a unit, y downwards."""
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.set_axis_off()
    rounded(axes, 1, 1, WIDTH - 1, HEIGHT - 1, PAPER, LINE, 12)
    text(axes, 146, 30, f"Haarlequin {C.name}", 15, INK, "-Bold", "left")
    subtitle = (
        "A layer is a sequence of passes; a pass streams tokens through all lanes, up to one per cycle."
    )
    text(axes, 146, 52, subtitle, 9.8, GREY, "", "left")
    for shift in (8, 4, 0):
        rounded(axes, 300 + shift, 262 + shift, 858 + shift, 388 + shift, CARD, LINE, 8)
    for i, (flow, *corners) in enumerate(ARROWS):
        draw_bridges(axes, [corners for _, *corners in ARROWS[:i]], *corners)
        draw_arrow(axes, flow, *corners)
    for dot, flow in DOTS.items():
        axes.add_patch(Circle(dot, 3, facecolor=FLOWS[flow][0], edgecolor="none"))
    for box in BOXES:
        draw_box(axes, box)
    for x, y, flow, words in LABELS:
        text(axes, abs(x), y, words, 9.2, FLOWS[flow][0], "", "left" if x > 0 else "right")
    text(axes, 692, 278, f"{C.lanes} lanes in lockstep,", 10.2, INK, "-Bold", "left")
    text(axes, 692, 293, "one output channel each", 9.4, INK, "", "left")
    text(axes, 692, 308, LANE_FILES, 8.8, GREY, "-Oblique", "left")
    draw_legend(axes, 748, 112)
    for artist in (*axes.patches, *axes.lines):
        artist.set_clip_on(False)  # nothing is outside, and every path would say so
    return figure


def made_from() -> str:
    """A digest of all that the picture depends on but the version of matplotlib."""
    return hashlib.sha256(HERE.read_bytes() + f"{C!r}".encode()).hexdigest()


def main(path: Path = PICTURE) -> None:
    """Writes the picture, a fifth smaller than matplotlib does: it indents, and has six digits."""
    svg = io.StringIO()
    with mpl.style.context(["default", {"svg.hashsalt": "haarlequin", "svg.fonttype": "path"}]):
        metadata = {"Title": f"Haarlequin {C.name}", "Date": None, "Description": made_from()}
        draw().savefig(svg, format="svg", transparent=True, metadata=metadata)
    small = re.sub(r"\s*\n\s*", "\n", svg.getvalue()).replace("DejaVuSans", "f")
    path.write_text(re.sub(r"(\.\d{3})\d+", r"\1", small), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the picture of the machine.")
    parser.add_argument("picture", nargs="?", type=Path, default=PICTURE, help="where it is written")
    main(parser.parse_args().picture)
