"""Fields that do not matter in a pass keep the value of the pass before, so that they need no update."""

from haarlequin.sw.compiler.grid import EDGES
from haarlequin.sw.compiler.passes import Pass

PLACES = ("place_b", "place_in", "place_out")
"""Fields of a pass over a window of the grid."""

HAAR = tuple(f"haar_{name}" for name in ("x", "low", "apart", "signs", "signs_apart", "chunk", "lanes"))
"""Fields of the Haar unit, but for those that others have as well."""

USED = {
    "weights_base": ("load_weights", "load_keys"),
    "keys_low": ("load_keys",),
    "keys_high": ("load_keys",),
    "constants_base": ("load_constants",),
    "load_moves": ("load_constants",),
    "same_constants": ("load_constants",),
    "affine_shift": ("load_constants",),
    "slope_shift": ("load_constants",),
    "local_base": ("load_local",),
    "shortcut_base": ("shortcut",),
    "residual_base": ("residual",),
    "partial_base": ("partial",),
    "token_base": ("token",),
    "base_a": ("write_a", "write_c", "accumulate"),
    "base_b": ("write_b",),
    "bits_base": ("bits_0", "bits_1"),
    "bits_chunk": ("bits_0", "bits_1"),
    "chunk": ("differential", "local"),
    "row_base": ("maximum",),
    "first_keys": ("maximum",),
    "threshold": ("softmax",),
    "keys": ("softmax", "haar"),
    **dict.fromkeys(("key_tiles", "key_lanes", "key_chunk", "score_shift"), ("softmax",)),
    **dict.fromkeys(HAAR, ("haar",)),
    "columns": ("haar", "differential", "local", *EDGES, "merge", *PLACES),
    "jump": ("haar", *PLACES),
    "pairs": ("bits_1",),
    "window": ("bits_0",),
    "odd_row": ("merge",),
    "odd_column": ("merge",),
    "chunk_row": ("merge",),
    "chunk_column": ("merge",),
    "scores_base": ("softmax",),
    "softmax_row": ("softmax",),
    "attention_base": ("softmax",),
}
"""For each field, the other fields: it matters only if at least one of them is set."""


def keep_idle(passes: list[Pass]) -> None:
    """Set the fields that do not matter to the values of the pass before."""
    before: dict[str, int] = {}
    for item in passes:
        done = {name for name, value in item.fields.items() if value}
        item.fields |= {
            name: before.get(name, 0) for name, reasons in USED.items() if done.isdisjoint(reasons)
        }
        before = item.fields
