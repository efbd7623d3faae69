"""The whole network in lists and Python integers, from the formulas of docs/architecture.md.

It shares nothing with `models` but the stages of the configuration and the names: what a golden model
computes, and which tensor goes where, is checked against it.
"""

import math
from collections.abc import Callable

from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import CONVOLUTION, MLP, Stage
from tests.models.arithmetic import reference
from tests.models.arithmetic.reference import Cube, Matrix

Tensors = dict[str, list]
Grid = tuple[int, int]


class ReferenceNetwork:
    """Constants by the names of `models.golden.specs`, as nested lists."""

    def __init__(self, config: ModelConfig, constants: Tensors):
        self.config = config
        self.constants = constants

    def __call__(self, image: Cube) -> Tensors:
        """Every tensor of one image, pixels[row][column][channel], by its name in the trace. What the golden
        model computes within windows is a list of one tensor for each window.
        """
        config, c, t = self.config, self.constants, {}
        step = config.stem.patch or config.stem.stride
        grid = len(image) // step, len(image[0]) // step
        x = t["embedding.x"] = self._embedding(image)
        layer = 0
        for number, stage in enumerate(config.stages):
            for i in range(stage.layers):
                name = f"layers.{layer}."
                if number and stage.merge and i == 0:
                    x, grid = self._merge(t, f"{name}merge", x, grid, stage.dim)
                if stage.kind != CONVOLUTION:
                    shift = stage.window // 2 * (i % 2) if stage.shifted else 0
                    x = self._attention(t, name, x, grid, stage, shift)
                if stage.feed_forward == MLP:
                    x = self._mlp(t, name, x)
                else:
                    x = self._convolution(t, f"{name}convolution", x, grid)
                layer += 1
        if config.segmentation:
            acc = self._binary_linear(t, "head", x)
            parts = (c[f"head.{part}"] for part in ("a", "b", "shift"))
            t["logits"] = reference.token_logits(acc, *parts, config.widths.wide)
            return t
        t["pooled"] = reference.pool(x)
        parts = (c[f"head.{part}"] for part in ("a", "b", "shift", "weight", "bias"))
        t["logits"] = reference.head(t["pooled"], *parts, 8)
        return t

    def _embedding(self, image: Cube) -> Matrix:
        config, c = self.config, self.constants
        stem, position = config.stem, None
        if stem.patch:
            values, position = reference.patches(image, stem.patch), c["embedding.position"]
        else:
            values = reference.neighbourhoods(image, stem.stride)
        return reference.embedding(
            values,
            c["embedding.weight"],
            c["embedding.bias"],
            config.embedding_acc_shift,
            c["embedding.a"],
            c["embedding.b"],
            c["embedding.shift"],
            position,
            config.widths.wide,
        )

    def _merge(self, t: Tensors, name: str, x: Matrix, grid: Grid, outputs: int) -> tuple[Matrix, Grid]:
        signs = reference.merge_tokens(self._signs(x, self.constants[f"{name}.move"]), grid)
        acc = reference.binary_linear(signs, self.constants[f"{name}.weight"])
        shortcut = reference.merge_shortcut(reference.merge_tokens(x, grid), outputs)
        t |= {f"{name}.signs": signs, f"{name}.acc": acc, f"{name}.shortcut": shortcut}
        return self._irprelu(t, name, acc, shortcut), (grid[0] // 2, grid[1] // 2)

    def _convolution(self, t: Tensors, name: str, x: Matrix, grid: Grid) -> Matrix:
        signs = t[f"{name}.signs"] = self._signs(x, self.constants[f"{name}.move"])
        weight = self.constants[f"{name}.weight"]
        acc = t[f"{name}.acc"] = reference.binary_convolution(signs, weight, grid)
        return self._irprelu(t, name, acc, x)

    def _attention(self, t: Tensors, layer: str, x: Matrix, grid: Grid, stage: Stage, shift: int) -> Matrix:
        c, size = self.constants, stage.window
        v_wide = self._irprelu(t, f"{layer}value", self._binary_linear(t, f"{layer}value", x), x)
        v = self._signs(v_wide, c[f"{layer}value_move"])
        if not size:
            found, acc = self._context(layer, x, v, grid, stage, None)
            t |= found
        else:
            masks = reference.allowed_pairs(grid, size, shift)
            parts = [reference.to_windows(tokens, grid, size, shift) for tokens in (x, v)]
            results = [
                self._context(layer, *window, (size, size), stage, mask)
                for *window, mask in zip(*parts, masks, strict=True)
            ]
            t |= {name: [found[name] for found, _ in results] for name in results[0][0]}
            acc = reference.from_windows([acc for _, acc in results], grid, size, shift)
        t[f"{layer}context.acc"] = acc
        ctx = self._irprelu(t, f"{layer}context", acc, v_wide)
        return self._irprelu(t, f"{layer}output", self._binary_linear(t, f"{layer}output", ctx), ctx, x)

    def _context(
        self, layer: str, x: Matrix, v: Matrix, grid: Grid, stage: Stage, mask: Matrix | None
    ) -> tuple[Tensors, Matrix]:
        """The tensors of binary attention on a grid, and what it makes of the values."""
        config, c, t = self.config, self.constants, {f"{layer}v": v}
        widths, parts = config.widths, {"x": x}
        if config.hfsc:
            lo, hi = reference.haar(x, grid, widths.wide)
            parts = {"lo": lo, "hi": hi}
            t[f"{layer}x_lo"], t[f"{layer}x_hi"] = lo, hi
        queries = [self._sign_projection(t, f"{layer}query.{band}", part) for band, part in parts.items()]
        keys = [self._sign_projection(t, f"{layer}key.{band}", part) for band, part in parts.items()]
        bands = list(zip(queries, keys, c[f"{layer}attention.score_weight"], strict=True))
        scores = t[f"{layer}scores"] = reference.scores(bands, stage.heads)
        bits = self._softmax(stage)
        taus = c[f"{layer}attention.threshold"]
        masks = mask or [None] * len(x)
        attention = t[f"{layer}attention"] = [
            [bits(row, tau, allowed) for row, allowed in zip(rows, masks, strict=True)]
            for rows, tau in zip(scores, taus, strict=True)
        ]
        if not config.diba:
            return t, reference.context(attention, v)
        local = c[f"{layer}local.weight"], c[f"{layer}local.shift"]
        own_shift = c[f"{layer}local.own_shift"] if config.own == "learned" else None
        return t, reference.diba(attention, v, *local, grid, config.own != "none", own_shift)

    def _softmax(self, stage: Stage) -> Callable[[list[int], int, list[int] | None], list[int]]:
        widths = self.config.widths
        table = reference.exp_table(2**widths.exp_index, widths.exp, widths.exp_step)
        # A unit of the scores is 2^−r steps of the table: r is the largest at which α = 1 fits its width.
        largest = (2**widths.score_weight - 1) * widths.exp_step * math.sqrt(stage.dim / stage.heads)
        shift = max(0, math.floor(math.log2(largest)))
        return lambda row, tau, allowed: reference.softmax_bits(
            row, table, shift, tau, widths.threshold, allowed
        )

    def _mlp(self, t: Tensors, layer: str, x: Matrix) -> Matrix:
        ratio = self.config.mlp_ratio
        shortcut = reference.repeat_channels(x, ratio)
        u = self._irprelu(t, f"{layer}expand", self._binary_linear(t, f"{layer}expand", x), shortcut)
        mean = t[f"{layer}mean"] = reference.mean_of_repeats(u, ratio)
        return self._irprelu(t, f"{layer}reduce", self._binary_linear(t, f"{layer}reduce", u), mean, x)

    def _signs(self, x: Matrix, move: list[int]) -> Matrix:
        return [[reference.sign(value, m) for value, m in zip(token, move, strict=True)] for token in x]

    def _binary_linear(self, t: Tensors, name: str, x: Matrix) -> Matrix:
        signs = t[f"{name}.signs"] = self._signs(x, self.constants[f"{name}.move"])
        acc = t[f"{name}.acc"] = reference.binary_linear(signs, self.constants[f"{name}.weight"])
        return acc

    def _affine(self, name: str, acc: Matrix, shortcut: Matrix) -> Matrix:
        a, b, shift = (self.constants[f"{name}.{part}"] for part in ("a", "b", "shift"))
        return [
            [reference.affine(value, a[c], b[c], shift) + around[c] for c, value in enumerate(token)]
            for token, around in zip(acc, shortcut, strict=True)
        ]

    def _sign_projection(self, t: Tensors, name: str, x: Matrix) -> Matrix:
        value = self._affine(name, self._binary_linear(t, name, x), x)
        signs = t[name] = [[reference.sign(v) for v in token] for token in value]
        return signs

    def _irprelu(
        self, t: Tensors, name: str, acc: Matrix, shortcut: Matrix, residual: Matrix | None = None
    ) -> Matrix:
        parts = ("positive", "negative", "offset", "token", "slope_shift")
        positive, negative, offset, token, shift = (self.constants[f"{name}.{part}"] for part in parts)
        y = t[name] = [
            [
                reference.irprelu(
                    value,
                    positive[c],
                    negative[c],
                    offset[c],
                    token[n],
                    shift,
                    self.config.widths.wide,
                    residual[n][c] if residual else 0,
                )
                for c, value in enumerate(values)
            ]
            for n, values in enumerate(self._affine(name, acc, shortcut))
        ]
        return y
