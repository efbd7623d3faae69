"""Each ONNX function in onnxruntime = the function of `models.arithmetic`, at the corners."""

import numpy as np
import pytest
import torch
from torch import Tensor

from haarlequin.models import arithmetic
from tests.models.onnx.calls import EVERY, GRIDS, WIDE, call


@pytest.fixture
def slopes(signed):
    """Draws the constants of an IRPReLU: a, b, positive, negative, offset, token."""
    return lambda tokens, channels: (
        *(signed(bits, channels, dtype=torch.int16) for bits in (12, 14)),
        *(signed(8, channels, dtype=torch.int8) for _ in range(2)),
        *(signed(9, size, dtype=torch.int16) for size in (channels, tokens)),
    )


def around_powers_of_two(bits: int) -> Tensor:
    """±2^k and their neighbours up to that many bits."""
    powers = [1 << k for k in range(bits)]
    return torch.tensor(sorted({s * p + d for p in powers for s in (-1, 1) for d in (-1, 0, 1)}))


@pytest.mark.parametrize("shift", range(25))
def test_shift_right_and_round_shift(shift):
    x = around_powers_of_two(62)
    assert np.array_equal(call("ShiftRight", x, shift=shift)[0], arithmetic.shift_right(x, shift))
    x = torch.cat([around_powers_of_two(61), torch.arange(-100, 100)])
    assert np.array_equal(call("RoundShift", x, shift=shift)[0], arithmetic.round_shift(x, shift))


@pytest.mark.parametrize("bits", [2, 8, 12, 16])
def test_saturate(bits):
    x = around_powers_of_two(53)
    assert np.array_equal(call("Saturate", x, bits=bits)[0], arithmetic.sat(x, bits))


@pytest.mark.parametrize("shift", [0, 1, 8, 24])
def test_affine(signed, shift):
    acc, a, b = signed(26, 3, 7, 5), signed(12, 5, dtype=torch.int16), signed(20, 5, dtype=torch.int32)
    expected = arithmetic.affine(acc, a.long(), b.long(), shift)
    assert np.array_equal(call("Affine", acc, a, b, shift=shift)[0], expected)


def test_sign_of_zero_is_plus_one(signed):
    move = signed(9, 50, dtype=torch.int16)
    x = torch.stack([-move.long() + d for d in (-1, 0, 1)])
    (y,) = call("Sign", x, move)
    assert np.array_equal(y, arithmetic.sign(x, move.long()))
    assert [row.unique().tolist() for row in y] == [[-1], [1], [1]]


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 2), (64, 65), (770, 3)])
def test_binary_linear(signed, signs, inputs, outputs):
    x, move = signed(WIDE, 2, 5, inputs), signed(9, inputs, dtype=torch.int16)
    x[0, 0] = -move
    weight = signs(outputs, inputs, dtype=torch.int8)
    acc, got = call("BinaryLinear", x, move, weight)
    assert np.array_equal(got, arithmetic.sign(x, move.long()))
    assert np.array_equal(acc, arithmetic.binary_linear(got, weight.long()))


@pytest.mark.parametrize("shift", [2, 8])
def test_sign_affine(signed, shift):
    acc, a, b = signed(10, 4, 9, 6), signed(10, 6, dtype=torch.int16), signed(14, 6, dtype=torch.int16)
    value = arithmetic.affine(acc, a.long(), b.long(), shift)
    x = -value
    x[1:] = signed(WIDE, 3, 9, 6)
    (y,) = call("SignAffine", acc, x, a, b, shift=shift)
    assert np.array_equal(y, arithmetic.sign(value + x))
    assert (y[0] == 1).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_haar_split(signed, grid):
    rows, cols = grid
    x = signed(WIDE, 3, rows * cols, 7)
    expected = arithmetic.haar_split(x, grid, WIDE)
    outputs = call("HaarSplit", x, rows=rows, cols=cols, channels=7, wide_bits=WIDE)
    assert all(map(np.array_equal, outputs, expected))


@pytest.mark.parametrize(("shift", "slope_shift"), [(2, 2), (8, 10), (0, 0)])
def test_irprelu_with_and_without_residual(signed, slopes, shift, slope_shift):
    tokens, channels = 5, 12
    acc, x, residual = signed(10, 4, tokens, channels), *(signed(WIDE, 4, tokens, channels) for _ in range(2))
    a, b, *rest = constants = slopes(tokens, channels)
    value = arithmetic.affine(acc, a.long(), b.long(), shift) + x
    rest = [constant.long() for constant in rest]
    widths = {"shift": shift, "slope_shift": slope_shift, "wide_bits": WIDE}
    (y,) = call("IRPReLU", acc, x, *constants, **widths)
    assert np.array_equal(y, arithmetic.irprelu(value, *rest, slope_shift, WIDE))
    (y,) = call("ResidualIRPReLU", acc, x, residual, *constants, **widths)
    assert np.array_equal(y, arithmetic.irprelu(value, *rest, slope_shift, WIDE, residual))


@pytest.mark.parametrize("repeats", [1, 2, 4, 8])
def test_repeats_and_their_mean(signed, repeats):
    x, u = signed(WIDE, 2, 3, 5), signed(WIDE, 2, 3, repeats * 5)
    sizes = {"repeats": repeats, "channels": 5}
    assert np.array_equal(call("RepeatChannels", x, **sizes)[0], arithmetic.repeat_channels(x, repeats))
    assert np.array_equal(call("MeanOfRepeats", u, **sizes)[0], arithmetic.mean_of_repeats(u, repeats))


@pytest.mark.parametrize(("bands", "heads"), [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_attention_of_one_band_and_of_two(draw, signs, bands, heads):
    tokens, shift, fraction = 8, 2, 4
    pairs = [(signs(3, tokens, heads * 5), signs(3, tokens, heads * 5)) for _ in range(bands)]
    weights, table = draw(0, 255, bands, dtype=torch.int16), arithmetic.exp_table(16, 8, 0.125)
    threshold = torch.tensor([1, 2, 3], dtype=torch.int32)[:heads]
    scores = arithmetic.scores([(*pair, int(w)) for pair, w in zip(pairs, weights, strict=True)], heads)
    expected = arithmetic.binarise_softmax(scores, table, shift, threshold, fraction)
    constants = weights, torch.tensor(table, dtype=torch.int16), threshold
    flat = [signs_ for pair in pairs for signs_ in pair]
    op = "BinaryAttention" if bands == 1 else "HFSCAttention"
    attention, got = call(op, *flat, *constants, heads=heads, d=5, shift=shift, fraction=fraction)
    assert np.array_equal(got, scores)
    assert np.array_equal(attention, expected)
    assert 0 < expected.sum() < expected.numel()


def test_the_softmax_compares_ties_as_chosen():
    # Four keys alike: each has a quarter of the sum, and the threshold is a quarter.
    scores, table = torch.zeros(1, 1, 4, 4, dtype=torch.int64), torch.tensor([255, 3])
    for threshold, chosen in ((3, 1), (4, 1), (5, 0)):
        limit = torch.tensor([threshold])
        (attention,) = call("BinariseSoftmax", scores, table, limit, shift=0, fraction=4)
        assert attention.unique().tolist() == [chosen]
        assert np.array_equal(attention, arithmetic.binarise_softmax(scores, table, 0, limit, 4))


def test_the_softmax_beyond_the_table_takes_its_last_entry():
    scores = torch.tensor([0, -15, -16, -31, -32, -47, -48, -100000]).expand(1, 1, 8, 8)
    table, threshold = torch.tensor([255, 100, 20, 10]), torch.tensor([1])
    for fraction in (4, 5, 6):
        (attention,) = call("BinariseSoftmax", scores, table, threshold, shift=4, fraction=fraction)
        assert np.array_equal(attention, arithmetic.binarise_softmax(scores, table, 4, threshold, fraction))


@pytest.mark.parametrize("theta", [1, 3, 5])
@pytest.mark.parametrize("grid", GRIDS)
def test_context_and_diba(draw, signs, grid, theta):
    heads, d, channels, tokens = 3, 2, 6, grid[0] * grid[1]
    attention, v = draw(0, 1, 2, heads, tokens, tokens), signs(2, tokens, channels)
    (acc,) = call("Context", attention, v, heads=heads, d=d)
    assert np.array_equal(acc, arithmetic.context(attention, v))
    weight, shift = signs(channels, theta, theta, dtype=torch.int8), draw(0, 7, channels, dtype=torch.int8)
    shape = {"heads": heads, "d": d, "channels": channels, "rows": grid[0], "cols": grid[1]}
    (acc,) = call("DIBA", attention, v, weight, shift, **shape)
    assert np.array_equal(acc, arithmetic.diba(attention, v, weight.long(), shift.long(), grid))


@pytest.mark.parametrize(("patch", "channels", "acc_shift"), [(1, 1, 0), (2, 3, 4), (16, 3, 9)])
def test_embedding(draw, signed, patch, channels, acc_shift):
    (rows, cols), dim, length = (2, 3), 7, patch * patch * channels
    pixels = draw(0, 255, 3, rows * patch, cols * patch, channels, dtype=torch.uint8)
    weight = signed(8, dim, length, dtype=torch.int8)
    weight[0], weight[1], pixels[0] = -128, 127, 0
    bias = draw(-length << 14, length << 14, dim, dtype=torch.int32)
    a, b = signed(10, dim, dtype=torch.int16), signed(14, dim, dtype=torch.int16)
    position, shift = signed(WIDE, rows * cols, dim, dtype=torch.int16), 12
    sizes = {"patch": patch, "rows": rows, "cols": cols, "channels": channels, "wide_bits": WIDE}
    (x,) = call("Embedding", pixels, weight, bias, a, b, position, **sizes, acc_shift=acc_shift, shift=shift)
    w, c, a, b, position = (constant.long() for constant in (weight, bias, a, b, position))
    values = arithmetic.patches(pixels.long(), patch)
    expected = arithmetic.embedding(values, w, c, acc_shift, a, b, shift, position, WIDE)
    assert np.array_equal(x, expected)


def test_pool_and_head_at_their_largest(signed):
    x = signed(16, 3, 200, 384)
    x[0], x[1] = -(1 << 15), (1 << 15) - 1
    (pooled,) = call("Pool", x)
    assert np.array_equal(pooled, arithmetic.pool(x))
    a, b = signed(12, 384, dtype=torch.int16), signed(14, 384, dtype=torch.int16)
    weight, bias = signed(8, 5, 384, dtype=torch.int8), signed(22, 5, dtype=torch.int32)
    weight[0], weight[1] = -128, 127
    (logits,) = call("Head", pooled, a, b, weight, bias, shift=20, feature_bits=8)
    a, b, weight, bias = (constant.long() for constant in (a, b, weight, bias))
    assert np.array_equal(logits, arithmetic.head(pooled, a, b, 20, weight, bias, 8))


def test_every_function_says_what_it_computes():
    assert [function.name for function in EVERY if not function.doc_string] == []
