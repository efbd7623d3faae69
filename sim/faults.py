"""Faults that are made on purpose: each must make `make sim` fail, and the report must name its layer."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from amaranth.hdl import Module, Signal, Value

from haarlequin.hw.lanes import postprocess
from haarlequin.models.common.errors import UsageError
from haarlequin.models.golden import Trace
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.encode import encode, packed_settings, program_words, settings
from haarlequin.sw.compiler.passes import Pass

FAULTS = {
    "weight": "one bit of a weight is flipped, in the tables",
    "threshold": "one sign threshold is off by one, in the tables",
    "shift": "constants are shifted by a place too few, or too many, as they load, in the program",
    "edge": "a convolution sees what lies in memory beyond an edge of the grid, in the program",
    "merge": "tokens of odd columns take the place of their neighbours in a merge, in the program",
    "border": "the stem sees what lies in memory beyond the border of the image, in the settings",
    "saturation": "the lanes wrap around instead of saturating, in the hardware",
}
"""Their names and what they do. Those of the tables are in the middle layer, and those of the program, where
it has such a part; otherwise in the last layer that has."""


def faulty(program: Program, fault: str, traces: list[Trace]) -> Program:
    """Put a fault into the program's words; ``traces`` help to choose one that these images meet.

    Raises `UsageError` for a model without the part that is broken.
    """
    lowered = program.lowered
    places = lowered.model.config.places
    layer = places[len(places) // 2].name
    words = {name: list(content) for name, content in program.words.items()}
    fields = [item.fields for item in lowered.passes]
    if fault == "weight":
        words["weights"][_address(_last_linear(program, layer), "weights")] ^= 1
    elif fault == "threshold":
        words = encode(replace(lowered, tables=replace(lowered.tables, constants=_moved(program, traces))))
    elif fault == "shift":
        address = _address(_last_linear(program, layer), "constants")
        index = next(
            i
            for i, one in enumerate(fields)
            if one.get("load_constants") and one["constants_base"] == address
        )
        fields[index] = fields[index] | {"affine_shift": abs(fields[index]["affine_shift"] - 1)}
    elif fault == "edge":
        index = _last(program, layer, lambda one: bool(one.get("above")))
        fields[index] = fields[index] | dict.fromkeys(("above", "below", "left", "right"), 0)
    elif fault == "merge":
        index = _last(program, layer, lambda one: bool(one.get("merge") and one.get("bits_0")))
        fields[index] = fields[index] | {"odd_column": 0, "chunk_column": 0}
    elif fault == "border":
        if not lowered.model.config.stem.padding:
            raise UsageError(f"{lowered.model.config.name} has no convolution as its stem")
        words["settings"] = packed_settings(
            lowered.machine, settings(lowered.model, lowered.machine) | {"padding": 0}
        )
    words["program"] = program_words(lowered.machine, fields)
    return replace(program, words=words)


@contextmanager
def in_hardware(fault: str | None) -> Iterator[None]:
    """Make hardware with that fault while the block lasts."""

    def wrapped(m: Module, value: Value, bits: int, clipped: Signal) -> Value:
        return value[:bits].as_signed()

    if fault == "saturation":
        with patch.object(postprocess, "saturate", wrapped):
            yield
    else:
        yield


def _last_linear(program: Program, layer: str) -> Pass:
    """The last step of the first tile of the layer's last operation."""
    passes = [item for item in program.lowered.passes if item.name.startswith(f"{layer}.")]
    name = [item.name for item in passes if item.results][-1]
    return next(item for item in passes if item.name == name and item.results)


def _address(item: Pass, table: str) -> int:
    """Where the ``weights`` or ``constants`` of a pass begin in their table."""
    address = getattr(item.needs, table)
    assert address is not None, f"{item.name} loads no {table}"
    return address


def _last(program: Program, layer: str, wanted: Callable[[Mapping[str, int]], bool]) -> int:
    """The number of the last pass of the layer, or else of all, with these fields."""
    found = [(i, item) for i, item in enumerate(program.lowered.passes) if wanted(item.fields)]
    if not found:
        raise UsageError(f"{program.model.config.name} has nothing that this would break")
    inside = [i for i, item in found if item.name.startswith(f"{layer}.")]
    return inside[-1] if inside else found[-1][0]


def _moved(program: Program, traces: list[Trace]) -> list[dict[str, int]]:
    """The rows of constants, with one move that is off by one. Some value lies exactly on its threshold."""
    lowered, constants = program.lowered, program.model.constants
    lowest = -(1 << program.lowered.machine.widths.offset - 1)
    places = lowered.model.config.places
    middle = [place.name for place in places[len(places) // 2 :]]
    for item in lowered.passes:
        shown = {result.port: result for result in item.results}
        signs = next((one for port, one in shown.items() if port.startswith("bits")), None)
        if "y" not in shown or signs is None or not signs.tensor.endswith(".signs"):
            continue
        if not any(item.name.startswith(f"{name}.") for name in middle):
            continue
        channels = slice(signs.first, signs.first + signs.channels)
        move = constants[f"{signs.tensor.removesuffix('.signs')}.move"][channels]
        on = np.concatenate([trace[item.name][0][:, channels] == -move for trace in traces]).any(0)
        met = np.flatnonzero(on & (move > lowest))
        if len(met):
            rows = list(lowered.tables.constants)
            address = _address(item, "constants") + int(met[0])
            rows[address] = rows[address] | {"move": rows[address]["move"] - 1}
            return rows
    raise UsageError("no value lies on its threshold: take more images")
