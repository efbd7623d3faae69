"""What the host loads to make the machine run one model: the program, a word for each pass, and the settings.

A pass streams tokens through the lanes while the weights and constants of a later pass load behind it and,
beside both, a softmax may run. The program is a static schedule: `cycles` after a pass begins, the next one
does, ready or not; nothing in the machine checks for hazards, the compiler has (`sw.compiler.schedule`).
"""

from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from amaranth.utils import bits_for, ceil_log2

from .config import AcceleratorConfig

OPERATIONS = (
    "signs",
    "Haar",
    "queries and keys",
    "values",
    "scores",
    "context",
    "output",
    "expand",
    "reduce",
    "waiting",
)
"""What the machine counts cycles of, by a pass's `operation`; the last one while no pass runs."""

MOST_REPEATS = 8
"""Of the MLP: r."""

CONTEXTS = 4
"""Passes that may be in flight at once."""


def pass_layout(config: AcceleratorConfig) -> data.StructLayout:
    """One word of the program. Bases count words; token m of a pass is at base + m, modulo the memory."""
    lanes, width, widths = config.lanes, config.width, config.widths
    tokens = token_bits(config)
    signs, bank_a, bank_b = (ceil_log2(n) for n in (config.signs, config.bank_a, config.bank_b))
    chunk = ceil_log2(width // lanes)
    slot = ceil_log2(config.slots)
    fields = {
        # The stream. Token m is live, that is its results count, where skip ≤ m < stop.
        "cycles": 14,  # to the next pass
        "operation": bits_for(len(OPERATIONS) - 1),
        "end": 1,
        "wait_head": 1,  # begin only when the head can take this image's sums
        "tokens": tokens,
        "skip": tokens,
        "stop": tokens,
        "double": 1,  # a token every second cycle
        # Operands of the array: the next weights become current; activation 0 ones, 1 and 2 a sign memory.
        "swap": 1,
        "activation": 2,
        "signs_0": signs,
        "signs_1": signs,
        "row_mask": 1,  # the mask is the word of sign memory 0, else ones, where mask_low ≤ bit < mask_high
        "mask_low": range(width + 1),
        "mask_high": range(width + 1),
        "gate_low": range(lanes + 1),  # lanes whose dot product counts: gate_low ≤ lane < gate_high
        "gate_high": range(lanes + 1),
        "differential": 1,  # DIBA: 2·(n − V_i·k) in place of 2·n − k, V_i by the local convolution's stream
        "local": 1,  # V_i and the local convolution join the sum
        "chunk": chunk,  # of that stream's words
        # Operands of the post-processing.
        "slot": slot,
        "partial": 1,  # from bank A
        "partial_base": bank_a,
        "shortcut": 2,  # 1 from bank A, 2 from bank B
        "shortcut_base": max(bank_a, bank_b),
        "residual": 1,  # from bank B, which is also what the Haar unit splits
        "residual_base": bank_b,
        "token": 1,  # t_n
        "token_base": ceil_log2(config.tokens),  # of a Haar pass: sign words of hi
        # Results.
        "haar": 1,
        "write_a": 1,
        "base_a": bank_a,
        "accumulate": 1,  # onto what is there
        "share": bits_for(MOST_REPEATS.bit_length() - 1),  # shifted right before that
        "write_b": 1,
        "base_b": max(bank_a, bank_b),  # of a Haar pass: hi in bank A
        "bits_0": 1,
        "bits_1": 1,
        "bits_base": signs,
        "bits_chunk": chunk,
        "columns": 1,  # bits shift into the next weights
        "maximum": 1,  # scores join their row's maximum
        "row_base": ceil_log2(config.rows),
        "first_keys": 1,  # and begin it
        "lanes": range(lanes + 1),  # that have a channel or a key
        "count": 1,  # saturations
        "pool": 1,
        # Loads, a lane a cycle.
        "load_weights": 1,
        "load_keys": 1,  # weights from sign memory 1
        "weights_base": max(ceil_log2(config.weights), signs),
        "load_constants": 1,
        "load_moves": 1,  # constants are moves of the Haar unit
        "same_constants": 1,  # one word for all lanes
        "constants_base": ceil_log2(config.constants),
        "load_local": 1,
        "local_base": ceil_log2(config.local),
        "load_slot": slot,
        "affine_shift": bits_for(widths.affine_shift[1] - widths.affine_shift[0]),  # left, as they load
        "slope_shift": bits_for(widths.slope_shift[1] - widths.slope_shift[0]),
        # The softmax of one head.
        "softmax": 1,
        "scores_base": bank_a,
        "softmax_row": ceil_log2(config.rows),
        "attention_base": signs,
        "threshold": widths.threshold,
    }
    return data.StructLayout({name: _shape(shape) for name, shape in fields.items()})


def settings_layout(config: AcceleratorConfig) -> data.StructLayout:
    """What holds for all of a model: one word."""
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


def _shape(shape):
    return unsigned(bits_for(shape.stop - 1)) if isinstance(shape, range) else unsigned(shape)
