"""`python docs/figures.py`: prints the tables of figures that README.md and the pages beside this file have.

Each figure is computed from its source: a model's card, the compiler and the protocol's frames, of which
`sw.rates` makes rates, or docs/boards.json, which `python docs/pictures.py floorplan` writes from a routed
board. A test compares these tables with the pages.
"""

import json
from functools import cache
from pathlib import Path

from haarlequin.hw.boards import BOARDS
from haarlequin.hw.boards.board import SPI_HZ
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import PRESETS
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.resources import bit_macs, ideal_cycles, memories, multipliers
from haarlequin.sw.rates import (
    cycles,
    fifo_images_per_second,
    frame_bytes,
    giga_operations,
    images_per_second,
    line_images_per_second,
    spi_images_per_second,
    udp_images_per_second,
    usb_images_per_second,
)
from haarlequin.sw.targets import compile_model

ROOT = Path(__file__).resolve().parents[1]
ROUTED = Path(__file__).with_name("boards.json")

PLANNED = (
    ("digits", "2x64"),
    ("digits", "4x64"),
    ("digits", "16x64"),
    ("cifar10-nano", "8x64"),
    ("cifar10-nano", "16x64"),
    ("cifar10-hybrid", "8x64-hybrid"),
    ("cifar10-hybrid", "16x64"),
    ("cifar10-hybrid", "32x128"),
    ("cifar10-hybrid-large", "32x128"),
    ("cifar10-hybrid-large", "16x256"),
    ("cifar10-tiny", "16x128"),
    ("cifar10-tiny", "32x128"),
    ("cifar10-tiny", "64x128"),
    ("camvid-16x12", "32x128-masks"),
)
"""Models and accelerators of the table of what fits."""


SHARE = {"SPI": 0.903}
"""The share of what a line carries that the host's own code gets through simulated pins, where that is not
all: `haarlequin cable`.
"""


def card(model: str) -> dict:
    """The card of a trained model: how it was trained, and how many of which images it labels right."""
    return json.loads((ROOT / "models" / "zoo" / model / "card.json").read_text(encoding="utf-8"))


def students() -> list[tuple[str, dict]]:
    """Name and card of every trained binary model, without the teachers, whose weights are real numbers."""
    names = sorted(path.parent.name for path in (ROOT / "models" / "zoo").glob("*/card.json"))
    return [(name, found) for name in names if "deploy_mode" in (found := card(name))]


def top1(model: str) -> float:
    """Share of the test images that the integer model labels right, or the mean IoU of its masks."""
    accuracy = card(model)["accuracy"]
    # A card without the golden model's own figure is older than it: deploy mode gives the same integers.
    return accuracy.get("test_golden", accuracy["test_deploy"])


def routed() -> dict[str, dict]:
    """By the name of a board, what its routed design took: the facts of `make bitstream`."""
    return json.loads(ROUTED.read_text(encoding="utf-8"))


def _rate(images: float) -> str:
    return f"{images:,.0f}" if images >= 100 else f"{images:.1f}"


def carried(name: str, baud: int) -> dict[str, float | None]:
    """The images a second that each kind of line of a board carries; None for one that it has not. The first
    three are in every bitstream of a board that has them.
    """
    board, model = BOARDS[name], PRESETS[BOARDS[name].model]
    return {
        "UART": line_images_per_second(model, baud),
        "SPI": spi_images_per_second(model, SPI_HZ) if board.spi else None,
        "Ethernet": udp_images_per_second(model) if board.ethernet else None,
        "USB": usb_images_per_second(model, board.has_high_speed) if board.usb_plug else None,
        "FIFO": fifo_images_per_second(model) if board.has_fifo else None,
    }


def board_table() -> list[str]:
    """The README's: each board with its model, accuracy, images a second, size and clock."""
    rows = [
        "| board | model | top-1 | images/s, computed | through its UART | through its best line "
        "| LUT4 | clock |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in routed().items():
        model, clock_hz = BOARDS[name].model, round(found["clock_mhz"] * 1e6)
        computed, line = images_per_second(model, found["config"], clock_hz, found["baud"])
        lines = carried(name, found["baud"]).items()
        arrives = {kind: min(computed, SHARE.get(kind, 1.0) * rate) for kind, rate in lines if rate}
        best = max(arrives, key=lambda kind: arrives[kind])
        used = f"{found['lut4']:,} of {found['available']['lut4']:,}"
        rows.append(
            f"| {found['part']} | `{model}` | {top1(model):.1%} | {_rate(computed)} | {_rate(line)} "
            f"| {_rate(arrives[best])}, {best} | {used} | {found['clock_mhz']:.4g} MHz |"
        )
    return rows


def routed_table() -> list[str]:
    """That of `make bitstream ARGS=--table`: what each routed board took."""
    rows = [
        "| board | accelerator | LUT4 | FF | BRAM | DSP | clock, MHz |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for found in (routed()[name] for name in BOARDS if name in routed()):
        used = (f"{found[column]:,} of {found['available'][column]:,}" for column in found["available"])
        clock = f"{found['fmax_mhz']} of {found['clock_mhz']:g}"
        rows.append(f"| {found['part']} | `{found['config']}` | {' | '.join(used)} | {clock} |")
    return rows


def line_table() -> list[str]:
    """How the images a second through a cable come about, for each board."""
    rows = [
        "| board | baud | IMAGE frame | RESULT frame | the UART carries | SPI at 50 MHz carries "
        "| Ethernet carries | USB carries | a FIFO carries | the accelerator computes |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in routed().items():
        model = BOARDS[name].model
        frames, baud = frame_bytes(PRESETS[model]), found["baud"]
        computed, _ = images_per_second(model, found["config"], round(found["clock_mhz"] * 1e6), baud)
        lines = (f"{_rate(rate)} images/s" if rate else "–" for rate in carried(name, baud).values())
        rows.append(
            f"| {found['part']} | {baud:,} | {frames['image']:,} bytes | {frames['result']} bytes "
            f"| {' | '.join(lines)} | {_rate(computed)} images/s |"
        )
    return rows


def density_table() -> list[str]:
    """Operations in a second and for each thousand LUT4, whole systems at the clock they are built for."""
    rows = [
        "| board | accelerator | model | bit-MACs per image | cycles per image | busy | GOPS "
        "| GOPS per 1,000 LUT4 |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, found in routed().items():
        model, machine = PRESETS[BOARDS[name].model], CONFIGS[found["config"]]
        took, products = cycles(model.name, machine.name), sum(bit_macs(model).values())
        gops = giga_operations(model.name, found["clock_mhz"] * 1e6 / took)
        busy = f"{ideal_cycles(model, machine) / took:.1%}"
        rows.append(
            f"| {found['part']} | `{machine.name}` | `{model.name}` | {products:,} | {took:,} | {busy} "
            f"| {gops:,.3g} | {1000 * gops / found['lut4']:{'.1f' if gops > 1 else '.2g'}} |"
        )
    return rows


def _change(found: dict) -> str:
    """The cost of deploy mode by that card, in points, with its standard error."""
    change, error = (100 * found["deploy_mode"][key] for key in ("change", "paired_standard_error"))
    return f"{change:+.1f}".replace("-", "−") + f" ± {error:.1f} points"


def masks_table() -> list[str]:
    """Every trained binary model of masks, from its card."""
    rows = [
        "| model | test images | mean IoU, float phase | mean IoU, integers | pixels right | "
        "cost of the integers, in pixels |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for model, found in students():
        if "iou" in found:
            accuracy = found["accuracy"]
            shares = accuracy["test_float"], top1(model), accuracy["test_pixels"]
            cells = [f"`{model}`", f"{found['images']['test']:,}", *(f"{share:.1%}" for share in shares)]
            rows.append(f"| {' | '.join(cells)} | {_change(found)} |")
    return rows


def accuracy_table() -> list[str]:
    """Every trained binary model that labels images, from its card."""
    rows = [
        "| model | test images | float phase | integers | cost of the integers |",
        "|---|---:|---:|---:|---:|",
    ]
    for model, found in students():
        if "iou" not in found:
            rows.append(
                f"| `{model}` | {found['images']['test']:,} | {found['accuracy']['test_float']:.1%} "
                f"| {top1(model):.1%} | {_change(found)} |"
            )
    return rows


@cache
def _planned(model: str, config: str) -> Program:
    """A preset with meaningless constants, compiled."""
    return compile_model(GoldenModel.blank(PRESETS[model]), CONFIGS[config], check=False)


def plan_table() -> list[str]:
    """Block RAMs, multipliers and cycles of presets on accelerators that hold them, whatever the weights."""
    rows = [
        "| model | lanes × K | ECP5 block RAMs | multipliers | cycles per image | ideal | utilisation |",
        "|---|---|---|---|---|---|---|",
    ]
    for model, config in PLANNED:
        machine = CONFIGS[config]
        program = _planned(model, config)
        blocks = sum(memory.blocks() for memory in memories(program.lowered))
        ideal = ideal_cycles(PRESETS[model], machine)
        rows.append(
            f"| `{model}` | {config} | {blocks} | {multipliers(machine)} | {program.cycles:,} | {ideal:,.0f} "
            f"| {ideal / program.cycles:.1%} |"
        )
    return rows


TABLES = {
    "README.md": board_table,
    "docs/boards.md": routed_table,
    "docs/figures.md, accuracy": accuracy_table,
    "docs/figures.md, masks": masks_table,
    "docs/figures.md, cables": line_table,
    "docs/figures.md, density": density_table,
    "docs/architecture.md": plan_table,
}
"""By the page it is on, what makes a table."""


def main() -> None:
    """Every table, below the page it belongs to."""
    for page, table in TABLES.items():
        print(f"{page}\n", *table(), "", sep="\n")


if __name__ == "__main__":
    main()
