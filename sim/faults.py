"""Faults that are made on purpose: each must make `make sim` fail, and the report must name its layer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
from amaranth.hdl import Module, Signal, Value

from haarlequin.hw.lanes import postprocess
from haarlequin.models.common.errors import UsageError
from haarlequin.models.golden import Trace
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.encode import encode, program_words
from haarlequin.sw.compiler.passes import Pass

FAULTS = {
    "weight": "one bit of a weight is flipped, in the tables",
    "threshold": "one sign threshold is off by one, in the tables",
    "shift": "constants are shifted by a place too few, or too many, as they load, in the program",
    "saturation": "the lanes wrap around instead of saturating, in the hardware",
}
"""Their names and what they do; those of the tables and of the program are in the middle layer."""


def faulty(program: Program, fault: str, traces: list[Trace]) -> Program:
    """Put a fault into the program's words; ``traces`` help to choose one that these images meet."""
    lowered = program.lowered
    layer = f"layers.{lowered.model.config.layers // 2}"
    words = {name: list(content) for name, content in program.words.items()}
    if fault == "weight":
        words["weights"][_address(_pass(program, f"{layer}.expand"), "weights")] ^= 1
    elif fault == "threshold":
        channel = _met_threshold(program, layer, traces)
        lanes = lowered.machine.lanes
        tile = [item for item in lowered.passes if item.name == f"{layer}.output" and item.results][
            channel // lanes
        ]
        address = _address(tile, "constants") + channel % lanes
        rows = list(lowered.tables.constants)
        rows[address] = rows[address] | {"move": rows[address]["move"] - 1}
        words = encode(replace(lowered, tables=replace(lowered.tables, constants=rows)))
    elif fault == "shift":
        address = _address(_pass(program, f"{layer}.output"), "constants")
        index = next(
            i
            for i, item in enumerate(lowered.passes)
            if item["load_constants"] and item["constants_base"] == address
        )
        passes = [item.fields for item in lowered.passes]
        passes[index] = passes[index] | {"affine_shift": abs(passes[index]["affine_shift"] - 1)}
        words["program"] = program_words(lowered.machine, passes)
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


def _pass(program: Program, name: str) -> Pass:
    """The first pass of an operation that shows a result: the last step of its first tile."""
    return next(item for item in program.lowered.passes if item.name == name and item.results)


def _address(item: Pass, table: str) -> int:
    """Where the ``weights`` or ``constants`` of a pass begin in their table."""
    address = getattr(item.needs, table)
    assert address is not None, f"{item.name} loads no {table}"
    return address


def _met_threshold(program: Program, layer: str, traces: list[Trace]) -> int:
    """Find a channel of the MLP's input with a value that lies exactly on its threshold."""
    move = program.lowered.model.constants[f"{layer}.expand.move"]
    on = np.concatenate([trace[f"{layer}.output"][0] == -move for trace in traces]).any(0)
    lowest = -(1 << program.lowered.machine.widths.offset - 1)
    channels = np.flatnonzero(on & (move > lowest))
    if not len(channels):
        raise UsageError(f"no value of {layer}.output lies on its threshold: take more images")
    return int(channels[0])
