"""The integer arithmetic of the project, written once. The golden model, deploy mode, the compiler, the
benches of the RTL and the tests call it.

The docstring of a function says what it computes, its shapes and its bounds; `docs/arithmetic.md` explains
the whole. Open `fixed.py` first. The functions take arrays of numpy (the golden model, the compiler and the
emulator) as well as PyTorch tensors (deploy mode). The ONNX functions mirror them.
"""

from haarlequin.models.arithmetic.affine import affine
from haarlequin.models.arithmetic.binary import binary_linear, sign
from haarlequin.models.arithmetic.convolution import binary_convolution
from haarlequin.models.arithmetic.diba import context, diba, differential, local_convolution
from haarlequin.models.arithmetic.embedding import embedding, neighbourhoods, patches
from haarlequin.models.arithmetic.fixed import (
    Array,
    SaturationCounter,
    clip,
    count_saturations,
    exact_matmul,
    round_shift,
    sat,
    shift_right,
)
from haarlequin.models.arithmetic.haar import haar_split
from haarlequin.models.arithmetic.head import head, pool, token_logits
from haarlequin.models.arithmetic.irprelu import irprelu
from haarlequin.models.arithmetic.merge import merge_shortcut, merge_tokens
from haarlequin.models.arithmetic.shortcut import mean_of_repeats, repeat_channels
from haarlequin.models.arithmetic.softmax import binarise_softmax, exp_table, scores, split_heads
from haarlequin.models.arithmetic.windows import allowed_pairs, from_windows, to_windows

__all__ = [
    "Array",
    "SaturationCounter",
    "affine",
    "allowed_pairs",
    "binarise_softmax",
    "binary_convolution",
    "binary_linear",
    "clip",
    "context",
    "count_saturations",
    "diba",
    "differential",
    "embedding",
    "exact_matmul",
    "exp_table",
    "from_windows",
    "haar_split",
    "head",
    "irprelu",
    "local_convolution",
    "mean_of_repeats",
    "merge_shortcut",
    "merge_tokens",
    "neighbourhoods",
    "patches",
    "pool",
    "repeat_channels",
    "round_shift",
    "sat",
    "scores",
    "shift_right",
    "sign",
    "split_heads",
    "to_windows",
    "token_logits",
]
