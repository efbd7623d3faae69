"""The fields of a pass: what each says, and how many bits it takes."""

from amaranth.hdl import ShapeLike, unsigned
from amaranth.utils import bits_for, ceil_log2

from haarlequin.hw.codes import Activation, Operand, OperationCode
from haarlequin.hw.config import AcceleratorConfig

MOST_REPEATS = 8
"""The largest expansion ratio r of the MLP."""


def pass_fields(config: AcceleratorConfig) -> dict[str, ShapeLike]:
    """The fields of a pass and their shapes, by what they are about."""
    lanes, width, widths = config.lanes, config.width, config.widths
    tokens = token_bits(config)
    signs, bank_a, bank_b = (ceil_log2(n) for n in (config.signs, config.bank_a, config.bank_b))
    rows = ceil_log2(config.rows)
    chunk = ceil_log2(config.chunks)
    keys, key_tiles = range(config.keys + 1), range(-(-config.keys // lanes) + 1)
    return {
        "cycles": 14,  # until the next pass
        "operation": OperationCode,  # for which its cycles are counted
        "tokens": tokens,
        "stop": tokens,
        "skip": tokens,  # token m is live, which means that its results count, if skip ≤ m < stop
        "interval": 6,  # cycles of a token, less one
        "wait_head": 1,  # it begins only when the head can take the sums of this image
        "end": 1,
        # What a later pass needs, loaded with one lane per cycle.
        "load_weights": 1,
        "load_keys": 1,  # weights come from sign memory 1
        "weights_base": max(ceil_log2(config.weights), signs),
        "keys_low": range(width + 1),  # bits of the keys that are used: keys_low ≤ bit < keys_high
        "keys_high": range(width + 1),
        "swap": 1,  # the next weights become the current ones
        "load_constants": 1,
        "load_moves": 1,  # the constants are moves for the Haar unit's next tile
        "same_constants": 1,  # all lanes get the same word
        "constants_base": ceil_log2(config.constants),
        # To the left, as constants are loaded.
        "affine_shift": bits_for(widths.affine_shift[1] - widths.affine_shift[0]),
        "slope_shift": bits_for(widths.slope_shift[1] - widths.slope_shift[0]),
        "load_local": 1,
        "local_base": ceil_log2(config.local),
        # Operands of the array.
        "activation": Activation,  # the words that the array gets
        "signs_0": signs,
        "signs_1": signs,
        # Bits of the activation that are used: inputs_low ≤ bit < inputs_high. All others are 0.
        "inputs_low": range(width + 1),
        "inputs_high": range(width + 1),
        "gate_low": range(lanes + 1),  # lanes whose dot product counts: gate_low ≤ lane < gate_high
        "gate_high": range(lanes + 1),
        "context": 1,  # the activation is a row of Â: the sum is Σ Â·V in place of a dot product of signs
        "differential": 1,  # DIBA: less k·V_i
        "local": 1,  # the local convolution of V_i runs, and its result is added to the sum
        "chunk": chunk,  # the part of each word that the local convolution takes
        "partial": 1,  # partial sums come from bank C, or from bank A where there is no third one
        "partial_base": ceil_log2(config.partial_sums),
        # Post-processing.
        "shortcut": Operand,
        "shortcut_base": max(bank_a, bank_b),
        "residual": 1,  # residuals come from bank B
        "residual_base": bank_b,
        "token": 1,  # t_n is used
        "token_base": ceil_log2(config.tokens),
        # Results.
        "lanes": range(lanes + 1),  # how many have a channel or a key
        "count": 1,  # saturations are counted
        "write_a": 1,
        "base_a": max(bank_a, ceil_log2(config.partial_sums)),
        "write_c": 1,  # results are partial sums: they go to base_a of the bank of these
        "write_b": 1,
        "base_b": bank_b,
        "mean_shift": bits_for(MOST_REPEATS.bit_length() - 1),  # to the right, of results to be written
        "accumulate": 1,  # results are added to those in bank A
        "bits_0": 1,  # signs of the results are written into sign memory 0
        "bits_1": 1,  # the same for sign memory 1
        "bits_base": signs,
        "bits_chunk": chunk,
        "shift_values": 1,  # bits of V are shifted into the next weights
        "maximum": 1,  # the maximum of each row includes the scores
        "first_keys": 1,  # the maximum of each row begins with these scores
        "row_base": rows,
        "pool": 1,
        "each": 1,  # tokens are pooled one by one
        # The grid.
        "columns": range(config.max_columns + 1),  # of the grid, or of a window of it
        # What is beyond an edge is +1: for tokens of the first and last row in these halves of a word, for
        # those of the first and last column in these `AcceleratorConfig.edge_parts`.
        "above": 2,
        "below": 2,
        "left": max(config.edge_parts) + 1,
        "right": max(config.edge_parts) + 1,
        "pairs": 1,  # signs for sign memory 1 go into the upper half of the word
        "window": chunk if config.windows else 0,  # chunks of each of three tokens in a word; 0 for one
        "merge": 1,  # results of 2×2 tokens are put together; only those of odd rows are accumulated
        # By how many words a merge moves the results of odd rows and of odd columns.
        "odd_row": place_bits(config),
        "odd_column": place_bits(config),
        "chunk_row": chunk,  # by how many chunks signs of odd rows are moved
        "chunk_column": chunk,  # … of odd columns
        "jump": range(config.max_columns),  # tokens between two rows of a window
        "place_b": 1,  # x is read and written where the window's tokens are on the grid
        "place_in": 1,  # signs are read there
        "place_out": 1,  # signs are written there
        # The Haar unit.
        "haar": 1,  # splits a tile of x
        "haar_x": bank_b,
        "haar_low": bank_a,
        "haar_apart": bank_a,  # how many words after lo hi lies
        "haar_signs": signs,  # those of lo, in both sign memories
        "haar_signs_apart": signs,
        "haar_chunk": chunk,
        "haar_lanes": range(lanes + 1),  # how many have a channel
        # The softmax.
        "softmax": 1,  # runs for one head
        "scores_base": bank_a,
        "softmax_row": rows,
        "attention_base": signs,
        "threshold": widths.threshold,  # τ of the softmax
        "keys": keys,  # N of the attention
        "key_tiles": key_tiles,
        "key_lanes": range(lanes + 1),  # the number of keys of the last tile
        "key_chunk": chunk,  # where a row of Â begins in its first word
        "score_shift": 3,
    }


def token_bits(config: AcceleratorConfig) -> int:
    """Bits of the number of a token within a pass, and of the number of tokens of a pass."""
    return bits_for(config.max_tokens + lead_limit(config) + config.lanes)


def place_bits(config: AcceleratorConfig) -> int:
    """Bits of the place of a token's results among the words of a tensor."""
    return max(token_bits(config), ceil_log2(config.signs), ceil_log2(config.bank_a))


def lead_limit(config: AcceleratorConfig) -> int:
    """The most tokens by which a window of the grid can be ahead of its token."""
    return max(config.theta // 2, 1) * (config.max_columns + 1)


def field_shape(shape: ShapeLike) -> ShapeLike:
    """The shape of a field of a pass or of the settings: a range is as wide as its largest number, an enum
    keeps its own.
    """
    if isinstance(shape, range):
        return unsigned(bits_for(shape.stop - 1))
    return unsigned(shape) if isinstance(shape, int) else shape
