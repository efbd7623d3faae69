"""Encode passes, tables and settings as the words of every memory that the host loads."""

import math
from functools import cache

import numpy as np
from amaranth.lib import data

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.ends.embedding import constants_layout as embedding_layout
from haarlequin.hw.ends.head import constants_layout as head_layout
from haarlequin.hw.lanes.loader import local_layout
from haarlequin.hw.program import constants_layout, group_slices, pass_groups, pass_layout, update_layout
from haarlequin.hw.settings import SETTINGS_WORD, settings_layout
from haarlequin.models.golden import GoldenModel
from haarlequin.sw import answers
from haarlequin.sw.compiler.passes import Lowered

Words = dict[str, list[int]]
"""The words of each memory, by its name, from word 0 on."""

WRAPPED = ("base", "signs_")
"""A field with one of these in its name is an address. It may be negative and then wraps around, because
windows of the grid begin before their tensors."""


class FieldError(ValueError):
    """A number does not fit its field of a word; the message names both."""


class Packer:
    """Packs fields into words of a layout; fields that are not given are 0."""

    def __init__(self, layout: data.StructLayout):
        # Offset, number of bits, the least value and the first beyond the greatest.
        self._places: dict[str, tuple[int, int, int, int]] = {}
        for name, field in layout:
            bits, half = field.width, 1 << field.width >> 1
            signed = getattr(field.shape, "signed", False)
            self._places[name] = (field.offset, bits, *((-half, half) if signed else (0, 1 << bits)))

    def __call__(self, values: dict[str, int]) -> int:
        """The word with these values; raises `FieldError`."""
        word = 0
        for name, given in values.items():
            if name not in self._places:
                raise FieldError(f"no field {name}")
            offset, bits, low, high = self._places[name]
            value = int(given)
            if not (low <= value < high or any(part in name for part in WRAPPED)):
                raise FieldError(f"{name} = {value} does not fit its {bits} bits")
            word |= (value & (1 << bits) - 1) << offset
        return word


def changed_groups(
    machine: AcceleratorConfig, before: dict[str, int] | None, fields: dict[str, int]
) -> list[int]:
    """The numbers of the groups in which a pass differs from the pass before.

    There is at least one, because every pass needs an update. Where there is no pass before, it is
    all groups.
    """
    groups = _group_numbers(machine)
    if before is None:
        return sorted(set(groups.values()))
    names = {name for name, _ in before.items() ^ fields.items()}
    changed = {groups[name] for name in names if before.get(name, 0) != fields.get(name, 0)}
    return sorted(changed) or [0]


@cache
def _group_numbers(machine: AcceleratorConfig) -> dict[str, int]:
    """The number of its group, for each field of a pass."""
    return {name: number for number, group in enumerate(pass_groups(machine)) for name in group}


def program_words(machine: AcceleratorConfig, passes: list[dict[str, int]]) -> list[int]:
    """The program: the updates that make each pass, given by its fields, out of the pass before."""
    whole, update = Packer(pass_layout(machine)), Packer(update_layout(machine))
    parts = group_slices(machine)
    words: list[int] = []
    before: dict[str, int] | None = None
    for fields in passes:
        word, changed = whole(fields), changed_groups(machine, before, fields)
        for number in changed:
            part = parts[number]
            bits = word >> part.start & (1 << part.stop - part.start) - 1
            words.append(update({"group": number, "last": number == changed[-1], "fields": bits}))
        before = fields
    return words


def packed_bits(bits: np.ndarray) -> int:
    """Make a word of its bits, the lowest first."""
    return int.from_bytes(np.packbits(bits.astype(np.uint8), bitorder="little").tobytes(), "little")


def encode(lowered: Lowered) -> Words:
    """The words of every memory that a model fills."""
    model, machine, tables = lowered.model, lowered.machine, lowered.tables
    constants, local = Packer(constants_layout(machine)), Packer(local_layout(machine))
    moves = Packer(data.StructLayout({f"move_{i}": machine.widths.offset for i in range(4)}))
    mask = (1 << machine.widths.offset) - 1

    def constant(row: dict[str, int]) -> int:
        if "a" in row:
            return constants(row)
        return moves({f"move_{i}": value & mask for i, value in enumerate(row.values())})

    return {
        "settings": packed_settings(machine, settings(model, machine)),
        "program": program_words(machine, [item.fields for item in lowered.passes]),
        "weights": [packed_bits(row) for row in tables.weights],
        "constants": [constant(row) for row in tables.constants],
        "local": [
            local({"weights": packed_bits(weights), "shift": shift}) for weights, shift in tables.local
        ],
        "tokens": [value & mask for value in tables.token_offsets],
        **_ends(model, machine),
    }


def settings(model: GoldenModel, machine: AcceleratorConfig) -> dict[str, int]:
    """The settings of a model: numbers that are the same for all passes."""
    config, constants = model.config, model.constants
    rows, columns = config.grids[0]
    taps = np.zeros((machine.theta, machine.theta), np.uint8)
    margin = max(machine.theta - config.theta, 0) // 2
    taps[margin : machine.theta - margin, margin : machine.theta - margin] = 1
    stem, line_bytes = config.stem, config.image[1] * config.channels
    return answers.setting(config) | {
        "tokens": rows * columns,
        "rows": rows,
        "columns": columns,
        "taps": packed_bits(taps.ravel()),
        "dim": config.stages[0].dim,
        "patch": stem.kernel,
        "patch_bytes": stem.kernel * config.channels,
        "pixel_bytes": config.channels,
        "line_bytes": line_bytes,
        "step_bytes": stem.step * config.channels,
        "step_lines": stem.step * line_bytes,
        "padding": stem.padding,
        "padding_end": int(stem.padding and stem.step == 1),
        "positions": int(stem.patch > 0),
        "image_bytes": math.prod(config.image) * config.channels,
        "embedding_acc_shift": config.embedding_acc_shift,
        "embedding_shift": int(constants["embedding.shift"]),
        "classes": len(config.classes),
        "head_dim": config.stages[-1].dim,
        "head_shift": 0 if config.segmentation else int(constants["head.shift"]),
    }


def packed_settings(machine: AcceleratorConfig, values: dict[str, int]) -> list[int]:
    """The words of settings with these values."""
    layout = settings_layout(machine)
    bits = Packer(layout)(values)
    return [bits >> first & (1 << SETTINGS_WORD) - 1 for first in range(0, layout.size, SETTINGS_WORD)]


def _ends(model: GoldenModel, machine: AcceleratorConfig) -> Words:
    """The words of embedding and head, which have memories of their own."""
    c = {name: value for name, value in model.constants.items() if not name.startswith("layers")}
    weight, macs = c["embedding.weight"], machine.macs
    groups = [weight[start : start + macs] for start in range(0, len(weight), macs)]
    taps = [np.pad(tap, (0, macs - len(tap))) for group in groups for tap in group.T]
    positions = c.get("embedding.position", np.zeros(0, np.int64))
    embedding = Packer(embedding_layout(machine.widths, machine.max_patch_length))
    head = Packer(head_layout(machine.widths))
    classifier = {}
    if not model.config.segmentation:
        classifier = {
            "head": [head({"a": a, "b": b}) for a, b in zip(c["head.a"], c["head.b"], strict=True)],
            "head weights": [int(v) & 0xFF for v in c["head.weight"].ravel()],
            "head biases": [int(v) & 0xFFFF_FFFF for v in c["head.bias"]],
        }
    return classifier | {
        "patch weights": [int.from_bytes(tap.astype(np.int8).tobytes(), "little") for tap in taps],
        "embedding": [
            embedding({"bias": bias, "a": a, "b": b})
            for bias, a, b in zip(c["embedding.bias"], c["embedding.a"], c["embedding.b"], strict=True)
        ],
        "positions": [int(v) & (1 << machine.widths.wide) - 1 for v in positions.ravel()],
    }
