"""`haarlequin attention MODEL`: what each attention layer of a trained model does, in integers.

For each layer it prints α, the weight of the low band; β of each head and the mean number k of tokens that
a token attends to; and how much of the context O the differential term (1 − k_i)·V_i and the sum Σ_j Â_ij·V_j
explain: R² is the squared correlation of O with each of them, over all values.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from haarlequin.models import arithmetic, data
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError, printable
from haarlequin.models.config import LayerPlace
from haarlequin.models.golden import GoldenModel, Trace
from haarlequin.models.stages import ATTENTION
from haarlequin.sw.resolve import golden_model

BATCH = 16
"""Images of a forward pass whose tensors are all kept."""

RARE = 1000


class Correlation:
    """The squared correlation of two tensors that come in parts."""

    def __init__(self) -> None:
        self._sums = np.zeros(6)

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add values: ``x`` and ``y`` have the same shape."""
        a, b = x.ravel().astype(np.float64), y.ravel().astype(np.float64)
        self._sums += (a.size, a.sum(), b.sum(), a @ a, b @ b, a @ b)

    @property
    def r_squared(self) -> float:
        """R², between 0 and 1; 0 where either of them never changes."""
        n, x, y, xx, yy, xy = self._sums
        spread = (n * xx - x * x) * (n * yy - y * y)
        return float((n * xy - x * y) ** 2 / spread) if spread > 0 else 0.0


@dataclass
class Layer:
    """One attention layer, and all that has been seen of it."""

    place: LayerPlace
    alpha: float
    """Weight of the low band; 1 without bands."""
    beta: np.ndarray
    """(heads,)"""
    chosen: np.ndarray
    """Σ k over the tokens seen, (heads,)"""
    tokens: int = 0
    """Tokens seen."""

    def __post_init__(self) -> None:
        self.own, self.others = Correlation(), Correlation()

    @property
    def dead(self) -> list[str]:
        """Bands and heads that do nothing: a band of weight 0, a head that chooses no token or every token,
        but for one in `RARE`.
        """
        share = self.chosen / self.tokens / self.place.config.window_alone().tokens
        bands = {"high band": self.alpha == 1, "low band": self.alpha == 0} if self.place.config.hfsc else {}
        idle = np.minimum(share, 1 - share) < 1 / RARE
        return [name for name, is_dead in bands.items() if is_dead] + [
            f"head {head}" for head in np.flatnonzero(idle)
        ]

    def line(self) -> str:
        """Its row of the table."""
        k = self.chosen / self.tokens
        cells = [
            self.place.name,
            f"{self.alpha:.2f}",
            " ".join(f"{value:.4f}" for value in self.beta),
            " ".join(f"{value:.1f}" for value in k),
            f"{self.own.r_squared:.0%}",
            f"{self.others.r_squared:.0%}",
            ", ".join(self.dead) or "–",
        ]
        return f"| {' | '.join(cells)} |"


HEADER = (
    "| layer | α | β | k | R²(O, V) | R²(O, ΣÂV) | dead |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |"
)


def inspect(model: GoldenModel, pixels: np.ndarray) -> list[Layer]:
    """The attention layers of ``model``, after these images, uint8 (n, H, W, channels)."""
    layers = list(_layers(model))
    for start in range(0, len(pixels), BATCH):
        trace: Trace = {}
        model(pixels[start : start + BATCH], trace)
        for layer in layers:
            _add(layer, trace)
    return layers


def _layers(model: GoldenModel) -> Iterator[Layer]:
    for place in model.config.places:
        config = place.config
        if config.stage.kind != ATTENTION:
            continue
        weights = model.constants[f"{place.name}.attention.score_weight"]
        alpha = float(weights[0] / max(1, weights.sum()))
        threshold = model.constants[f"{place.name}.attention.threshold"]
        beta = 2 * threshold * 2.0**-config.widths.threshold
        yield Layer(place, alpha, beta, np.zeros(config.heads))


def _add(layer: Layer, trace: Trace) -> None:
    name, config = layer.place.name, layer.place.config
    attention, v = trace[f"{name}.attention"], trace[f"{name}.v"]
    k = attention.sum(-1)  # (B, heads, N)
    layer.tokens += k.shape[0] * k.shape[2]
    layer.chosen += k.sum((0, 2))
    own, others = arithmetic.differential(attention, v), arithmetic.context(attention, v)
    if size := config.stage.window:
        own, others = (
            arithmetic.from_windows(x, config.grid, size, layer.place.shift) for x in (own, others)
        )
    context = trace[f"{name}.context.acc"]
    layer.own.add(context, own)
    layer.others.add(context, others)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin attention", description="What each attention layer of a model does, in integers."
    )
    parser.add_argument("model", metavar="MODEL", help="a trained model, an ONNX file or a checkpoint")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the model's data set, where it needs one")
    parser.add_argument(
        "--images", type=int, default=200, metavar="N", help="validation images to look at (default: 200)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with one_line_errors(arguments.verbose):
        if arguments.images < 1:
            raise UsageError(f"--images must be at least 1, not {arguments.images}")
        model = golden_model(arguments.model)
        if not any(place.config.stage.kind == ATTENTION for place in model.config.places):
            raise UsageError(f"{model.config.name} has no attention: {model.config.structure}")
        if arguments.data is None and model.config.name not in data.BUNDLED:
            raise UsageError(f"name the folder of the images of {model.config.name}, with --data DIR")
        pixels = data.load(model.config, arguments.data).validation.pixels[: arguments.images]
        layers = inspect(model, pixels)
        print(f"{printable(model.config.name)}: {model.config.structure}, {len(pixels)} validation images\n")
        print(HEADER, *(layer.line() for layer in layers), sep="\n")
        dead = sum(len(layer.dead) for layer in layers)
        print(f"\n{dead or 'no'} dead bands or heads")
