"""The machine's operations as ONNX model-local functions, one to one with `models.arithmetic`.

A runtime inlines them and computes with standard ops; a compiler matches their names and never looks inside.
Tensors between functions are int64, (batch, tokens, channels) unless stated. Constants have the narrow types
in which they are stored, and are cast here. Four properties of the standard ops shaped the bodies:

- `Div` truncates and `BitShift` refuses signed integers. Both therefore get numbers with 2^62 added: in
  onnxruntime `ShiftRight` takes 1.1 ns per value so, against 8.2 ns with Mod, Sub and Div.
- `MatMul` on integers is exact but slow, and `Conv` refuses integers. Products are therefore in floating
  point, where they are exact, too: by the bounds in the formulas, sums stay below 2^24 in float32, 2^53 in
  float64.
- `Clip`, `Min` and `Max` of int64 are wrong beyond 32 bits in onnxruntime 1.31 on x86 (its pull request
  32475): they are avoided. `ReduceSum` adds int64 as float64: no sum reaches 2^53.
- onnxruntime plans memory in quadratic time where it cannot infer shapes. New shapes therefore come from
  attributes only: deit-tiny-224 loads in 2 s instead of 12. They contain no −1, either: for a batch of 0
  images any size would fit, and `Reshape` refuses to choose one.
"""

from string import Template

from onnx import FunctionProto, TensorProto, parser

DOMAIN = "haarlequin"
DOMAIN_VERSION = 1
ONNX_OPSET = 21

_HEADER = f'<domain: "{DOMAIN}", opset_import: ["": {ONNX_OPSET}, "{DOMAIN}": {DOMAIN_VERSION}]>\n'
_WORDS = {name: getattr(TensorProto, name) for name in ("INT64", "UINT64", "FLOAT", "DOUBLE")}
_WORDS |= {"LIFT": 1 << 62, "END": (1 << 63) - 1}


def define(formula: str, text: str) -> FunctionProto:
    """The function that ``text`` defines, documented by its formula. In the text `$INT64` and the like are
    ONNX's types, `$LIFT` is 2^62, and `$END` is where a slice ends that goes to the end of its axis.
    """
    function = parser.parse_function(_HEADER + Template(text).substitute(_WORDS))
    function.doc_string = formula
    return function


_FIXED = [
    define(
        "A one-element vector that holds the attribute: a piece of a shape.",
        """Extent <size> () => (vector) {
            scalar = Constant <value_int: int = @size> ()
            axis = Constant <value_ints = [0]> ()
            vector = Unsqueeze (scalar, axis)
        }""",
    ),
    define(
        "y = 2^exponent, a scalar; exponent 0 to 62.",
        """PowerOfTwo <exponent> () => (y) {
            one = Constant <value = uint64 {1}> ()
            exponent64 = Constant <value_int: int = @exponent> ()
            places = Cast <to = $UINT64> (exponent64)
            power = BitShift <direction = "LEFT"> (one, places)
            y = Cast <to = $INT64> (power)
        }""",
    ),
    define(
        "y = x >> shift = floor(x / 2^shift): unsigned, ((x + 2^62) >> shift) − (2^62 >> shift); |x| < 2^62.",
        """ShiftRight <shift> (x) => (y) {
            shift64 = Constant <value_int: int = @shift> ()
            places = Cast <to = $UINT64> (shift64)
            lift = Constant <value = int64 {$LIFT}> ()
            lifted = Add (x, lift)
            unsigned = Cast <to = $UINT64> (lifted)
            shifted = BitShift <direction = "RIGHT"> (unsigned, places)
            floor = Cast <to = $INT64> (shifted)
            unsigned_lift = Constant <value = uint64 {$LIFT}> ()
            shifted_lift = BitShift <direction = "RIGHT"> (unsigned_lift, places)
            drop = Cast <to = $INT64> (shifted_lift)
            y = Sub (floor, drop)
        }""",
    ),
    define(
        "y = (x + (2^shift >> 1)) >> shift: to the nearest integer, halves up; x itself where shift = 0.",
        """RoundShift <shift> (x) => (y) {
            unit = haarlequin.PowerOfTwo <exponent: int = @shift> ()
            two = Constant <value_int = 2> ()
            half = Div (unit, two)
            sum = Add (x, half)
            y = haarlequin.ShiftRight <shift: int = @shift> (sum)
        }""",
    ),
    define(
        "y = x clipped to two's complement of that many bits: −2^(bits−1) to 2^(bits−1) − 1; |x| ≤ 2^53.",
        """Saturate <bits> (x) => (y) {
            span = haarlequin.PowerOfTwo <exponent: int = @bits> ()
            two = Constant <value_int = 2> ()
            limit = Div (span, two)
            one = Constant <value_int = 1> ()
            largest = Sub (limit, one)
            smallest = Neg (limit)
            high = Cast <to = $DOUBLE> (largest)
            low = Cast <to = $DOUBLE> (smallest)
            real = Cast <to = $DOUBLE> (x)
            clipped = Clip (real, low, high)
            y = Cast <to = $INT64> (clipped)
        }""",
    ),
    define(
        "y = ((a_c·acc + 2^(shift−1)) >> shift) + b_c, not saturated.",
        """Affine <shift> (acc, a, b) => (y) {
            a64 = Cast <to = $INT64> (a)
            b64 = Cast <to = $INT64> (b)
            product = Mul (acc, a64)
            scaled = haarlequin.RoundShift <shift: int = @shift> (product)
            y = Add (scaled, b64)
        }""",
    ),
]

_ENDS = [
    define(
        "x = sat(sat(affine((W·(pixel − 128) + bias) >> acc_shift)) + position), W over a patch row by row, "
        "channels last; pixels (batch, rows·patch, cols·patch, channels). W·pixel in float64: within "
        "patch²·channels·2^14 < 2^30.",
        """Embedding <acc_shift, shift, patch, rows, cols, channels, wide_bits>
            (pixels, weight, bias, a, b, position) => (x)
        {
            batch = Constant <value_ints = [0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            patch1 = haarlequin.Extent <size: int = @patch> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            tiled = Concat <axis = 0> (batch, rows1, patch1, cols1, patch1, channels1)
            tiles = Reshape (pixels, tiled)
            tokens = Transpose <perm = [0, 1, 3, 2, 4, 5]> (tiles)
            count = Mul (rows1, cols1)
            row = Mul (patch1, channels1)
            length = Mul (patch1, row)
            flat = Concat <axis = 0> (batch, count, length)
            patches = Reshape (tokens, flat)

            values = Cast <to = $DOUBLE> (patches)
            grey = Constant <value = double {128.0}> ()
            centred = Sub (values, grey)
            rows_of_weight = Cast <to = $DOUBLE> (weight)
            columns = Transpose <perm = [1, 0]> (rows_of_weight)
            products = MatMul (centred, columns)
            acc = Cast <to = $INT64> (products)
            bias64 = Cast <to = $INT64> (bias)
            biased = Add (acc, bias64)
            narrowed = haarlequin.ShiftRight <shift: int = @acc_shift> (biased)
            affine = haarlequin.Affine <shift: int = @shift> (narrowed, a, b)
            embedded = haarlequin.Saturate <bits: int = @wide_bits> (affine)
            position64 = Cast <to = $INT64> (position)
            placed = Add (embedded, position64)
            x = haarlequin.Saturate <bits: int = @wide_bits> (placed)
        }""",
    ),
    define(
        "y_c = Σ_n x_nc, not saturated: (batch, channels).",
        """Pool (x) => (y) {
            tokens = Constant <value_ints = [1]> ()
            y = ReduceSum <keepdims = 0> (x, tokens)
        }""",
    ),
    define(
        "v = sat(affine(pooled)) to feature_bits; logits = W·v + bias: (batch, classes). W·v in float64: "
        "within channels·2^(feature_bits+6) < 2^53.",
        """Head <shift, feature_bits> (pooled, a, b, weight, bias) => (logits) {
            affine = haarlequin.Affine <shift: int = @shift> (pooled, a, b)
            features = haarlequin.Saturate <bits: int = @feature_bits> (affine)
            v = Cast <to = $DOUBLE> (features)
            rows = Cast <to = $DOUBLE> (weight)
            columns = Transpose <perm = [1, 0]> (rows)
            products = MatMul (v, columns)
            acc = Cast <to = $INT64> (products)
            bias64 = Cast <to = $INT64> (bias)
            logits = Add (acc, bias64)
        }""",
    ),
]

_BINARY = [
    define(
        "y = +1 where x + move_c ≥ 0, −1 elsewhere.",
        """Sign (x, move) => (y) {
            move64 = Cast <to = $INT64> (move)
            moved = Add (x, move64)
            zero = Constant <value_int = 0> ()
            plus = Constant <value_int = 1> ()
            minus = Constant <value_int = -1> ()
            positive = GreaterOrEqual (moved, zero)
            y = Where (positive, plus, minus)
        }""",
    ),
    define(
        "signs = sign(x + move); acc = W·signs, W (M, K) of ±1. In float32: within K < 2^24.",
        """BinaryLinear (x, move, weight) => (acc, signs) {
            signs = haarlequin.Sign (x, move)
            s = Cast <to = $FLOAT> (signs)
            rows = Cast <to = $FLOAT> (weight)
            columns = Transpose <perm = [1, 0]> (rows)
            products = MatMul (s, columns)
            acc = Cast <to = $INT64> (products)
        }""",
    ),
    define(
        "y = sign(affine(acc) + shortcut): a query or a key.",
        """SignAffine <shift> (acc, shortcut, a, b) => (y) {
            affine = haarlequin.Affine <shift: int = @shift> (acc, a, b)
            value = Add (affine, shortcut)
            no_move = Constant <value_int = 0> ()
            y = haarlequin.Sign (value, no_move)
        }""",
    ),
]

_IRPRELU = (
    "d = sat(affine(acc) + shortcut); slope = positive where d ≥ 0, negative elsewhere; "
    "y = ((slope_c·d + 2^(slope_shift−1)) >> slope_shift) + offset_c + token_n"
)

_WIDE = [
    define(
        "lo = Σ of the window (i..i+1, j..j+1) on the grid of tokens >> 2, bottom and right edge replicated; "
        "hi = sat(x − lo).",
        """HaarSplit <rows, cols, channels, wide_bits> (x) => (lo, hi) {
            batch = Constant <value_ints = [0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            grid = Concat <axis = 0> (batch, rows1, cols1, channels1)
            tokens = Reshape (x, grid)
            one = Constant <value_ints = [1]> ()
            last = Constant <value_ints = [-1]> ()
            end = Constant <value_ints = [$END]> ()
            row_axis = Constant <value_ints = [1]> ()
            later_rows = Slice (tokens, one, end, row_axis)
            last_row = Slice (tokens, last, end, row_axis)
            down = Concat <axis = 1> (later_rows, last_row)
            pair = Add (tokens, down)
            col_axis = Constant <value_ints = [2]> ()
            later_cols = Slice (pair, one, end, col_axis)
            last_col = Slice (pair, last, end, col_axis)
            right = Concat <axis = 2> (later_cols, last_col)
            window = Add (pair, right)
            mean = haarlequin.ShiftRight <shift = 2> (window)
            count = Mul (rows1, cols1)
            flat = Concat <axis = 0> (batch, count, channels1)
            lo = Reshape (mean, flat)
            rise = Sub (x, lo)
            hi = haarlequin.Saturate <bits: int = @wide_bits> (rise)
        }""",
    ),
    define(
        f"{_IRPRELU}, not saturated.",
        """UnsaturatedIRPReLU <shift, slope_shift, wide_bits>
            (acc, shortcut, a, b, positive, negative, offset, token) => (y)
        {
            affine = haarlequin.Affine <shift: int = @shift> (acc, a, b)
            value = Add (affine, shortcut)
            d = haarlequin.Saturate <bits: int = @wide_bits> (value)
            positive64 = Cast <to = $INT64> (positive)
            negative64 = Cast <to = $INT64> (negative)
            zero = Constant <value_int = 0> ()
            above = GreaterOrEqual (d, zero)
            slope = Where (above, positive64, negative64)
            product = Mul (slope, d)
            scaled = haarlequin.RoundShift <shift: int = @slope_shift> (product)
            offset64 = Cast <to = $INT64> (offset)
            token64 = Cast <to = $INT64> (token)
            channels = Constant <value_ints = [1]> ()
            token_column = Unsqueeze (token64, channels)
            moved = Add (scaled, offset64)
            y = Add (moved, token_column)
        }""",
    ),
    define(
        f"{_IRPRELU}, saturated.",
        """IRPReLU <shift, slope_shift, wide_bits>
            (acc, shortcut, a, b, positive, negative, offset, token) => (y)
        {
            sum = haarlequin.UnsaturatedIRPReLU
                <shift: int = @shift, slope_shift: int = @slope_shift, wide_bits: int = @wide_bits>
                (acc, shortcut, a, b, positive, negative, offset, token)
            y = haarlequin.Saturate <bits: int = @wide_bits> (sum)
        }""",
    ),
    define(
        f"{_IRPRELU} + residual, saturated.",
        """ResidualIRPReLU <shift, slope_shift, wide_bits>
            (acc, shortcut, residual, a, b, positive, negative, offset, token) => (y)
        {
            branch = haarlequin.UnsaturatedIRPReLU
                <shift: int = @shift, slope_shift: int = @slope_shift, wide_bits: int = @wide_bits>
                (acc, shortcut, a, b, positive, negative, offset, token)
            sum = Add (branch, residual)
            y = haarlequin.Saturate <bits: int = @wide_bits> (sum)
        }""",
    ),
    define(
        "y[repeat·C + c] = x_c over C channels.",
        """RepeatChannels <repeats, channels> (x) => (y) {
            copies = Constant <value_ints = [2]> ()
            single = Unsqueeze (x, copies)
            one = Constant <value_ints = [1]> ()
            repeats1 = haarlequin.Extent <size: int = @repeats> ()
            counts = Concat <axis = 0> (one, one, repeats1, one)
            repeated = Expand (single, counts)
            kept = Constant <value_ints = [0, 0]> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            wide = Mul (repeats1, channels1)
            joined = Concat <axis = 0> (kept, wide)
            y = Reshape (repeated, joined)
        }""",
    ),
    define(
        "y_c = Σ_repeat (u[repeat·C + c] >> log2 repeats) over C channels; repeats a power of two.",
        """MeanOfRepeats <repeats, channels> (u) => (y) {
            repeats1 = haarlequin.Extent <size: int = @repeats> ()
            lift = Constant <value_int = $LIFT> ()
            lifted = Add (u, lift)
            lifted_shares = Div (lifted, repeats1)
            drop = Div (lift, repeats1)
            shares = Sub (lifted_shares, drop)
            kept = Constant <value_ints = [0, 0]> ()
            channels1 = haarlequin.Extent <size: int = @channels> ()
            split = Concat <axis = 0> (kept, repeats1, channels1)
            parts = Reshape (shares, split)
            over = Constant <value_ints = [2]> ()
            y = ReduceSum <keepdims = 0> (parts, over)
        }""",
    ),
]

_SOFTMAX = (
    "e_ij = exp_table[min((max_j S_ij − S_ij) >> shift, last)]; "
    "attention_ij = 1 where e_ij·2^fraction ≥ threshold_h·Σ_j e_ij, 0 elsewhere."
)

_ATTENTION = [
    define(
        "(batch, tokens, channels) → (batch, heads, tokens, d): channel c belongs to head c // d.",
        """SplitHeads <heads, d> (x) => (y) {
            kept = Constant <value_ints = [0, 0]> ()
            heads1 = haarlequin.Extent <size: int = @heads> ()
            d1 = haarlequin.Extent <size: int = @d> ()
            split = Concat <axis = 0> (kept, heads1, d1)
            parts = Reshape (x, split)
            y = Transpose <perm = [0, 2, 1, 3]> (parts)
        }""",
    ),
    define(
        "(batch, heads, tokens, d) → (batch, tokens, channels), the inverse of SplitHeads.",
        """JoinHeads <heads, d> (x) => (y) {
            tokens_first = Transpose <perm = [0, 2, 1, 3]> (x)
            kept = Constant <value_ints = [0, 0]> ()
            heads1 = haarlequin.Extent <size: int = @heads> ()
            d1 = haarlequin.Extent <size: int = @d> ()
            channels = Mul (heads1, d1)
            joined = Concat <axis = 0> (kept, channels)
            y = Reshape (tokens_first, joined)
        }""",
    ),
    define(
        "y = weight·Q·Kᵀ for each head: (batch, heads, tokens, tokens). Q·Kᵀ in float32: within d < 2^24.",
        """BandScores <heads, d> (q, k, weight) => (y) {
            q_real = Cast <to = $FLOAT> (q)
            k_real = Cast <to = $FLOAT> (k)
            queries = haarlequin.SplitHeads <heads: int = @heads, d: int = @d> (q_real)
            keys = haarlequin.SplitHeads <heads: int = @heads, d: int = @d> (k_real)
            columns = Transpose <perm = [0, 1, 3, 2]> (keys)
            products = MatMul (queries, columns)
            dots = Cast <to = $INT64> (products)
            weight64 = Cast <to = $INT64> (weight)
            y = Mul (dots, weight64)
        }""",
    ),
    define(
        _SOFTMAX,
        """BinariseSoftmax <shift, fraction> (scores, exp_table, threshold) => (attention) {
            keys = Constant <value_ints = [-1]> ()
            largest = ReduceMax <keepdims = 1> (scores, keys)
            distance = Sub (largest, scores)
            steps = haarlequin.ShiftRight <shift: int = @shift> (distance)
            entries = Size (exp_table)
            one = Constant <value_int = 1> ()
            last = Sub (entries, one)
            within = Less (steps, last)
            index = Where (within, steps, last)
            table = Cast <to = $INT64> (exp_table)
            e = Gather <axis = 0> (table, index)
            unit = haarlequin.PowerOfTwo <exponent: int = @fraction> ()
            scaled = Mul (e, unit)
            sum = ReduceSum <keepdims = 1> (e, keys)
            threshold64 = Cast <to = $INT64> (threshold)
            behind_heads = Constant <value_ints = [1, 2]> ()
            threshold_of_head = Unsqueeze (threshold64, behind_heads)
            bound = Mul (threshold_of_head, sum)
            chosen = GreaterOrEqual (scaled, bound)
            attention = Cast <to = $INT64> (chosen)
        }""",
    ),
    define(
        f"scores S = score_weight·Q·Kᵀ for each head; {_SOFTMAX}",
        """BinaryAttention <heads, d, shift, fraction>
            (q, k, score_weight, exp_table, threshold) => (attention, scores)
        {
            scores = haarlequin.BandScores <heads: int = @heads, d: int = @d> (q, k, score_weight)
            attention = haarlequin.BinariseSoftmax
                <shift: int = @shift, fraction: int = @fraction> (scores, exp_table, threshold)
        }""",
    ),
    define(
        f"scores S = w_lo·Q_lo·K_loᵀ + w_hi·Q_hi·K_hiᵀ for each head, w = score_weight; {_SOFTMAX}",
        """HFSCAttention <heads, d, shift, fraction>
            (q_lo, k_lo, q_hi, k_hi, score_weight, exp_table, threshold) => (attention, scores)
        {
            w_lo, w_hi = Split <axis = 0, num_outputs = 2> (score_weight)
            lo = haarlequin.BandScores <heads: int = @heads, d: int = @d> (q_lo, k_lo, w_lo)
            hi = haarlequin.BandScores <heads: int = @heads, d: int = @d> (q_hi, k_hi, w_hi)
            scores = Add (lo, hi)
            attention = haarlequin.BinariseSoftmax
                <shift: int = @shift, fraction: int = @fraction> (scores, exp_table, threshold)
        }""",
    ),
    define(
        "acc_i = Σ_j attention_ij·V_j for each head. In float32: within tokens < 2^24.",
        """Context <heads, d> (attention, v) => (acc) {
            chosen = Cast <to = $FLOAT> (attention)
            v_real = Cast <to = $FLOAT> (v)
            values = haarlequin.SplitHeads <heads: int = @heads, d: int = @d> (v_real)
            products = MatMul (chosen, values)
            sums = Cast <to = $INT64> (products)
            acc = haarlequin.JoinHeads <heads: int = @heads, d: int = @d> (sums)
        }""",
    ),
    define(
        "y_i = (1 − k_i)·V_i, k_i = Σ_j attention_ij for each head.",
        """Differential <heads, d> (attention, v) => (y) {
            keys = Constant <value_ints = [-1]> ()
            k = ReduceSum <keepdims = 1> (attention, keys)
            one = Constant <value_int = 1> ()
            own = Sub (one, k)
            values = haarlequin.SplitHeads <heads: int = @heads, d: int = @d> (v)
            products = Mul (own, values)
            y = haarlequin.JoinHeads <heads: int = @heads, d: int = @d> (products)
        }""",
    ),
    define(
        "y = depthwise θ×θ correlation of V on the grid of tokens, weight (channels, θ, θ) of ±1; "
        "taps outside count 0. In float32: within θ².",
        """LocalConvolution <channels, rows, cols> (v, weight) => (y) {
            kept = Constant <value_ints = [0, 0]> ()
            rows1 = haarlequin.Extent <size: int = @rows> ()
            cols1 = haarlequin.Extent <size: int = @cols> ()
            grid = Concat <axis = 0> (kept, rows1, cols1)
            v_real = Cast <to = $FLOAT> (v)
            channels_first = Transpose <perm = [0, 2, 1]> (v_real)
            image = Reshape (channels_first, grid)
            weight_real = Cast <to = $FLOAT> (weight)
            group = Constant <value_ints = [1]> ()
            kernels = Unsqueeze (weight_real, group)
            taps = Conv <group: int = @channels, auto_pad = "SAME_UPPER"> (image, kernels)
            count = Mul (rows1, cols1)
            flat = Concat <axis = 0> (kept, count)
            tokens_last = Reshape (taps, flat)
            tokens_first = Transpose <perm = [0, 2, 1]> (tokens_last)
            y = Cast <to = $INT64> (tokens_first)
        }""",
    ),
    define(
        "acc_i = Σ_j attention_ij·V_j + (1 − k_i)·V_i + (θ×θ convolution of V)_i·2^local_shift_c, "
        "k_i = Σ_j attention_ij.",
        """DIBA <heads, d, channels, rows, cols> (attention, v, local_weight, local_shift) => (acc) {
            context = haarlequin.Context <heads: int = @heads, d: int = @d> (attention, v)
            own = haarlequin.Differential <heads: int = @heads, d: int = @d> (attention, v)
            mixed = Add (context, own)
            taps = haarlequin.LocalConvolution
                <channels: int = @channels, rows: int = @rows, cols: int = @cols> (v, local_weight)
            one = Constant <value = uint64 {1}> ()
            places = Cast <to = $UINT64> (local_shift)
            power = BitShift <direction = "LEFT"> (one, places)
            scale = Cast <to = $INT64> (power)
            local = Mul (taps, scale)
            acc = Add (mixed, local)
        }""",
    ),
]

FUNCTIONS: tuple[FunctionProto, ...] = (*_FIXED, *_ENDS, *_BINARY, *_WIDE, *_ATTENTION)
"""Every operation of a network of one stage, and the helper functions that they use."""
