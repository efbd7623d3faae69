"""`python docs/pictures.py result`, `… floorplan [FOLDER]` and `… masks DIR`: make pictures of results.

``result`` asks the simulated accelerator for the first test image of each digit, writes what it said to
docs/result.json, and draws docs/result.png from that. ``floorplan`` draws docs/floorplan.png from the folder
in which `make bitstream` has routed a board, and writes what the board took to docs/boards.json, where
docs/figures.py finds it. ``masks`` draws docs/masks.png, images of CamVid with their masks and the answers of
a network, from a folder of the data set. Each picture says in its metadata what it was made from; a test
compares that.
"""

import argparse
import hashlib
import io
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from PIL import Image, PngImagePlugin

from haarlequin import Accelerator
from haarlequin.hw.bitstream import floorplan
from haarlequin.hw.bitstream.flow import PLACED, SUMMARY
from haarlequin.models import data
from haarlequin.models.common import stamps
from haarlequin.models.common.places import build_folder
from haarlequin.models.segmentation import enlarge, score
from haarlequin.sw.mask_picture import colours
from haarlequin.sw.resolve import golden_model, trained

HERE = Path(__file__).resolve().parent
RESULT = HERE / "result.png"
SAID = HERE / "result.json"
FLOORPLAN = HERE / "floorplan.png"
MASKS = HERE / "masks.png"
ROUTED = HERE / "boards.json"

BOARD = "ulx3s-25f"
"""The board of the floorplan where no folder is named."""

KEPT = ("part", "config", "lut4", "ff", "bram", "dsp", "available", "clock_mhz", "baud", "fmax_mhz")
"""The facts of a routed board that docs/boards.json keeps, in their order."""

MODEL = "digits"
MASKS_MODEL = "camvid-16x12"

MASKS_SHOWN = (0, 40, 80)
"""Numbers of the test images of which masks are drawn."""

COLOURS = 64
"""Size of a picture's palette: enough for what is drawn here, and a third of the bytes."""

PAPER, CARD, LINE, INK, GREY, WRONG = "#fbfaf7", "#27313c", "#d5d1c6", "#27313c", "#59646f", "#b4532f"


def chosen() -> list[int]:
    """Numbers of the test images in the picture: the first of each class."""
    labels = data.load(MODEL).test.labels.tolist()
    return [labels.index(label) for label in sorted(set(labels))]


def ask(device: str = "sim") -> dict:
    """The answers of a device to the images of the picture, as docs/result.json has them."""
    test, numbers = data.load(MODEL).test, chosen()
    with Accelerator(device, MODEL, notice=print) as accelerator:
        said = accelerator.classify(np.asarray(test.pixels)[numbers])
    return {
        "model": MODEL,
        "device": device,
        "images": numbers,
        "labels": [said.classes[test.labels[number]] for number in numbers],
        "predicted": said.names,
        "logits": said.logits.tolist(),
        "cycles": said.cycles.tolist(),
    }


def draw_result(said: dict, pixels: Sequence[np.ndarray]) -> Figure:
    """The images beside each other, below each its label and the cycles that it took."""
    count, wide = len(pixels), 900
    figure = Figure(figsize=(wide / 72, 176 / 72), dpi=72)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(176, 0))
    axes.set_axis_off()
    _rounded(axes, 1, 1, wide - 2, 174, PAPER, LINE)
    step = (wide - 40) / count
    size = step - 16
    for i, image in enumerate(pixels):
        left = 20 + i * step + 8
        _rounded(axes, left - 4, 20, size + 8, size + 8, CARD, CARD)
        extent = (left, left + size, 24 + size, 24)
        axes.imshow(image.squeeze(), cmap="gray", extent=extent, interpolation="nearest", zorder=3)
        right = said["predicted"][i] == said["labels"][i]
        middle, top = left + size / 2, 24 + size
        axes.text(middle, top + 26, said["predicted"][i], size=20, weight="bold", ha="center", va="center",
                  color=INK if right else WRONG)  # fmt: skip
        note = f"{said['cycles'][i]:,} cycles"
        axes.text(middle, top + 46, note, size=9, ha="center", va="center", color=GREY)
        if not right:
            truth = f"it is {said['labels'][i]}"
            axes.text(middle, top + 60, truth, size=9, ha="center", va="center", color=WRONG)
    axes.set(xlim=(0, wide), ylim=(176, 0))
    return figure


def _rounded(axes, left: float, top: float, width: float, height: float, fill: str, edge: str) -> None:
    style = "round,pad=0,rounding_size=8"
    axes.add_patch(FancyBboxPatch((left, top), width, height, boxstyle=style, facecolor=fill, edgecolor=edge))


def digest(*sources: Path) -> str:
    """A hash of the files that a picture is made from."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def save(picture: Image.Image, path: Path, made_from: str, count: int = COLOURS) -> None:
    """A small PNG of ``count`` colours that says in its metadata what it was made from."""
    words = PngImagePlugin.PngInfo()
    words.add_text("Description", made_from)
    small = picture.convert("RGBA").quantize(count, method=Image.Quantize.FASTOCTREE)
    small.save(path, format="PNG", optimize=True, pnginfo=words)


def made_from(path: Path) -> str:
    """The note that `save` has written into a picture."""
    with Image.open(path) as picture:
        return picture.text["Description"]


def result(device: str = "sim") -> None:
    """Writes docs/result.json and docs/result.png."""
    said = ask(device)
    SAID.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    redraw()


def redraw() -> None:
    """Draws docs/result.png from what docs/result.json says."""
    said = json.loads(SAID.read_text(encoding="utf-8"))
    pixels = np.asarray(data.load(MODEL).test.pixels)[said["images"]]
    content = io.BytesIO()
    draw_result(said, pixels).savefig(content, format="png", dpi=144, transparent=True)
    save(Image.open(content), RESULT, digest(SAID))


def record(folder: Path) -> dict:
    """Write the facts of the board routed in ``folder`` to docs/boards.json; returns them."""
    found = stamps.facts(folder / SUMMARY)
    if found is None:
        raise SystemExit(f"error: {folder / SUMMARY} is missing, or not of the bitstream beside it")
    if not found["met"]:
        raise SystemExit(f"error: the design in {folder} misses its clock")
    known = json.loads(ROUTED.read_text(encoding="utf-8"))
    known[found["board"]] = {name: found[name] for name in KEPT}
    # An object on each line is enough: what a board has is on one.
    lines = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in known.items()]
    ROUTED.write_text("{\n" + textwrap.indent(",\n".join(lines), " ") + "\n}\n", encoding="utf-8")
    return known[found["board"]]


def chip(folder: Path) -> None:
    """Writes docs/floorplan.png, and the board's line of docs/boards.json."""
    found = record(folder)
    drawn = HERE / "floorplan.drawn.png"
    try:
        floorplan.draw(folder / PLACED, f"{found['part']}, {found['config']}", drawn)
        save(Image.open(drawn), FLOORPLAN, json.dumps(found))
    finally:
        drawn.unlink(missing_ok=True)


def draw_masks(
    pixels: np.ndarray, truth: np.ndarray, answers: np.ndarray, classes: Sequence[str], notes: Sequence[str]
) -> Figure:
    """Each image of ``pixels`` (n, H, W, 3) with its true mask and its answer, (n, H, W), side by side; below
    each answer its note, and below all a legend. Pixels without a class are white.
    """
    palette = np.full((256, 3), 255, np.uint8)
    palette[: len(classes)] = colours(len(classes))
    rows = len(pixels)
    figure = Figure(figsize=(12, 3.1 * rows + 0.8), dpi=72, facecolor=PAPER)
    axes = figure.subplots(rows, 3, squeeze=False)
    for row, image, known, answer, note in zip(axes, pixels, truth, answers, notes, strict=True):
        for place, shown in zip(row, (image, palette[known], palette[answer]), strict=True):
            place.imshow(shown, interpolation="nearest")
            place.set(xticks=[], yticks=[])
        row[2].set_xlabel(note, size=11, color=GREY)
    for place, title in zip(axes[0], ("image", "truth", "answer"), strict=True):
        place.set_title(title, size=14, color=INK)
    names = [*classes, "no class"]
    fills = [*palette[: len(classes)] / 255, "white"]
    patches = [Patch(facecolor=f, edgecolor=LINE, label=name) for f, name in zip(fills, names, strict=True)]
    figure.legend(handles=patches, loc="lower center", ncols=6, frameon=False, fontsize=12, labelcolor=INK)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.96, bottom=0.1, wspace=0.03, hspace=0.12)
    return figure


def masks(folder: Path) -> None:
    """Writes docs/masks.png, of test images of the data set in ``folder``."""
    model = golden_model(MASKS_MODEL)
    config, grid = model.config, model.config.grids[-1]
    shown = data.load(config, folder).test.take(np.array(MASKS_SHOWN))
    tokens, count = model(shown.pixels).argmax(-1), len(config.classes)
    found = [score(tokens[i : i + 1], shown.labels[i : i + 1], grid, count) for i in range(len(shown))]
    notes = [f"{each.accuracy:.0%} of the pixels right" for each in found]
    answers = enlarge(tokens, grid, config.image)
    content = io.BytesIO()
    draw_masks(shown.pixels, shown.labels, answers, config.classes, notes).savefig(
        content, format="png", dpi=96
    )
    save(Image.open(content), MASKS, masks_source(), 256)


def masks_source() -> str:
    """The sources of docs/masks.png: the model, by the hash of its file, and the numbers of the images."""
    path = trained(MASKS_MODEL)
    return json.dumps({"model": MASKS_MODEL, "file": path and digest(path), "test images": MASKS_SHOWN})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make the pages' pictures of results.")
    parser.add_argument("picture", choices=("result", "redraw", "floorplan", "record", "masks"))
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        help=f"of a routed board (default: that of {BOARD} in the build folder), or the data of the masks",
    )
    arguments = parser.parse_args()
    if arguments.picture == "masks":
        if arguments.folder is None:
            parser.error("masks needs the folder of the data set")
        masks(arguments.folder)
        return
    folder = arguments.folder or build_folder("boards", BOARD)
    if arguments.picture in ("floorplan", "record"):
        {"floorplan": chip, "record": record}[arguments.picture](folder)
    else:
        {"result": result, "redraw": redraw}[arguments.picture]()


if __name__ == "__main__":
    main()
