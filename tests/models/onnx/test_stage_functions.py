"""Each ONNX function of the networks of stages = the function of `models.arithmetic`, at the corners."""

import numpy as np
import pytest
import torch

from haarlequin.models import arithmetic
from tests.models.onnx.calls import GRIDS, WIDE, call


@pytest.mark.parametrize(("stride", "channels", "acc_shift"), [(1, 1, 0), (2, 3, 4), (2, 113, 9)])
def test_convolution_embedding(draw, signed, stride, channels, acc_shift):
    (rows, cols), dim = (2, 3), 7
    pixels = draw(0, 255, 3, rows * stride, cols * stride, channels, dtype=torch.uint8)
    weight = signed(8, dim, 9 * channels, dtype=torch.int8)
    weight[0], weight[1], pixels[0] = -128, 127, 0
    reach = 9 * channels << 14
    bias = draw(-reach, reach, dim, dtype=torch.int32)
    a, b, shift = signed(10, dim, dtype=torch.int16), signed(14, dim, dtype=torch.int16), 12
    sizes = {"stride": stride, "rows": rows, "cols": cols, "channels": channels, "dim": dim}
    scalars = {"acc_shift": acc_shift, "shift": shift, "wide_bits": WIDE}
    (x,) = call("ConvolutionEmbedding", pixels, weight, bias, a, b, **sizes, **scalars)
    w, c, a, b = (constant.long() for constant in (weight, bias, a, b))
    values = arithmetic.neighbourhoods(pixels.long(), stride)
    assert np.array_equal(x, arithmetic.embedding(values, w, c, acc_shift, a, b, shift, 0, WIDE))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("channels", [1, 5])
def test_binary_convolution(signed, signs, grid, channels):
    x, move = signed(WIDE, 2, grid[0] * grid[1], channels), signed(9, channels, dtype=torch.int16)
    weight = signs(channels, channels, 3, 3, dtype=torch.int8)
    acc, s = call("BinaryConvolution", x, move, weight, rows=grid[0], cols=grid[1], channels=channels)
    assert np.array_equal(s, arithmetic.sign(x, move.long()))
    assert np.array_equal(acc, arithmetic.binary_convolution(s, weight.long(), grid))


@pytest.mark.parametrize(("rows", "cols"), GRIDS)
def test_merge_tokens(signed, rows, cols):
    x = signed(WIDE, 2, 4 * rows * cols, 3)
    (y,) = call("MergeTokens", x, rows=rows, cols=cols, channels=3)
    assert np.array_equal(y, arithmetic.merge_tokens(x, (2 * rows, 2 * cols)))


def test_sign_linear(signs):
    s, weight = signs(2, 6, 40), signs(7, 40, dtype=torch.int8)
    (acc,) = call("SignLinear", s, weight)
    assert np.array_equal(acc, arithmetic.binary_linear(s, weight.long()))


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (2, 3)])
@pytest.mark.parametrize("batch", [0, 3])
def test_windows_and_back(signed, rows, cols, batch):
    size, shape = 2, {"rows": rows, "cols": cols, "size": 2, "channels": 5}
    x = signed(WIDE, batch, rows * cols * size * size, 5)
    (y,) = call("ToWindows", x, **shape)
    assert np.array_equal(y, arithmetic.to_windows(x, (rows * size, cols * size), size))
    (back,) = call("FromWindows", y, **shape)
    assert np.array_equal(back, x)


def test_diba_with_other_own_terms(draw, signs):
    grid, heads, d = (2, 3), 2, 3
    tokens, channels = grid[0] * grid[1], heads * d
    attention, v = draw(0, 1, 2, heads, tokens, tokens), signs(2, tokens, channels)
    weight, shift = signs(channels, 3, 3, dtype=torch.int8), draw(0, 3, channels, dtype=torch.int8)
    own_shift = draw(0, 7, channels, dtype=torch.int8)
    shape = {"heads": heads, "d": d, "channels": channels, "rows": grid[0], "cols": grid[1]}
    w, s, o = weight.long(), shift.long(), own_shift.long()
    (none,) = call("LocalContext", attention, v, weight, shift, **shape)
    assert np.array_equal(none, arithmetic.diba(attention, v, w, s, grid, own=False))
    (scaled,) = call("ScaledDIBA", attention, v, weight, shift, own_shift, **shape)
    assert np.array_equal(scaled, arithmetic.diba(attention, v, w, s, grid, own_shift=o))


def test_token_logits(signed):
    acc, a, b = signed(11, 2, 6, 5), signed(12, 5, dtype=torch.int16), signed(14, 5, dtype=torch.int16)
    (logits,) = call("TokenLogits", acc, a, b, shift=3, wide_bits=WIDE)
    assert np.array_equal(logits, arithmetic.token_logits(acc, a.long(), b.long(), 3, WIDE))
