"""The operations of networks of stages as ONNX model-local functions; see `models.onnx.functions`."""

from collections.abc import Iterable

from onnx import FunctionProto

from haarlequin.models.onnx.functions import FUNCTIONS, define

STAGE_FUNCTIONS: tuple[FunctionProto, ...] = (
    define(
        "x = sat(affine((W·(pixel − 128) + bias) >> acc_shift)), W over 3×3 pixels row by row, channels "
        "last, around every stride-th pixel; those outside count as 128. pixels (batch, rows·stride, "
        "cols·stride, channels). W·pixel in float32: within 9·channels·2^14 < 2^24.",
        """ConvolutionEmbedding <acc_shift, shift, stride, rows, cols, channels, dim, wide_bits>
            (pixels, weight, bias, a, b) => (x)
        {
            batch = Constant <value_ints = [0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            outputs1 = haarlequin.Extent <size: int = @dim> ()
            three = Constant <value_ints = [3]> ()
            values = Cast <to = $FLOAT> (pixels)
            grey = Constant <value = float {128.0}> ()
            centred = Sub (values, grey)
            image = Transpose <perm = [0, 3, 1, 2]> (centred)
            taps_last = Concat <axis = 0> (outputs1, three, three, channels1)
            weight_real = Cast <to = $FLOAT> (weight)
            taps = Reshape (weight_real, taps_last)
            kernels = Transpose <perm = [0, 3, 1, 2]> (taps)
            dense = Conv <pads = [1, 1, 1, 1]> (image, kernels)
            step1 = haarlequin.Extent <size: int = @stride> ()
            steps = Concat <axis = 0> (step1, step1)
            starts = Constant <value_ints = [0, 0]> ()
            ends = Constant <value_ints = [$END, $END]> ()
            axes = Constant <value_ints = [2, 3]> ()
            products = Slice (dense, starts, ends, axes, steps)
            count = Mul (rows1, cols1)
            flat = Concat <axis = 0> (batch, outputs1, count)
            tokens_last = Reshape (products, flat)
            tokens_first = Transpose <perm = [0, 2, 1]> (tokens_last)
            acc = Cast <to = $INT64> (tokens_first)
            bias64 = Cast <to = $INT64> (bias)
            biased = Add (acc, bias64)
            narrowed = haarlequin.ShiftRight <shift: int = @acc_shift> (biased)
            affine = haarlequin.Affine <shift: int = @shift> (narrowed, a, b)
            x = haarlequin.Saturate <bits: int = @wide_bits> (affine)
        }""",
    ),
    define(
        "signs = sign(x + move); acc = 3×3 correlation of the signs on the grid of tokens, weight (M, "
        "channels, 3, 3) of ±1; signs outside are +1. In float32: within 9·channels < 2^24.",
        """BinaryConvolution <rows, cols, channels> (x, move, weight) => (acc, signs) {
            signs = haarlequin.Sign (x, move)
            kept = Constant <value_ints = [0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            grid = Concat <axis = 0> (kept, channels1, rows1, cols1)
            real = Cast <to = $FLOAT> (signs)
            channels_first = Transpose <perm = [0, 2, 1]> (real)
            image = Reshape (channels_first, grid)
            edges = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> ()
            one = Constant <value = float {1.0}> ()
            padded = Pad (image, edges, one)
            kernels = Cast <to = $FLOAT> (weight)
            taps = Conv (padded, kernels)
            count = Mul (rows1, cols1)
            flat = Concat <axis = 0> (kept, channels1, count)
            tokens_last = Reshape (taps, flat)
            tokens_first = Transpose <perm = [0, 2, 1]> (tokens_last)
            acc = Cast <to = $INT64> (tokens_first)
        }""",
    ),
    define(
        "2×2 tokens side by side: y[k·channels + c] is channel c of the token in row k // 2 and column k % 2 "
        "of the four. (batch, 2·rows·2·cols, channels) → (batch, rows·cols, 4·channels).",
        """MergeTokens <rows, cols, channels> (x) => (y) {
            batch = Constant <value_ints = [0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            two = Constant <value_ints = [2]> ()
            four = Constant <value_ints = [4]> ()
            tiled = Concat <axis = 0> (batch, rows1, two, cols1, two, channels1)
            tiles = Reshape (x, tiled)
            tokens = Transpose <perm = [0, 1, 3, 2, 4, 5]> (tiles)
            count = Mul (rows1, cols1)
            wide = Mul (four, channels1)
            flat = Concat <axis = 0> (batch, count, wide)
            y = Reshape (tokens, flat)
        }""",
    ),
    define(
        "acc = W·signs, W (M, K) of ±1. In float32: within K < 2^24.",
        """SignLinear (signs, weight) => (acc) {
            s = Cast <to = $FLOAT> (signs)
            rows = Cast <to = $FLOAT> (weight)
            columns = Transpose <perm = [1, 0]> (rows)
            products = MatMul (s, columns)
            acc = Cast <to = $INT64> (products)
        }""",
    ),
    define(
        "(batch, rows·size·cols·size, channels) → (batch·rows·cols, size², channels): windows of size×size "
        "tokens, row by row.",
        """ToWindows <rows, cols, size, channels> (x) => (y) {
            batch = Constant <value_ints = [0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            size1 = haarlequin.Extent <size: int = @size> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            tiled = Concat <axis = 0> (batch, rows1, size1, cols1, size1, channels1)
            tiles = Reshape (x, tiled)
            tokens = Transpose <perm = [0, 1, 3, 2, 4, 5]> (tiles)
            images = Shape <start = 0, end = 1> (x)
            image_rows = Mul (images, rows1)
            windows = Mul (image_rows, cols1)
            count = Mul (size1, size1)
            flat = Concat <axis = 0> (windows, count, channels1)
            y = Reshape <allowzero = 1> (tokens, flat)
        }""",
    ),
    define(
        "The inverse of ToWindows.",
        """FromWindows <rows, cols, size, channels> (x) => (y) {
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            size1 = haarlequin.Extent <size: int = @size> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            windows = Shape <start = 0, end = 1> (x)
            per_image = Mul (rows1, cols1)
            images = Div (windows, per_image)
            tiled = Concat <axis = 0> (images, rows1, cols1, size1, size1, channels1)
            tiles = Reshape <allowzero = 1> (x, tiled)
            tokens = Transpose <perm = [0, 1, 3, 2, 4, 5]> (tiles)
            area = Mul (size1, size1)
            count = Mul (per_image, area)
            flat = Concat <axis = 0> (images, count, channels1)
            y = Reshape <allowzero = 1> (tokens, flat)
        }""",
    ),
    define(
        "acc_i = Σ_j attention_ij·V_j + (θ×θ convolution of V)_i·2^local_shift_c: DIBA without its own term.",
        """LocalContext <heads, d, channels, rows, cols> (attention, v, local_weight, local_shift) => (acc) {
            context = haarlequin.Context <heads: int = @heads, d: int = @d> (attention, v)
            taps = haarlequin.LocalConvolution
                <channels: int = @channels, rows: int = @rows, cols: int = @cols> (v, local_weight)
            one = Constant <value = uint64 {1}> ()
            places = Cast <to = $UINT64> (local_shift)
            power = BitShift <direction = "LEFT"> (one, places)
            scale = Cast <to = $INT64> (power)
            local = Mul (taps, scale)
            acc = Add (context, local)
        }""",
    ),
    define(
        "acc_i = LocalContext + ((1 − k_i)·V_i·2^−own_shift_c to the nearest integer, halves up): DIBA "
        "with a learned factor of its own term.",
        """ScaledDIBA <heads, d, channels, rows, cols>
            (attention, v, local_weight, local_shift, own_shift) => (acc)
        {
            others = haarlequin.LocalContext
                <heads: int = @heads, d: int = @d, channels: int = @channels, rows: int = @rows,
                 cols: int = @cols> (attention, v, local_weight, local_shift)
            own = haarlequin.Differential <heads: int = @heads, d: int = @d> (attention, v)
            one = Constant <value = uint64 {1}> ()
            places = Cast <to = $UINT64> (own_shift)
            power = BitShift <direction = "LEFT"> (one, places)
            divisor = Cast <to = $INT64> (power)
            two = Constant <value_int = 2> ()
            half = Div (divisor, two)
            lift = Constant <value_int = $LIFT> ()
            rounded = Add (own, half)
            lifted = Add (rounded, lift)
            shares = Div (lifted, divisor)
            drop = Div (lift, divisor)
            scaled = Sub (shares, drop)
            acc = Add (others, scaled)
        }""",
    ),
    define(
        "logits = sat(affine(acc)): (batch, tokens, classes).",
        """TokenLogits <shift, wide_bits> (acc, a, b) => (logits) {
            affine = haarlequin.Affine <shift: int = @shift> (acc, a, b)
            logits = haarlequin.Saturate <bits: int = @wide_bits> (affine)
        }""",
    ),
)
"""The operations that only networks of other stages have, which use `FUNCTIONS` as well."""


def functions_for(operations: Iterable[str]) -> tuple[FunctionProto, ...]:
    """The functions that a file with these operations defines: `FUNCTIONS`, and `STAGE_FUNCTIONS` if it has
    any of them.
    """
    of_stages = {function.name for function in STAGE_FUNCTIONS}
    return (*FUNCTIONS, *STAGE_FUNCTIONS) if of_stages & set(operations) else FUNCTIONS
