"""The whole network in lists and Python integers, from the formulas of docs/architecture.md.

It shares nothing with `models` but the configuration and the names: what a golden model computes, and which
tensor goes where, is checked against it.
"""

from haarlequin.models.config import ModelConfig
from tests.models.arithmetic import reference
from tests.models.arithmetic.reference import Cube, Matrix

Tensors = dict[str, list]


class ReferenceNetwork:
    """Constants by the names of `models.golden.specs`, as nested lists."""

    def __init__(self, config: ModelConfig, constants: Tensors):
        self.config = config
        self.constants = constants

    def __call__(self, image: Cube) -> Tensors:
        """Every tensor of one image, pixels[row][column][channel], by its name in the trace."""
        config, c, t = self.config, self.constants, {}
        x = t["embedding.x"] = reference.embedding(
            image,
            c["embedding.weight"],
            c["embedding.bias"],
            config.embedding_acc_shift,
            c["embedding.a"],
            c["embedding.b"],
            c["embedding.shift"],
            c["embedding.position"],
            config.patch,
            config.widths.wide,
        )
        for i in range(config.layers):
            x = self._mlp(t, f"layers.{i}.", self._attention(t, f"layers.{i}.", x))
        t["pooled"] = reference.pool(x)
        parts = (c[f"head.{part}"] for part in ("a", "b", "shift", "weight", "bias"))
        t["logits"] = reference.head(t["pooled"], *parts, 8)
        return t

    def _attention(self, t: Tensors, layer: str, x: Matrix) -> Matrix:
        config, c = self.config, self.constants
        parts = {"x": x}
        if config.hfsc:
            lo, hi = reference.haar(x, config.grid, config.widths.wide)
            parts = {"lo": lo, "hi": hi}
            t[f"{layer}x_lo"], t[f"{layer}x_hi"] = lo, hi
        queries = [self._sign_projection(t, f"{layer}query.{band}", part) for band, part in parts.items()]
        keys = [self._sign_projection(t, f"{layer}key.{band}", part) for band, part in parts.items()]
        v_wide = self._irprelu(t, f"{layer}value", self._binary_linear(t, f"{layer}value", x), x)
        v = t[f"{layer}v"] = self._signs(v_wide, c[f"{layer}value_move"])

        bands = list(zip(queries, keys, c[f"{layer}attention.score_weight"], strict=True))
        scores = t[f"{layer}scores"] = reference.scores(bands, config.heads)
        widths = config.widths
        table = reference.exp_table(2**widths.exp_index, widths.exp, widths.exp_step)
        taus = c[f"{layer}attention.threshold"]
        attention = t[f"{layer}attention"] = [
            [reference.softmax_bits(row, table, config.score_shift, tau, widths.threshold) for row in rows]
            for rows, tau in zip(scores, taus, strict=True)
        ]
        if config.diba:
            local = c[f"{layer}local.weight"], c[f"{layer}local.shift"]
            acc = reference.diba(attention, v, *local, config.grid)
        else:
            acc = reference.context(attention, v)
        t[f"{layer}context.acc"] = acc
        ctx = self._irprelu(t, f"{layer}context", acc, v_wide)
        return self._irprelu(t, f"{layer}output", self._binary_linear(t, f"{layer}output", ctx), ctx, x)

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
