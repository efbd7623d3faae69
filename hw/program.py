"""The layout of the program, which the host loads for one model.

A pass streams tokens through the lanes. At the same time the weights and constants of a later pass are
loaded, and a softmax may run. The program is a static schedule: the next pass begins ``cycles`` cycles after
a pass has begun, whether its data are ready or not. Nothing in the machine checks for hazards, because the
compiler has done so (`sw.compiler.schedule`). While a pass runs, the sequencer reads the next one, with one
update per cycle.
"""

from functools import cache

from amaranth.hdl import ShapeLike, signed
from amaranth.lib import data
from amaranth.utils import bits_for

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.pass_fields import field_shape, pass_fields

CONTEXTS = 4
"""How many passes can be in the pipeline at once."""


def update_layout(config: AcceleratorConfig) -> data.StructLayout:
    """One word of the program: new values for one group of fields. All other fields keep their values.

    Successive passes differ in few fields, so that updates take less than half the memory of whole passes.
    """
    parts = group_slices(config)
    return data.StructLayout(
        {
            "group": bits_for(len(parts) - 1),
            "last": 1,  # the last update of its pass
            "fields": max(part.stop - part.start for part in parts),
        }
    )


def group_slices(config: AcceleratorConfig) -> list[slice]:
    """The bits of each group of fields within a pass."""
    layout, slices, first = pass_layout(config), [], 0
    for group in pass_groups(config):
        slices.append(slice(first, first + sum(layout[name].width for name in group)))
        first = slices[-1].stop
    return slices


def pass_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A pass, one group after the other.

    Fields with ``base`` in their names are addresses of words. Token m is at base + m, modulo the memory.
    """
    fields = {name: shape for group in pass_groups(config) for name, shape in group.items()}
    return data.StructLayout({name: field_shape(shape) for name, shape in fields.items()})


_GROUPS = (
    ("weights_base", "base_a", "left", "affine_shift", "accumulate"),
    (
        "constants_base",
        "shortcut_base",
        "load_weights",
        "bits_chunk",
        "first_keys",
        "load_keys",
        "same_constants",
    ),
    (
        "signs_0",
        "partial",
        "shortcut",
        "slope_shift",
        "above",
        "haar",
        "load_moves",
        "bits_0",
        "residual",
        "bits_1",
        "maximum",
        "below",
        "write_b",
        "count",
        "token",
        "place_out",
        "pairs",
    ),
    ("token_base", "inputs_low", "bits_base", "local"),
    ("haar_x", "haar_low", "haar_chunk", "gate_high", "swap"),
    ("haar_signs_apart", "keys", "haar_lanes", "partial_base"),
    ("cycles", "lanes", "inputs_high", "write_c", "wait_head", "pool"),
    ("tokens", "skip", "stop", "chunk", "context"),
    ("residual_base", "base_b", "interval", "load_constants", "end", "each"),
    ("odd_column", "chunk_row", "odd_row", "chunk_column", "window"),
    ("jump", "haar_apart", "columns", "haar_signs"),
    ("scores_base", "attention_base", "softmax_row"),
    ("threshold", "local_base", "key_tiles"),
    (
        "signs_1",
        "operation",
        "right",
        "activation",
        "mean_shift",
        "place_b",
        "write_a",
        "place_in",
        "shift_values",
        "merge",
        "load_local",
        "key_chunk",
        "differential",
        "softmax",
    ),
    ("key_lanes", "score_shift", "gate_low"),
    ("keys_low", "keys_high", "row_base"),
)
"""The fields of a pass, in groups of fields that often change together.

Simulated annealing over programs of the presets with random constants found these groups. They take a
fifth fewer updates than groups of fields with related meanings. A group takes at most 31 bits on machines up
to the size of `32x128`. An update then takes 36 bits, which is the width of a block RAM.
"""


@cache
def pass_groups(config: AcceleratorConfig) -> tuple[dict[str, ShapeLike], ...]:
    """The fields of a pass and their shapes, in the groups in which updates change them."""
    fields = pass_fields(config)
    return tuple({name: fields[name] for name in group} for group in _GROUPS)


def constants_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A channel's constants as they are stored, before their shifts. A Haar pass has four moves instead."""
    w = config.widths
    return data.StructLayout(
        {
            "a": signed(w.multiplier),
            "b": signed(w.bias),
            "positive": signed(w.slope),
            "negative": signed(w.slope),
            "offset": signed(w.offset),
            "move": signed(w.offset),
        }
    )
