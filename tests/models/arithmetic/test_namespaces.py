"""One arithmetic for numpy and PyTorch: each function gives both the same integers, of the same type."""

import numpy as np
import pytest
import torch

from haarlequin.models import arithmetic

GRID, CHANNELS, HEADS, THETA = (3, 5), 12, 3, 3
TOKENS = GRID[0] * GRID[1]


def draw(generator, low, high, *shape):
    return generator.integers(low, high + 1, shape, np.int32)


def cases(seed):
    """(function, arguments) with numpy arrays for every function of the arithmetic that takes arrays."""
    generator = np.random.default_rng(seed)
    x = draw(generator, -2048, 2047, 2, TOKENS, CHANNELS)
    a, b = draw(generator, -2048, 2047, CHANNELS), draw(generator, -512, 511, CHANNELS)
    signs = draw(generator, 0, 1, 2, TOKENS, CHANNELS) * 2 - 1
    weight = draw(generator, 0, 1, CHANNELS, CHANNELS) * 2 - 1
    taps = draw(generator, 0, 1, CHANNELS, THETA, THETA) * 2 - 1
    attention = draw(generator, 0, 1, 2, HEADS, TOKENS, TOKENS)
    scores, limits = draw(generator, -900, 900, 2, HEADS, TOKENS, TOKENS), draw(generator, 1, 4000, HEADS)
    pixels, position = draw(generator, 0, 255, 2, 6, 10, 3), draw(generator, -2048, 2047, 15, CHANNELS)
    patch = draw(generator, -128, 127, CHANNELS, 12), draw(generator, -999, 999, CHANNELS)
    token, shifts = draw(generator, -512, 511, TOKENS), draw(generator, 0, 3, CHANNELS)
    windowed = draw(generator, -2048, 2047, 2, 24, CHANNELS)
    allowed = draw(generator, 0, 1, 2, 1, TOKENS, TOKENS) | np.eye(TOKENS, dtype=np.int32)
    table = arithmetic.exp_table(64, 8, 0.125)
    return {
        "sat": (x, 9),
        "clip": (x, -5, None),
        "shift_right": (x, 3),
        "round_shift": (x, 3),
        "exact_matmul": (x, weight, 1 << 20),
        "affine": (x, a, b, 7),
        "sign": (x, b),
        "binary_linear": (signs, weight),
        "split_heads": (x, HEADS),
        "scores": ([(signs, -signs, 3), (signs, signs, 2)], HEADS),
        "binarise_softmax": (scores, table, 3, limits, 14, allowed),
        "context": (attention, signs),
        "differential": (attention, signs),
        "local_convolution": (signs, taps, GRID),
        "diba": (attention, signs, taps, shifts, GRID, True, shifts),
        "haar_split": (x, GRID, 11),
        "irprelu": (x * 3, a, b, b, token, 6, 12, x),
        "repeat_channels": (x, 4),
        "mean_of_repeats": (x, 4),
        "patches": (pixels, 2),
        "neighbourhoods": (pixels, 2),
        "embedding": (draw(generator, 0, 255, 2, TOKENS, 12), *patch, 3, a, b, 8, position, 12),
        "binary_convolution": (signs, draw(generator, 0, 1, 5, CHANNELS, 3, 3) * 2 - 1, GRID),
        "merge_tokens": (x[:, :12], (2, 6)),
        "merge_shortcut": (x, CHANNELS // 4),
        "to_windows": (windowed, (4, 6), 2, 1),
        "from_windows": (draw(generator, -9, 9, 12, 4, CHANNELS), (4, 6), 2, 1),
        "token_logits": (x, a, b, 4, 12),
        "pool": (x,),
        "head": (x.sum(-2), a, b, 9, draw(generator, -128, 127, 5, CHANNELS), b[:5], 8),
    }


def test_every_function_is_here():
    assert cases(0).keys() == {*arithmetic.__all__} - {
        # which take no arrays
        *("Array", "SaturationCounter", "allowed_pairs", "count_saturations", "exp_table")
    }


def as_tensors(value):
    if isinstance(value, np.ndarray):
        return torch.tensor(value)
    return type(value)(map(as_tensors, value)) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", cases(0))
@pytest.mark.parametrize("seed", range(5))
def test_numpy_and_pytorch_agree(name, seed):
    arguments = cases(seed)[name]
    function = getattr(arithmetic, name)
    with arithmetic.count_saturations() as ours:
        came = function(*arguments)
    with arithmetic.count_saturations() as theirs:
        expected = function(*as_tensors(arguments))
    pairs = zip(came, expected, strict=True) if isinstance(came, tuple) else [(came, expected)]
    for value, tensor in pairs:
        assert isinstance(value, np.ndarray)
        assert isinstance(tensor, torch.Tensor)
        assert np.array_equal(value, tensor.numpy())
        assert value.dtype == tensor.numpy().dtype
    assert ours.clipped == theirs.clipped
