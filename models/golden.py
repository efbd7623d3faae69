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
from haarlequin.models.config import ModelConfig, Widths

HEAD_BIAS_BITS = 22
"""Width of the classifier's bias, stored as int32. It keeps logits below 2^24: up to there a float32
represents every integer."""


FEATURE_BITS = 8
"""Width of the pooled and normalised features before the classifier."""


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


def _prefixed(prefix: str, specs: Mapping[str, Spec]) -> dict[str, Spec]:
    return {f"{prefix}.{name}": spec for name, spec in specs.items()}


def specs(config: ModelConfig) -> dict[str, Spec]:
    """Every constant of a model of that configuration, by name. These, and no others, are stored, exported
    and compiled. Raises `ConfigError` where the configuration has no integer arithmetic.
    """
    config.check_deployable()
    w, dim, hidden = config.widths, config.dim, config.dim * config.mlp_ratio

    def affine(channels: int, window: tuple[int, int] = w.affine_shift) -> dict[str, Spec]:
        a, b = Spec.signed(w.multiplier, channels), Spec.signed(w.bias, channels)
        return {"a": a, "b": b, "shift": Spec((), *window)}

    def linear(inputs: int, outputs: int) -> dict[str, Spec]:
        return {"move": Spec.signed(w.offset, inputs), "weight": Spec.binary(outputs, inputs)}

    def irprelu(channels: int) -> dict[str, Spec]:
        slope = Spec.signed(w.slope, channels)
        return affine(channels) | {
            "positive": slope,
            "negative": slope,
            "slope_shift": Spec((), *w.slope_shift),
            "offset": Spec.signed(w.offset, channels),
            "token": Spec.signed(w.offset, config.tokens) if config.irprelu else Spec((config.tokens,), 0, 0),
        }

    layer: dict[str, Spec] = {}
    for band in config.bands:
        for name in (f"query.{band}", f"key.{band}"):
            layer |= _prefixed(name, linear(dim, dim) | affine(dim))
    layer |= _prefixed("value", linear(dim, dim) | irprelu(dim))
    layer["value_move"] = Spec.signed(w.offset, dim)
    layer["attention.score_weight"] = Spec.unsigned(w.score_weight, len(config.bands))
    layer["attention.threshold"] = Spec((config.heads,), 1, (1 << w.threshold) - 1)
    if config.diba:
        layer["local.weight"] = Spec.binary(dim, config.theta, config.theta)
        layer["local.shift"] = Spec.unsigned(w.local_shift, dim)
    layer |= _prefixed("context", irprelu(dim))
    layer |= _prefixed("output", linear(dim, dim) | irprelu(dim))
    layer |= _prefixed("expand", linear(dim, hidden) | irprelu(hidden))
    layer |= _prefixed("reduce", linear(hidden, dim) | irprelu(dim))

    classes = len(config.classes)
    embedding = {"weight": Spec.signed(8, dim, config.patch_length)}
    # `embedding_acc_shift` relies on a bias that is no larger than the sum of the products can be.
    reach = config.patch_length * 128 * 128
    embedding |= {"bias": Spec((dim,), -reach, reach), "position": Spec.signed(w.wide, config.tokens, dim)}
    head = {"weight": Spec.signed(8, classes, dim), "bias": Spec.signed(HEAD_BIAS_BITS, classes)}
    result = _prefixed("embedding", embedding | affine(dim, w.embedding_shift))
    for i in range(config.layers):
        result |= _prefixed(f"layers.{i}", layer)
    return result | _prefixed("head", head | affine(dim, w.head_shift))


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
        weight, bias, position = (self._c[f"embedding.{n}"] for n in ("weight", "bias", "position"))
        a, b, shift = self._affine("embedding")
        e, wide = config.embedding_acc_shift, config.widths.wide
        return arithmetic.embedding(
            pixels.astype(np.int32), weight, bias, e, a, b, shift, position, config.patch, wide
        )

    def classify(self, pooled: np.ndarray) -> np.ndarray:
        """Logits (B, classes) of pooled sums (B, C)."""
        weight, bias = self._c["head.weight"], self._c["head.bias"]
        return arithmetic.head(pooled, *self._affine("head"), weight, bias, FEATURE_BITS)

    def _forward(self, pixels: np.ndarray, trace: Trace) -> np.ndarray:
        x = trace["embedding.x"] = self.embed(pixels)
        for i in range(self.config.layers):
            x = self._attention(f"layers.{i}", x, trace)
            x = self._mlp(f"layers.{i}", x, trace)
        pooled = trace["pooled"] = arithmetic.pool(x)
        logits = trace["logits"] = self.classify(pooled)
        return logits

    def _attention(self, layer: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        config, c = self.config, self._c
        inputs: tuple[np.ndarray, ...] = (x,)
        if config.hfsc:
            inputs = arithmetic.haar_split(x, config.grid, config.widths.wide)
            trace[f"{layer}.x_lo"], trace[f"{layer}.x_hi"] = inputs
        bands = []
        weights = c[f"{layer}.attention.score_weight"].tolist()
        for band, band_x, weight in zip(config.bands, inputs, weights, strict=True):
            query, key = (
                self._sign_projection(f"{layer}.{role}.{band}", band_x, trace) for role in ("query", "key")
            )
            bands.append((query, key, weight))
        v_wide = self._projection(f"{layer}.value", x, x, trace)
        v = trace[f"{layer}.v"] = arithmetic.sign(v_wide, c[f"{layer}.value_move"])
        scores = trace[f"{layer}.scores"] = arithmetic.scores(bands, config.heads)
        threshold, w = c[f"{layer}.attention.threshold"], config.widths
        attention = arithmetic.binarise_softmax(
            scores, self._table, config.score_shift, threshold, w.threshold
        )
        trace[f"{layer}.attention"] = attention
        if config.diba:
            local, shift = c[f"{layer}.local.weight"], c[f"{layer}.local.shift"]
            acc = arithmetic.diba(attention, v, local, shift, config.grid)
        else:
            acc = arithmetic.context(attention, v)
        trace[f"{layer}.context.acc"] = acc
        ctx = self._irprelu(f"{layer}.context", acc, v_wide, trace)
        return self._projection(f"{layer}.output", ctx, ctx, trace, residual=x)

    def _mlp(self, layer: str, x: np.ndarray, trace: Trace) -> np.ndarray:
        ratio = self.config.mlp_ratio
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
