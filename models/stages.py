"""The shape of a network: a stem, then stages of layers, each on a grid of tokens of its own.

A network is written as words: `/2 c32x4 a128x5` has a 3×3 convolution of stride 2 as its stem, then a stage
of four binary 3×3 convolution layers of 32 channels, and then, on a grid of half as many rows and columns, a
stage of five transformer layers of 128 channels.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from haarlequin.models.common.errors import ConfigError

LARGEST = 1 << 16
"""Largest value of any size: far more than can be trained, and every sum stays within 32 bits."""

CONVOLUTION, ATTENTION = "convolution", "attention"
"""Kinds of stages, and `CONVOLUTION` is a kind of feed-forward part as well."""

MLP = "mlp"


def is_integer(value: object, low: int, high: int) -> bool:
    """Whether ``value`` is an int, and no bool, within that range."""
    return type(value) is int and low <= value <= high


def is_real(value: object, low: float, high: float) -> bool:
    """Whether ``value`` is an int or a float, and no bool, within that range."""
    return (type(value) is int or type(value) is float) and low <= value <= high


def check_sizes(sizes: Mapping[str, object]) -> None:
    """Raise `ConfigError` unless each of ``sizes`` is an integer from 1 to `LARGEST`."""
    for name, value in sizes.items():
        if not is_integer(value, 1, LARGEST):
            raise ConfigError(f"{name} must be an integer from 1 to {LARGEST}, not {value!r}")


@dataclass(frozen=True)
class Stem:
    """The first, multi-bit layer, from pixels to tokens.

    It is a linear on patches, with a position for each token, or a 3×3 convolution whose taps outside the
    image see pixels of 128; no position follows it, because its edges already tell the tokens apart.
    """

    patch: int = 0
    """Rows and columns of a patch; 0 makes it a convolution."""
    stride: int = 1
    """Stride of the convolution, 1 or 2."""

    def __post_init__(self):
        if self.patch != 0:
            check_sizes({"patch": self.patch})
        if self.stride not in (1, 2) or type(self.stride) is not int or (self.patch and self.stride != 1):
            raise ConfigError(f"stride must be 1 or 2, of a convolution, not {self.stride!r}")

    @property
    def kernel(self) -> int:
        """Rows and columns of pixels that a token sees."""
        return self.patch or 3

    @property
    def step(self) -> int:
        """Rows or columns of pixels between two tokens."""
        return self.patch or self.stride

    @property
    def padding(self) -> int:
        """Rows and columns around the image that count as pixels of 128."""
        return 0 if self.patch else 1

    def __str__(self) -> str:
        return f"p{self.patch}" if self.patch else f"/{self.stride}"


@dataclass(frozen=True)
class Stage:
    """Layers of one kind on one grid of tokens."""

    kind: str
    """`ATTENTION` or `CONVOLUTION`: what a layer begins with. A convolution layer has nothing else."""
    dim: int
    """C, the channels of a token."""
    layers: int
    heads: int = 1
    feed_forward: str = CONVOLUTION
    """The part after the attention: `MLP`, or one binary 3×3 convolution, `CONVOLUTION`."""
    merge: bool = True
    """Whether 2×2 tokens of the stage before are merged into one. Otherwise grid and channels stay."""
    window: int = 0
    """Rows and columns of the windows that attention is limited to; 0 means the whole grid."""
    shifted: bool = False
    """Whether every second layer shifts its windows by half of their size."""
    token_offsets: bool = True
    """Whether IRPReLU has an offset for each token."""

    def __post_init__(self):
        check_sizes({"dim": self.dim, "heads": self.heads, "layers": self.layers})
        for name, value, known in (
            ("kind", self.kind, (ATTENTION, CONVOLUTION)),
            ("feed_forward", self.feed_forward, (MLP, CONVOLUTION)),
        ):
            if value not in known:
                raise ConfigError(f"{name} must be {known[0]} or {known[1]}, not {value!r}")
        for name in ("merge", "shifted", "token_offsets"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if not is_integer(self.window, 0, LARGEST):
            raise ConfigError(f"window must be an integer from 0 to {LARGEST}, not {self.window!r}")
        if self.dim % self.heads:
            raise ConfigError(f"dim must be a multiple of heads: {self.dim} is no multiple of {self.heads}")
        if self.shifted and (self.window < 2 or self.window % 2):
            raise ConfigError(f"only windows of an even size can be shifted, not {self.window}")
        if self.kind == CONVOLUTION and (self.heads, self.window, self.feed_forward) != (1, 0, CONVOLUTION):
            raise ConfigError("a stage of convolutions has neither heads nor windows nor an MLP")

    def __str__(self) -> str:
        letter = {(ATTENTION, CONVOLUTION): "a", (ATTENTION, MLP): "t"}.get(
            (self.kind, self.feed_forward), "c"
        )
        text = f"{letter}{self.dim}x{self.layers}"
        if self.kind == ATTENTION and self.heads != default_heads(self.dim):
            text += f"h{self.heads}"
        if self.window:
            text += f"{'s' if self.shifted else 'w'}{self.window}"
        return text if self.token_offsets else f"{text}n"


def describe(stem: Stem, stages: tuple[Stage, ...]) -> str:
    """The words that `parse` understands."""
    same = ["" if stage.merge or not i else "=" for i, stage in enumerate(stages)]
    return " ".join([str(stem), *(f"{mark}{stage}" for mark, stage in zip(same, stages, strict=True))])


def default_heads(dim: int) -> int:
    """Heads of 64 channels from 128 channels on, of 32 below."""
    return max(1, dim // (64 if dim >= 128 else 32))


_STEM = re.compile(r"p(?P<patch>[1-9]\d{0,8})|/(?P<stride>\d)")
_STAGE = re.compile(
    r"(?P<same>=?)(?P<kind>[act])(?P<dim>\d{1,9})x(?P<layers>\d{1,9})"
    r"(?:h(?P<heads>\d{1,9}))?(?:(?P<limit>[ws])(?P<window>\d{1,9}))?(?P<n>n?)"
)

GRAMMAR = (
    "a stem and stages, as in '/2 c32x4 a128x5': p4 (patches), /1 or /2 (3×3 convolution, stride), then "
    "c, a or t (convolutions, attention and a convolution, attention and an MLP), channels, x, layers, and "
    "h4 (heads), w8 (windows), s8 (shifted windows), n (no token offsets); = in front keeps the grid"
)


def parse(text: object) -> tuple[Stem, tuple[Stage, ...]]:
    """The stem and the stages that ``text`` names; raises `ConfigError` with the `GRAMMAR`."""
    stem, *words = (text.split() if isinstance(text, str) else []) or [""]
    found = _STEM.fullmatch(stem)
    matches = [_STAGE.fullmatch(word) for word in words]
    if not found or not words or not all(matches):
        raise ConfigError(f"a network is {GRAMMAR}; not {text!r:.120}")
    patch, stride = found["patch"], found["stride"]
    stages: list[Stage] = []
    for match in matches:
        assert match
        dim, convolution = int(match["dim"]), match["kind"] == "c"
        stages.append(
            Stage(
                CONVOLUTION if convolution else ATTENTION,
                dim,
                int(match["layers"]),
                int(match["heads"]) if match["heads"] else 1 if convolution else default_heads(dim),
                MLP if match["kind"] == "t" else CONVOLUTION,
                merge=bool(stages) and not match["same"],
                window=int(match["window"] or 0),
                shifted=match["limit"] == "s",
                token_offsets=not match["n"],
            )
        )
    return Stem(int(patch)) if patch else Stem(stride=int(stride)), tuple(stages)
