"""The golden model: a DIDB-ViT in integers and nothing else.

The ONNX file, the netlist and the board must give the same integers.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from threadpoolctl import ThreadpoolController

from haarlequin.models import arithmetic
from haarlequin.models.config import LayerPlace, ModelConfig
from haarlequin.models.stages import CONVOLUTION, MLP, Stem
from haarlequin.models.widths import Widths

HEAD_BIAS_BITS = 22
"""Width of the classifier's bias, stored as int32. It keeps logits below 2^24: up to there a float32
represents every integer."""


FEATURE_BITS = 8
"""Width of the pooled and normalised features before the classifier."""

OWN_SHIFT_BITS = 3
"""Width of o_c, unsigned: a learned factor of DIBA's own term is 2^−o_c."""


Trace = dict[str, np.ndarray]
"""Every tensor of a forward pass, by name."""


class ConstantsError(ValueError):
    """Constants that do not make a model of this configuration; the message names the first that is wrong."""


@dataclass(frozen=True)
class Spec:
    """Shape and range of one constant, both ends included. With ``signs`` only −1 and +1 are allowed."""

    shape: tuple[int, ...]
    low: int
    high: int
    signs: bool = False

    @classmethod
    def signed(cls, bits: int, *shape: int) -> "Spec":
        """The range of ``bits`` bits in two's complement."""
        return cls(shape, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)

    @classmethod
    def unsigned(cls, bits: int, *shape: int) -> "Spec":
        """The range 0 to 2^bits − 1."""
        return cls(shape, 0, (1 << bits) - 1)

    @classmethod
    def binary(cls, *shape: int) -> "Spec":
        """Only −1 and +1."""
        return cls(shape, -1, 1, signs=True)

    def check(self, name: str, value: np.ndarray) -> None:
        """Raise `ConstantsError` unless ``value`` is an int64 array of this shape and range."""
        if value.dtype != np.int64 or value.shape != self.shape:
            raise ConstantsError(f"{name} must be int64 {self.shape}, not {value.dtype} {value.shape}")
        low, high = int(value.min()), int(value.max())
        if low < self.low or high > self.high or (self.signs and (value == 0).any()):
            wanted = "−1 or +1" if self.signs else f"within {self.low} to {self.high}"
            raise ConstantsError(f"{name} must be {wanted}, not {low} to {high}")


def exp_table(widths: Widths) -> list[int]:
    """The EXP table of models with these widths."""
    return arithmetic.exp_table(1 << widths.exp_index, widths.exp, widths.exp_step)


def see(pixels: arithmetic.Array, stem: Stem) -> arithmetic.Array:
    """The values that each token sees of pixels (B, H, W, channels): (B, N, length)."""
    if stem.patch:
        return arithmetic.patches(pixels, stem.patch)
    return arithmetic.neighbourhoods(pixels, stem.stride)


def _prefixed(prefix: str, specs: Mapping[str, Spec]) -> dict[str, Spec]:
    return {f"{prefix}.{name}": spec for name, spec in specs.items()}


def _affine(w: Widths, channels: int, window: tuple[int, int] | None = None) -> dict[str, Spec]:
    a, b = Spec.signed(w.multiplier, channels), Spec.signed(w.bias, channels)
    return {"a": a, "b": b, "shift": Spec((), *(window or w.affine_shift))}


def _linear(w: Widths, inputs: int, outputs: int) -> dict[str, Spec]:
    return {"move": Spec.signed(w.offset, inputs), "weight": Spec.binary(outputs, inputs)}


def _irprelu(config: ModelConfig, channels: int) -> dict[str, Spec]:
    w = config.widths
    slope = Spec.signed(w.slope, channels)
    return _affine(w, channels) | {
        "positive": slope,
        "negative": slope,
        "slope_shift": Spec((), *w.slope_shift),
        "offset": Spec.signed(w.offset, channels),
        "token": Spec.signed(w.offset, config.tokens) if config.irprelu else Spec((config.tokens,), 0, 0),
    }


def _attention_specs(config: ModelConfig) -> dict[str, Spec]:
    w, dim = config.widths, config.dim
    layer: dict[str, Spec] = {}
    for band in config.bands:
        for name in (f"query.{band}", f"key.{band}"):
            layer |= _prefixed(name, _linear(w, dim, dim) | _affine(w, dim))
    layer |= _prefixed("value", _linear(w, dim, dim) | _irprelu(config, dim))
    layer["value_move"] = Spec.signed(w.offset, dim)
    layer["attention.score_weight"] = Spec.unsigned(w.score_weight, len(config.bands))
    layer["attention.threshold"] = Spec((config.heads,), 1, (1 << w.threshold) - 1)
    if config.diba:
        layer["local.weight"] = Spec.binary(dim, config.theta, config.theta)
        layer["local.shift"] = Spec.unsigned(w.local_shift, dim)
        if config.own == "learned":
            layer["local.own_shift"] = Spec.unsigned(OWN_SHIFT_BITS, dim)
    layer |= _prefixed("context", _irprelu(config, dim))
    return layer | _prefixed("output", _linear(w, dim, dim) | _irprelu(config, dim))


def _feed_forward_specs(config: ModelConfig) -> dict[str, Spec]:
    w, dim, hidden = config.widths, config.dim, config.dim * config.mlp_ratio
    if config.stage.feed_forward == CONVOLUTION:
        taps = {"move": Spec.signed(w.offset, dim), "weight": Spec.binary(dim, dim, 3, 3)}
        return _prefixed("convolution", taps | _irprelu(config, dim))
    expand = _prefixed("expand", _linear(w, dim, hidden) | _irprelu(config, hidden))
    return expand | _prefixed("reduce", _linear(w, hidden, dim) | _irprelu(config, dim))


def _layer_specs(place: LayerPlace) -> dict[str, Spec]:
    config, layer = place.config, {}
    if place.merged:
        w, inputs = config.widths, place.merged.dim
        linear = _linear(w, 4 * inputs, config.dim) | {"move": Spec.signed(w.offset, inputs)}
        layer = _prefixed("merge", linear | _irprelu(config, config.dim))
    if config.stage.kind != CONVOLUTION:
        layer |= _attention_specs(config)
    return _prefixed(place.name, layer | _feed_forward_specs(config))


def specs(config: ModelConfig) -> dict[str, Spec]:
    """Every constant of a model of that configuration, by name. These, and no others, are stored, exported
    and compiled. Raises `ConfigError` where the configuration has no integer arithmetic.
    """
    config.check_deployable()
    w, classes, (rows, columns) = config.widths, len(config.classes), config.grids[0]
    inputs, outputs = config.stages[0].dim, config.stages[-1].dim
    embedding = {"weight": Spec.signed(8, inputs, config.patch_length)}
    # `embedding_acc_shift` relies on a bias that is no larger than the sum of the products can be.
    reach = config.patch_length * 128 * 128
    embedding["bias"] = Spec((inputs,), -reach, reach)
    if config.stem.patch:
        embedding["position"] = Spec.signed(w.wide, rows * columns, inputs)
    result = _prefixed("embedding", embedding | _affine(w, inputs, w.embedding_shift))
    for place in config.places:
        result |= _layer_specs(place)
    if config.segmentation:
        return result | _prefixed("head", _linear(w, outputs, classes) | _affine(w, classes))
    head = {"weight": Spec.signed(8, classes, outputs), "bias": Spec.signed(HEAD_BIAS_BITS, classes)}
    return result | _prefixed("head", head | _affine(w, outputs, w.head_shift))


def threads() -> int:
    """Number of threads that a golden model computes on: ``$OMP_NUM_THREADS``, or one per core."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) else os.cpu_count() or 1


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def _one_thread_per_product() -> AbstractContextManager:
    """Limit BLAS to one thread: on several, products as small as these are slower, and far slower while
    another program runs.
    """
    return _blas().limit(limits=1)


class GoldenModel:
    """Integer DIDB-ViT: pixels in, int64 logits out.

    It is made from a configuration and the constants that `specs` lists, and raises `ConstantsError` where
    they do not agree. It computes ``images_per_pass`` images at once: as many as keep the wide tensors in the
    processor's cache.
    """

    images_per_pass = 8

    def __init__(self, config: ModelConfig, constants: Mapping[str, np.ndarray]):
        wanted = specs(config)
        constants = {name: np.asarray(value) for name, value in constants.items()}
        for kind, names in (("missing", wanted.keys() - constants), ("unknown", constants.keys() - wanted)):
            if names:
                raise ConstantsError(f"{kind} constant {min(names)} ({len(names)} {kind})")
        for name, spec in wanted.items():
            spec.check(name, constants[name])
        self.config = config
        self.constants = constants
        # int32 is twice as fast, and the limits of `Widths` keep all values below 2^31. The pooled sums and
        # the softmax use int64.
        self._c = {name: value.astype(np.int32) for name, value in constants.items()}
        self._table = exp_table(config.widths)

    def __call__(self, pixels: np.ndarray, trace: Trace | None = None) -> np.ndarray:
        """Logits (B, classes) of pixels (B, H, W, channels), uint8. ``trace``, if given, receives every
        tensor by its name.
        """
        expected = (*self.config.image, self.config.channels)
        pixels = np.asarray(pixels)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != expected:
            raise ValueError(f"pixels must be uint8 (B, {expected}), not {pixels.dtype} {pixels.shape}")
        starts = range(0, max(1, len(pixels)), self.images_per_pass)
        batches = [pixels[start : start + self.images_per_pass] for start in starts]
        with _one_thread_per_product():
            if trace is not None:
                return self._forward(pixels, trace)
            if len(batches) == 1:
                return self._forward(batches[0], {})
            with ThreadPoolExecutor(min(threads(), len(batches))) as pool:
                # Each task gets a copy of this thread's context, which holds its saturation counters.
                tasks = [pool.submit(copy_context().run, self._forward, batch, {}) for batch in batches]
                return np.concatenate([task.result() for task in tasks])

    @classmethod
    def blank(cls, config: ModelConfig) -> Self:
        """A model of that configuration with meaningless constants, where only its shapes matter."""
        wanted = specs(config).items()
        return cls(config, {name: np.full(s.shape, min(max(1, s.low), s.high)) for name, s in wanted})

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """x (B, N, C), the tokens of pixels."""
        config = self.config
        weight, bias, position = self._c["embedding.weight"], self._c["embedding.bias"], 0
        if config.stem.patch:
            position = self._c["embedding.position"]
        a, b, shift = self._affine("embedding")
        e, wide = config.embedding_acc_shift, config.widths.wide
        values = see(pixels.astype(np.int32), config.stem)
        return arithmetic.embedding(values, weight, bias, e, a, b, shift, position, wide)

    def classify(self, pooled: np.ndarray) -> np.ndarray:
        """Logits (B, classes) of pooled sums (B, C)."""
        weight, bias = self._c["head.weight"], self._c["head.bias"]
        return arithmetic.head(pooled, *self._affine("head"), weight, bias, FEATURE_BITS)

    def _forward(self, pixels: np.ndarray, trace: Trace) -> np.ndarray:
        x = trace["embedding.x"] = self.embed(pixels)
        for place in self.config.places:
            x = self._layer(place, x, trace)
        if self.config.segmentation:
            acc = self._binary_linear("head", x, trace)
            narrow = arithmetic.token_logits(acc, *self._affine("head"), self.config.widths.wide)
            logits = trace["logits"] = narrow.astype(np.int64)
            return logits
        pooled = trace["pooled"] = arithmetic.pool(x)
        logits = trace["logits"] = self.classify(pooled)
        return logits

    def _layer(self, place: LayerPlace, x: np.ndarray, trace: Trace) -> np.ndarray:
        stage = place.config.stage
        if place.merged:
            x = self._merge(place, place.merged, x, trace)
        if stage.kind != CONVOLUTION:
            x = self._attention(place, x, trace)
        return (self._mlp if stage.feed_forward == MLP else self._convolution)(place, x, trace)

    def _merge(self, place: LayerPlace, before: ModelConfig, x: np.ndarray, trace: Trace) -> np.ndarray:
        name = f"{place.name}.merge"
        signs = arithmetic.merge_tokens(arithmetic.sign(x, self._c[f"{name}.move"]), before.grid)
        acc = arithmetic.binary_linear(signs, self._c[f"{name}.weight"])
        merged = arithmetic.merge_tokens(x, before.grid)
        shortcut = arithmetic.merge_shortcut(merged, place.config.dim)
        trace |= {f"{name}.signs": signs, f"{name}.acc": acc, f"{name}.shortcut": shortcut}
        return self._irprelu(name, acc, shortcut, trace)

    def _convolution(self, place: LayerPlace, x: np.ndarray, trace: Trace) -> np.ndarray:
        name = f"{place.name}.convolution"
        signs = trace[f"{name}.signs"] = arithmetic.sign(x, self._c[f"{name}.move"])
        weight = self._c[f"{name}.weight"]
        acc = trace[f"{name}.acc"] = arithmetic.binary_convolution(signs, weight, place.config.grid)
        return self._irprelu(name, acc, x, trace)

    def _attention(self, place: LayerPlace, x: np.ndarray, trace: Trace) -> np.ndarray:
        config, c, layer = place.config, self._c, place.name
        size, inner = config.stage.window, config.window_alone()

        def split(tokens: np.ndarray) -> np.ndarray:
            return arithmetic.to_windows(tokens, config.grid, size, place.shift) if size else tokens

        inputs: tuple[np.ndarray, ...] = (split(x),)
        if config.hfsc:
            inputs = arithmetic.haar_split(inputs[0], inner.grid, config.widths.wide)
            trace[f"{layer}.x_lo"], trace[f"{layer}.x_hi"] = inputs
        bands = []
        weights = c[f"{layer}.attention.score_weight"].tolist()
        for band, band_x, weight in zip(config.bands, inputs, weights, strict=True):
            query, key = (
                self._sign_projection(f"{layer}.{role}.{band}", band_x, trace) for role in ("query", "key")
            )
            bands.append((query, key, weight))
        v_wide = self._projection(f"{layer}.value", x, x, trace)
        v = trace[f"{layer}.v"] = split(arithmetic.sign(v_wide, c[f"{layer}.value_move"]))
        scores = trace[f"{layer}.scores"] = arithmetic.scores(bands, config.heads)
        threshold, w = c[f"{layer}.attention.threshold"], config.widths
        allowed = None
        if place.shift:
            pairs = np.array(arithmetic.allowed_pairs(config.grid, size, place.shift), np.int32)
            allowed = np.tile(pairs, (len(x), 1, 1))[:, None]
        attention = arithmetic.binarise_softmax(
            scores, self._table, config.score_shift, threshold, w.threshold, allowed
        )
        trace[f"{layer}.attention"] = attention
        acc = self._context(layer, attention, v, inner)
        if size:
            acc = arithmetic.from_windows(acc, config.grid, size, place.shift)
        trace[f"{layer}.context.acc"] = acc
        ctx = self._irprelu(f"{layer}.context", acc, v_wide, trace)
        return self._projection(f"{layer}.output", ctx, ctx, trace, residual=x)

    def _context(self, layer: str, attention: np.ndarray, v: np.ndarray, config: ModelConfig) -> np.ndarray:
        if not config.diba:
            return arithmetic.context(attention, v)
        local, shift = self._c[f"{layer}.local.weight"], self._c[f"{layer}.local.shift"]
        own_shift = self._c.get(f"{layer}.local.own_shift")
        return arithmetic.diba(attention, v, local, shift, config.grid, config.own != "none", own_shift)

    def _mlp(self, place: LayerPlace, x: np.ndarray, trace: Trace) -> np.ndarray:
        ratio, layer = self.config.mlp_ratio, place.name
        u = self._projection(f"{layer}.expand", x, arithmetic.repeat_channels(x, ratio), trace)
        mean = trace[f"{layer}.mean"] = arithmetic.mean_of_repeats(u, ratio)
        return self._projection(f"{layer}.reduce", u, mean, trace, residual=x)

    def _binary_linear(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        signs = trace[f"{name}.signs"] = arithmetic.sign(x, self._c[f"{name}.move"])
        acc = trace[f"{name}.acc"] = arithmetic.binary_linear(signs, self._c[f"{name}.weight"])
        return acc

    def _affine(self, name: str) -> tuple[np.ndarray, np.ndarray, int]:
        return self._c[f"{name}.a"], self._c[f"{name}.b"], int(self._c[f"{name}.shift"])

    def _sign_projection(self, name: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        acc = self._binary_linear(name, x, trace)
        signs = trace[name] = arithmetic.sign(arithmetic.affine(acc, *self._affine(name)) + x)
        return signs

    def _projection(
        self,
        name: str,
        x: np.ndarray,
        shortcut: np.ndarray,
        trace: Trace,
        residual: np.ndarray | int = 0,
    ) -> np.ndarray:
        return self._irprelu(name, self._binary_linear(name, x, trace), shortcut, trace, residual)

    def _irprelu(
        self,
        name: str,
        acc: np.ndarray,
        shortcut: np.ndarray,
        trace: Trace,
        residual: np.ndarray | int = 0,
    ) -> np.ndarray:
        positive, negative, offset, token = (
            self._c[f"{name}.{constant}"] for constant in ("positive", "negative", "offset", "token")
        )
        value = arithmetic.affine(acc, *self._affine(name)) + shortcut
        shift = int(self._c[f"{name}.slope_shift"])
        y = trace[name] = arithmetic.irprelu(
            value, positive, negative, offset, token, shift, self.config.widths.wide, residual
        )
        return y
