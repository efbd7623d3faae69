"""Figures of the boards whose bitstreams were built here: what they take, and what they do with a model."""

from dataclasses import dataclass
from typing import Any

from haarlequin.hw.boards.board import ECP5_85F, SPI_HZ, Board
from haarlequin.hw.config import AcceleratorConfig, AnyConfig
from haarlequin.hw.families.family import RESOURCES
from haarlequin.hw.presets import accelerator
from haarlequin.models.presets import PRESETS
from haarlequin.sim.benchmark.figure import MODEL, Figure, Mark, rate, table
from haarlequin.sw import rates
from haarlequin.sw.bitstream import facts_of
from haarlequin.sw.compiler.resources import ideal_cycles

DENSITY = 20.0
"""10⁹ operations in a second for each thousand LUT4 of the whole routed design, at its Fmax, on an ECP5."""

BUSY = 0.9
"""The share of the bit products that the lanes could make in the cycles of an image."""

IMAGES_PER_SECOND = 4000.0
"""Images in a second on an ECP5-85F, through its cable too, of a model with as many products as `MODEL`."""

NEEDED = {"met": bool, "baud": int}
"""Facts of a summary that a table of sizes does without."""


@dataclass(frozen=True)
class BoardFigures:
    """The figures of a board with a model."""

    board: str
    title: str
    model: str
    config: str
    figures: list[Figure]
    operations: dict[str, tuple[int, float]]
    """By the name of an operation, its cycles of an image, and how busy the lanes are."""

    def __str__(self) -> str:
        lines = [f"{self.board}: {self.title}", table(self.figures)]
        lines.append(f"\n  {'operation':<36}{'cycles':>14}{'busy':>8}")
        lines += [f"  {name:<36}{count:>14,}{busy:>8.1%}" for name, (count, busy) in self.operations.items()]
        return "\n".join(lines)

    @property
    def array(self) -> float:
        """Images in a second that the accelerator computes."""
        return next(each.value for each in self.figures if each.key == "array_images_per_second")

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        operations = {
            name: {"cycles": count, "busy": round(busy, 4)} for name, (count, busy) in self.operations.items()
        }
        figures = {each.key: each.as_json() for each in self.figures}
        return {"model": self.model, "config": self.config, "figures": figures, "operations": operations}


def usable_facts(target: Board) -> dict[str, Any] | None:
    """The facts of a board's bitstream; None where there is none, or none that figures could be made of."""
    found = facts_of(target, NEEDED)
    return found if found and found["lut4"] > 0 else None


def figures_of(target: Board, found: dict[str, Any], model: str) -> BoardFigures:
    """The figures of a board whose bitstream has these facts, with a model.

    Raises `UsageError` where the model does not fit the accelerator, or this version does not know that.
    """
    machine = accelerator(found["config"])
    config, clock_hz, baud = machine.name, found["clock_mhz"] * 1e6, found["baud"]
    took = rates.cycles(model, config)
    array, cable = rates.images_per_second(model, config, clock_hz, baud)
    kilo_lut4 = found["lut4"] / 1000
    gops = rates.giga_operations(model, array)
    at_fmax = rates.giga_operations(model, found["fmax_mhz"] * 1e6 / took) / kilo_lut4
    busy = ideal_cycles(PRESETS[model], machine) / took
    alone = rates.latency_cycles(model, config) / clock_hz
    whole = rates.latency(model, config, clock_hz, baud)
    mark = _images_mark(target, model)
    figures = []
    for name in RESOURCES:
        used, there = found[name], found["available"][name]
        figures.append(Figure(name, name.upper(), used, f"{used:,} of {there:,}", of=there))
    figures += [
        Figure("fmax_mhz", "Fmax", found["fmax_mhz"], f"{found['fmax_mhz']:g} MHz"),
        Figure("clock_mhz", "clock", found["clock_mhz"], f"{found['clock_mhz']:g} MHz"),
        Figure("cycles", "cycles per image", took, f"{took:,}"),
        Figure("busy", "busy, of the whole image", busy, f"{busy:.1%}", _busy_mark(machine)),
        Figure("gops", "GOPS", gops, f"{gops:,.3g}"),
        Figure("gops_per_klut4", "GOPS per 1,000 LUT4", gops / kilo_lut4, f"{gops / kilo_lut4:#.2g}"),
        Figure("gops_per_klut4_at_fmax", "… at Fmax", at_fmax, f"{at_fmax:#.2g}", _density_mark(target)),
        Figure("array_images_per_second", "images/s, array", array, rate(array), mark),
        Figure("cable_images_per_second", "images/s, through the cable", cable, rate(cable), mark),
        *_over_lines(target, model, array),
        Figure("array_latency_s", "latency of an image, array", alone, _milliseconds(alone)),
        Figure("cable_latency_s", "… through the cable", whole, _milliseconds(whole)),
    ]
    title = f"{found['part']}, {config} at {found['clock_mhz']:g} MHz, {model}"
    if not found["met"]:
        title += f"; it MISSES its clock: make bitstream BOARD={target.name}"
    return BoardFigures(target.name, title, model, config, figures, rates.operations(model, config))


def _over_lines(target: Board, model: str, array: float) -> list[Figure]:
    """The rates through the SPI slave of a board that has one, at the clock for which it is routed, and
    through the USB device that it may have.
    """
    network, found = PRESETS[model], []
    if target.spi:
        images = min(array, rates.spi_images_per_second(network, SPI_HZ))
        title = f"images/s, over SPI at {SPI_HZ / 1e6:g} MHz"
        found.append(Figure("spi_images_per_second", title, images, rate(images)))
    if target.usb_plug:
        images = min(array, rates.usb_images_per_second(network, target.has_high_speed))
        found.append(Figure("usb_images_per_second", "images/s, over USB (ARGS=--usb)", images, rate(images)))
    return found


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms"


def _density_mark(target: Board) -> Mark | None:
    """The mark of operations for each thousand LUT4, on a board that it is about."""
    return Mark(DENSITY) if target.family == "ecp5" else None


def _busy_mark(machine: AnyConfig) -> Mark | None:
    """The mark of the use of the lanes; a scalar machine has none."""
    return Mark(BUSY, words=f"{BUSY:.0%}") if isinstance(machine, AcceleratorConfig) else None


def _images_mark(target: Board, model: str) -> Mark | None:
    """The mark of images in a second on an ECP5-85F, for as many products in a second of another model."""
    if target.capacity != ECP5_85F:
        return None
    of_mark, of_model = (rates.giga_operations(name, 1) for name in (MODEL, model))
    images = IMAGES_PER_SECOND * of_mark / of_model
    own = f"{images:,.0f}"
    return Mark(images, words=own if model == MODEL else f"{own}, as {IMAGES_PER_SECOND:,.0f} of {MODEL}")
