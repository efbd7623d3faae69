"""Corners of the arithmetic: how many values of simulated models lie on each.

The RTL's tensors equal the golden model's, so it is the golden model that is counted: its functions are
watched while it computes. A corner with a count of 0 has not been simulated.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import cycle
from unittest.mock import patch

import numpy as np

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel

Hits = dict[str, np.ndarray]
"""By the name of a corner, where a tensor lies on it."""


def _sign(arguments: tuple, result: np.ndarray) -> Hits:
    shifted = arguments[0] + (arguments[1] if len(arguments) > 1 else 0)
    return {"sign: exactly on the threshold": shifted == 0, "sign: one below the threshold": shifted == -1}


def _rounding(arguments: tuple, result: np.ndarray) -> Hits:
    value, shift = arguments[:2]
    half = value % (1 << shift) == (1 << shift) >> 1 if shift else np.zeros(1, bool)
    return {"rounding: a half above 0": half & (value > 0), "rounding: a half below 0": half & (value < 0)}


def _linear(arguments: tuple, result: np.ndarray) -> Hits:
    length = arguments[1].shape[-1]
    return {"linear: all signs agree": result == length, "linear: all signs differ": result == -length}


def _convolution(arguments: tuple, result: np.ndarray) -> Hits:
    taps, (rows, columns) = 9 * arguments[0].shape[-1], arguments[2]
    return {
        "convolution: all signs agree": result == taps,
        "convolution: all signs differ": result == -taps,
        "convolution: a grid of one row": np.full(1, rows == 1),
        "convolution: a grid of one column": np.full(1, columns == 1),
        "convolution: an odd grid that is not square": np.full(
            1, rows * columns % 2 == 1 and rows != columns
        ),
    }


def _softmax(arguments: tuple, result: np.ndarray) -> Hits:
    scores, table, shift, threshold, fraction = arguments[:5]
    gap = (scores.max(-1, keepdims=True) - scores) >> shift
    entries = np.asarray(table, np.int64)[np.minimum(gap, len(table) - 1)]
    limit = threshold.astype(np.int64)[:, None, None] * entries.sum(-1, keepdims=True)
    tokens = result.sum(-1)
    return {
        "softmax: exactly on the threshold": entries << fraction == limit,
        "softmax: equal largest scores": (gap == 0).sum(-1) > 1,
        "softmax: all scores equal": (gap == 0).all(-1),
        "softmax: the last entry of the table": gap >= len(table) - 1,
        "softmax: k = 0": tokens == 0,
        "softmax: k = N": tokens == result.shape[-1],
        "softmax: one token": np.full(1, result.shape[-1] == 1),
    }


def _haar(arguments: tuple, result: tuple) -> Hits:
    rows, columns = arguments[1]
    return {
        "Haar: a grid of one row": np.full(1, rows == 1),
        "Haar: a grid of one column": np.full(1, columns == 1),
        "Haar: an odd grid that is not square": np.full(1, rows * columns % 2 == 1 and rows != columns),
    }


def _merge(arguments: tuple, result: np.ndarray) -> Hits:
    inputs, outputs = arguments[0].shape[-1], arguments[1]
    return {
        "merge: to fewer channels": np.full(1, outputs < inputs),
        "merge: to as many": np.full(1, outputs == inputs),
        "merge: to more": np.full(1, outputs > inputs),
    }


def _saturation(*places: str) -> Callable[[tuple, np.ndarray], Hits]:
    """The calls of `sat` within a function, in their order."""
    place = cycle(places)

    def hits(arguments: tuple, result: np.ndarray) -> Hits:
        name, value = next(place), arguments[0]
        return {f"{name}: below the range": value < result, f"{name}: above the range": value > result}

    return hits


WATCHED: dict[str, Callable[[tuple, np.ndarray], Hits]] = {
    "binary.sign": _sign,
    "affine.round_shift": _rounding,
    "binary.binary_linear": _linear,
    "convolution.binary_convolution": _convolution,
    "softmax.binarise_softmax": _softmax,
    "haar.haar_split": _haar,
    "merge.merge_shortcut": _merge,
    "irprelu.sat": _saturation("IRPReLU's input", "IRPReLU's output"),
    "haar.sat": _saturation("high band"),
    "embedding.sat": _saturation("embedding", "embedding with its position"),
    "head.sat": _saturation("features, or a token's logits"),
}
"""By module and name, the functions that are watched."""


@contextmanager
def watched(found: Counter[str]) -> Iterator[None]:
    """Within the block, the functions of the arithmetic count the corners that their values lie on."""
    package = import_module("haarlequin.models.arithmetic")
    with ExitStack() as stack:
        for place, hits in WATCHED.items():
            module_name, name = place.split(".")
            module = import_module(f"haarlequin.models.arithmetic.{module_name}")
            counting = _counting(getattr(module, name), hits, found)
            stack.enter_context(patch.object(module, name, counting))
            if hasattr(package, name) and name != "sat":
                stack.enter_context(patch.object(package, name, counting))
        yield


def _counting(function: Callable, hits: Callable, found: Counter[str]) -> Callable:
    def counting(*arguments, **options):
        result = function(*arguments, **options)
        for name, where in hits((*arguments, *options.values()), result).items():
            found[name] += int(np.count_nonzero(where))
        return result

    return counting


def sizes(model: GoldenModel, machine: AcceleratorConfig) -> Counter[str]:
    """Corners of a model's sizes on a machine: those that divide nothing, and those that are the largest."""
    config, found = model.config, Counter[str]()
    for stage, (rows, columns) in zip(config.stages, config.grids, strict=True):
        tokens = rows * columns
        found["sizes: channels that the lanes do not divide"] += stage.dim % machine.lanes != 0
        found["sizes: channels that a word does not hold evenly"] += stage.dim % machine.width != 0
        found["sizes: tokens that the lanes do not divide"] += tokens % machine.lanes != 0
        found["sizes: more tokens than a word has bits"] += tokens > machine.width
        found["sizes: more channels than a word has bits"] += stage.dim > machine.width
        found["sizes: one token"] += tokens == 1
        found["sizes: one channel"] += stage.dim == 1
        found["sizes: all tokens that the machine has room for"] += tokens == machine.max_tokens
        found["sizes: all channels that the machine has room for"] += stage.dim == machine.max_channels
    return found
