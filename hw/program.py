"""What the host loads to make the machine run one model: the program, pass by pass, and the settings.

A pass streams tokens through the lanes while the weights and constants of a later pass load and, beside both,
a softmax may run. The program is a static schedule: `cycles` after a pass begins, the next one
does, ready or not; nothing in the machine checks for hazards, the compiler has (`sw.compiler.schedule`).
While a pass runs the sequencer reads the next one, an update a cycle.
"""

from amaranth.hdl import ShapeLike, signed, unsigned
from amaranth.lib import data
from amaranth.utils import bits_for, ceil_log2

from haarlequin.hw.codes import Activation, Operand, OperationCode
from haarlequin.hw.config import AcceleratorConfig

MOST_REPEATS = 8
"""Of the MLP: r."""

CONTEXTS = 4
"""Passes that may be in flight at once."""


def update_layout(config: AcceleratorConfig) -> data.StructLayout:
    """One word of the program: new values for one group of a pass's fields; the others stay as they were.

    Successive passes differ in few fields, so that this takes less than half the memory of whole passes.
    """
    parts = group_slices(config)
    return data.StructLayout(
        {
            "group": bits_for(len(parts) - 1),
            "last": 1,  # of its pass
            "fields": max(part.stop - part.start for part in parts),
        }
    )


def group_slices(config: AcceleratorConfig) -> list[slice]:
    """The bits of each group within a pass."""
    layout, slices, first = pass_layout(config), [], 0
    for group in pass_groups(config):
        slices.append(slice(first, first + sum(layout[name].width for name in group)))
        first = slices[-1].stop
    return slices


def pass_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A pass, one group after the other. Bases count words; token m is at base + m, modulo the memory."""
    fields = {name: shape for group in pass_groups(config) for name, shape in group.items()}
    return data.StructLayout({name: _shape(shape) for name, shape in fields.items()})


def pass_groups(config: AcceleratorConfig) -> tuple[dict[str, ShapeLike], ...]:
    """A pass's fields and their shapes, those together that tend to change together: an annealing over the
    programs of the zoo found groups that take a sixth less of them than those of fields that belong together.

    A group takes 31 bits at most on machines of the size of `32x128`, an update then 36, as wide as a block
    RAM.
    """
    lanes, width, widths = config.lanes, config.width, config.widths
    tokens = token_bits(config)
    signs, bank_a, bank_b = (ceil_log2(n) for n in (config.signs, config.bank_a, config.bank_b))
    rows = ceil_log2(config.rows)
    chunk = ceil_log2(width // lanes)
    slot = ceil_log2(config.slots)
    return (
        {
            "weights_base": max(ceil_log2(config.weights), signs),
            "slot": slot,
            "shortcut_base": max(bank_a, bank_b),
            "bits_chunk": chunk,
        },
        {
            "constants_base": ceil_log2(config.constants),
            "load_slot": slot,
            "load_weights": 1,  # a lane a cycle, like all loads
            "affine_shift": bits_for(widths.affine_shift[1] - widths.affine_shift[0]),  # left, as they load
            "base_a": bank_a,
        },
        {
            "signs_0": signs,
            "row_mask": 1,  # sign memory 0's word, else ones, is the mask, where mask_low ≤ bit < mask_high
            "load_constants": 1,
            "partial": 1,  # from bank A
            "shortcut": Operand,
            "residual": 1,  # from bank B, which is also what the Haar unit splits
            "token": 1,  # t_n
            "double": 1,  # a token every second cycle
            "lanes": range(lanes + 1),  # that have a channel or a key
            "bits_0": 1,  # results' signs, into a sign memory
            "bits_1": 1,
            "write_a": 1,
            "write_b": 1,
            "mean_shift": bits_for(MOST_REPEATS.bit_length() - 1),  # results shifted right before that
            "count": 1,  # saturations
        },
        {
            "signs_1": signs,
            "activation": Activation,  # of the array
            "skip": tokens,  # token m is live, that is its results count, where skip ≤ m < stop
            "accumulate": 1,  # onto what is in bank A
            "bits_base": signs,
            "load_local": 1,
            "softmax": 1,  # of one head
        },
        {
            "cycles": 14,  # to the next pass
            "operation": OperationCode,  # that its cycles are counted for
            "token_base": ceil_log2(config.tokens),  # of a Haar pass: sign words of hi
            "pool": 1,
        },
        {
            "mask_low": range(width + 1),
            "swap": 1,  # the next weights become current
            "differential": 1,  # DIBA: 2·(n − V_i·k) in place of 2·n − k
            "local": 1,  # V_i, by the local convolution's stream, and what that makes join the sum
            "chunk": chunk,  # of the local convolution's words
            "shift_values": 1,  # bits of V shift into the next weights
            "maximum": 1,  # scores join their row's maximum
            "haar": 1,
            "tokens": tokens,
            "stop": tokens,
        },
        {
            "residual_base": bank_b,
            "base_b": max(bank_a, bank_b),  # of a Haar pass: hi in bank A
            "slope_shift": bits_for(widths.slope_shift[1] - widths.slope_shift[0]),
            "load_moves": 1,  # constants are moves of the Haar unit
            "wait_head": 1,  # begin only when the head can take this image's sums
            "end": 1,
        },
        {
            "mask_high": range(width + 1),
            "gate_high": range(lanes + 1),
            "first_keys": 1,  # scores begin their row's maximum
            "row_base": rows,
            "load_keys": 1,  # weights from sign memory 1
            "same_constants": 1,  # one word for all lanes
        },
        {
            "partial_base": bank_a,
            "gate_low": range(lanes + 1),  # lanes whose dot product counts: gate_low ≤ lane < gate_high
        },
        {"threshold": widths.threshold, "local_base": ceil_log2(config.local)},  # τ, of the softmax
        {"scores_base": bank_a, "softmax_row": rows, "attention_base": signs},  # of the softmax
    )


SETTINGS_WORD = 32
"""Bits of the settings that the host writes at a time, the lowest first."""


def settings_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What holds for all of a model."""
    tokens, pixels = range(config.max_tokens + 1), range(config.pixels + 1)
    patch, channels = range(config.max_patch_length + 1), range(config.max_channels + 1)
    fields = {
        "tokens": tokens,
        "rows": tokens,
        "columns": range(config.max_columns + 1),
        "key_tiles": range(-(-config.max_tokens // config.lanes) + 1),
        "key_lanes": range(config.lanes + 1),  # keys of the last tile
        "key_chunk": ceil_log2(config.width // config.lanes),  # where a row of Â begins in its first word
        "score_shift": 3,
        "taps": config.theta**2,
        "dim": channels,
        "patch": patch,
        "patch_bytes": patch,
        "line_bytes": pixels,
        "image_bytes": pixels,
        "embedding_acc_shift": 5,
        "embedding_shift": 5,
        "classes": range(config.max_classes + 1),
        "head_shift": 5,
    }
    return data.StructLayout({name: _shape(shape) for name, shape in fields.items()})


def token_bits(config: AcceleratorConfig) -> int:
    """Of the number of a token within a pass, and of how many there are."""
    return bits_for(config.max_tokens + lead_limit(config) + config.lanes)


def lead_limit(config: AcceleratorConfig) -> int:
    """Most tokens by which a window of the grid can run ahead."""
    return max(config.theta // 2, 1) * (config.max_columns + 1)


def constants_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A channel's constants as they are stored, before their shifts; a Haar pass's are four moves instead."""
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


def _shape(shape: ShapeLike) -> ShapeLike:
    """A range as wide as its largest number; a code, an enum, as itself."""
    if isinstance(shape, range):
        return unsigned(bits_for(shape.stop - 1))
    return unsigned(shape) if isinstance(shape, int) else shape
