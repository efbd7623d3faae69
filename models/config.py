"""Shapes and bit widths of a DIDB-ViT: `ModelConfig`, which checks its values, and the presets."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from haarlequin.models.common.errors import UsageError


class ConfigError(UsageError, ValueError):
    """A configuration that no model can have; the message says what was expected and what came."""


_LARGEST = 1 << 16
"""Largest value of any size: far more than can be trained, and every sum stays within 32 bits."""


INT8_UNIT = 2.0**-7
"""Real value of one step of an 8-bit weight."""


def _is_integer(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def is_real(value: object, low: float, high: float) -> bool:
    """Whether ``value`` is an int or a float, and no bool, within that range."""
    return (type(value) is int or type(value) is float) and low <= value <= high


@dataclass(frozen=True)
class Widths:
    """Bit widths and fixed points of the integer arithmetic (docs/arithmetic.md).

    Each tensor has its own shift. It is chosen when the model enters deploy mode, within the window
    (low, high) that is given here. The windows of the lanes, `affine_shift` and `slope_shift`, keep the width
    of a multiplier or slope plus high − low within 16 bits: the machine can then shift such a constant once,
    when it loads it, instead of shifting every product.
    """

    wide: int = 12
    """Width of the wide tensors: x, x_lo, x_hi, V', ctx, u and the positions."""
    fraction: int = 8
    """Fraction bits of every wide tensor, and of every constant that is added to one."""
    multiplier: int = 10
    """Width of a_c in the affines of the lanes, of the embedding and of the head."""
    bias: int = 14
    """Width of b_c in an affine, with m1 or the move of the output folded in."""
    affine_shift: tuple[int, int] = (2, 8)
    slope: int = 6
    """Width of IRPReLU's slopes, with the LayerScale folded in."""
    slope_shift: tuple[int, int] = (2, 10)
    offset: int = 9
    """Width of m2_c, of t_n and of the moves before a sign."""
    score_weight: int = 6
    """Width of w_lo and w_hi, unsigned."""
    exp_index: int = 6
    """The EXP table has 2^exp_index entries."""
    exp: int = 8
    """Width of an entry of the EXP table, unsigned."""
    exp_step: float = 0.125
    """Entry k of the EXP table stands for exp(−k·exp_step)."""
    threshold: int = 16
    """Width of τ_h, unsigned; all its bits are fraction bits."""
    local_shift: int = 2
    """Width of s_c, unsigned: the scale of the local convolution is 2^s_c."""
    embedding_acc: int = 16
    """Width of the embedding's accumulator after its shift."""
    embedding_shift: tuple[int, int] = (4, 20)
    head_shift: tuple[int, int] = (4, 20)
    feature_fraction: int = 4
    """Fraction bits of the 8-bit features before the classifier."""

    def __post_init__(self):
        if not _is_integer(self.wide, 12, 16):
            raise ConfigError(f"wide must be 12 to 16 bits, not {self.wide!r}")
        if not _is_integer(self.fraction, 0, self.wide - 1):
            raise ConfigError(f"fraction must be 0 to {self.wide - 1} bits, not {self.fraction!r}")
        # The machine's registers and tables have room for these widths; at most 16 bits reach a multiplier.
        limits = {"multiplier": (2, 12), "bias": (2, 20), "slope": (3, 8), "offset": (2, self.wide)}
        limits |= {"score_weight": (2, 12), "exp_index": (2, 8), "exp": (4, 12), "threshold": (4, 16)}
        limits |= {"local_shift": (1, 3), "embedding_acc": (8, 18), "feature_fraction": (0, 7)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not _is_integer(value, low, high):
                raise ConfigError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        for name in ("affine_shift", "slope_shift", "embedding_shift", "head_shift"):
            window = getattr(self, name)
            pair = type(window) is tuple and len(window) == 2 and all(_is_integer(v, 0, 24) for v in window)
            if not (pair and window[0] <= window[1]):
                raise ConfigError(f"{name} must be a window within 0 to 24, not {window!r}")
        if not (is_real(self.exp_step, 0, 1) and self.exp_step > 0):
            raise ConfigError(f"exp_step must lie in (0, 1], not {self.exp_step!r}")
        object.__setattr__(self, "exp_step", float(self.exp_step))


_NAME = re.compile(r"""(?![.\- ])[^/\\:*?"<>|]{1,100}(?<![. ])""")


def check_name(name: object) -> None:
    """Raise `ConfigError` for a name that no folder could have: it may come from anybody's model file."""
    if not (
        isinstance(name, str) and name.isprintable() and _NAME.fullmatch(name) and len(name.encode()) < 200
    ):
        raise ConfigError(
            'name must be at most 100 characters that a folder can be called, none of / \\ : * ? " < > | and '
            f"no . - or space at its ends, not {name!r:.120}"
        )


def check_classes(classes: object) -> None:
    """Raise `ConfigError` unless ``classes`` are two or more names of printable characters."""
    names = classes if type(classes) is tuple else ()
    if len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"classes must be the names of two or more classes, not {classes!r:.120}")
    for name in names:
        if not (name.strip() and name.isprintable()):
            raise ConfigError(f"a class must have a name that can be printed, not {name!r:.120}")


def placeholders(count: int) -> tuple[str, ...]:
    """Names for ``count`` classes, until a data set gives them their own."""
    return tuple(f"class {i}" for i in range(count))


@dataclass(frozen=True)
class ModelConfig:
    """The shapes of a DIDB-ViT, defined nowhere else. Values that no model can have raise `ConfigError`."""

    name: str
    image: tuple[int, int]
    """Height and width in pixels."""
    channels: int
    """Channels of a pixel: 1 is grey, 3 is RGB."""
    mean: tuple[float, ...]
    """Mean pixel of the training data for each channel, 0 to 255; it is folded into the embedding's bias."""
    patch: int
    dim: int
    """C, the channels of a token."""
    heads: int
    layers: int
    classes: tuple[str, ...]
    mlp_ratio: int = 4
    """r, a power of two: the MLP has r·C channels between its two linears."""
    theta: int = 3
    """Size of DIBA's local convolution."""
    alpha: float = 0.9
    """Weight of the low band, at the start of training if it is learned."""
    alpha_learned: bool = True
    hfsc: bool = True
    """Whether Q and K are made from both Haar bands; otherwise there is one Q and one K, from x."""
    diba: bool = True
    """Whether the differential term and the local convolution are there."""
    irprelu: bool = True
    """Whether there is an offset for each token; otherwise it is RPReLU."""
    pre_norm: bool = False
    """Whether a BatchNorm is before each branch: an ablation of the float phase only, no machine has it."""
    widths: Widths = field(default_factory=Widths)

    def __post_init__(self):
        check_name(self.name)
        if not (type(self.image) is tuple and len(self.image) == 2):
            raise ConfigError(f"image must be a height and a width, not {self.image!r}")
        if not isinstance(self.widths, Widths):
            raise ConfigError(f"widths must be a Widths, not {self.widths!r}")
        integers = {"channels": self.channels, "patch": self.patch, "dim": self.dim, "heads": self.heads}
        integers |= {"layers": self.layers, "mlp_ratio": self.mlp_ratio, "theta": self.theta}
        integers |= {"image height": self.image[0], "image width": self.image[1]}
        for name, value in integers.items():
            if not _is_integer(value, 1, _LARGEST):
                raise ConfigError(f"{name} must be an integer from 1 to {_LARGEST}, not {value!r}")
        for name in ("hfsc", "diba", "irprelu", "pre_norm", "alpha_learned"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} must be true or false, not {getattr(self, name)!r}")
        height, width = self.image
        if height % self.patch or width % self.patch:
            raise ConfigError(f"image {height}×{width} must divide into patches of {self.patch}")
        for name, value in {"tokens": self.tokens, "mlp_ratio × dim": self.mlp_ratio * self.dim}.items():
            if value > _LARGEST:
                raise ConfigError(f"{name} must be at most {_LARGEST}, not {value}")
        if self.dim % self.heads:
            raise ConfigError(f"dim must be a multiple of heads: {self.dim} is no multiple of {self.heads}")
        if self.mlp_ratio & (self.mlp_ratio - 1):
            raise ConfigError(f"mlp_ratio must be a power of two, not {self.mlp_ratio}")
        if self.theta not in (1, 3, 5):
            raise ConfigError(f"theta must be 1, 3 or 5, not {self.theta}")
        if not is_real(self.alpha, 0, 1):
            raise ConfigError(f"alpha must lie in [0, 1], not {self.alpha!r}")
        mean = self.mean if type(self.mean) is tuple else ()
        if len(mean) != self.channels or not all(is_real(m, 0, 255) for m in mean):
            raise ConfigError(f"mean must be {self.channels} values of 0 to 255, not {self.mean!r}")
        check_classes(self.classes)
        if self.patch_length * 128 * 128 >= 2**30:
            raise ConfigError(f"patch {self.patch} is too large: the embedding could overflow its int32")
        if self.score_scale >= (1 << self.widths.score_weight) - 0.5:
            step, bits = self.widths.exp_step, self.widths.score_weight
            raise ConfigError(f"exp_step {step!r} is too fine for a score_weight of {bits} bits")
        # Equal configurations must have equal JSON: 1 and 1.0 would give two texts, with two hashes.
        object.__setattr__(self, "alpha", float(self.alpha))
        object.__setattr__(self, "mean", tuple(float(m) for m in self.mean))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the token grid."""
        return self.image[0] // self.patch, self.image[1] // self.patch

    @property
    def tokens(self) -> int:
        """N, the number of tokens."""
        return self.grid[0] * self.grid[1]

    @property
    def head_dim(self) -> int:
        """d, the channels of a head."""
        return self.dim // self.heads

    @property
    def patch_length(self) -> int:
        """Number of values in a patch."""
        return self.patch * self.patch * self.channels

    @property
    def placeholder_classes(self) -> bool:
        """Whether the classes have placeholder names, which the training data will replace."""
        return self.classes == placeholders(len(self.classes))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the inputs that Q and K are made from."""
        return ("lo", "hi") if self.hfsc else ("x",)

    @property
    def embedding_acc_shift(self) -> int:
        """e, the shift that brings the embedding's largest accumulator to `embedding_acc` bits: the largest
        sum of products, plus a bias of the same size.
        """
        largest = 2 * self.patch_length * 128 * 128
        return max(0, largest.bit_length() + 1 - self.widths.embedding_acc)

    @property
    def score_shift(self) -> int:
        """r, the shift of the EXP index. A unit of the scores is 2^−r table steps, the finest one at which
        the score weights fit their width.
        """
        unit = self.widths.exp_step * math.sqrt(self.head_dim)
        limit = (1 << self.widths.score_weight) - 1
        return max(0, math.floor(math.log2(limit * unit)))

    @property
    def score_scale(self) -> float:
        """Integer score of a dot product of 1, whose real score is 1/√d: w_lo = round(α·score_scale)."""
        return 2.0**self.score_shift / (self.widths.exp_step * math.sqrt(self.head_dim))

    @property
    def logit_scale(self) -> float:
        """Real value of an integer logit of 1."""
        return INT8_UNIT * 2.0**-self.widths.feature_fraction

    def with_(self, **changes) -> "ModelConfig":
        """A copy in which some fields have other values; it is checked again."""
        return replace(self, **changes)

    def check_deployable(self) -> None:
        """Raise `ConfigError` where this configuration has no integer arithmetic, and so no deploy mode."""
        if self.pre_norm:
            raise ConfigError(
                f"pre_norm is of the float phase only: {self.name} with it cannot enter deploy mode"
            )

    def to_dict(self) -> dict:
        """All fields by name, as `to_json` writes them. ``pre_norm`` is left out where it is off, so that the
        text and the checksums of older models stay as they were before this field existed.
        """
        values = asdict(self)
        if not self.pre_norm:
            del values["pre_norm"]
        return values

    def to_json(self) -> str:
        """The configuration as JSON, for a checkpoint or ONNX metadata."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """The configuration that `to_json` wrote; raises `ConfigError` for any other text."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ConfigError("the configuration must be a JSON object")
        widths = values.pop("widths", {})
        if not isinstance(widths, dict):
            raise ConfigError(f"widths must be a JSON object, not {widths!r}")
        _check_keys(cls, values)
        _check_keys(Widths, widths)
        required = [f.name for f in fields(cls) if f.default is f.default_factory is MISSING]
        if missing := [name for name in required if name not in values]:
            raise ConfigError(f"missing in {cls.__name__}: {', '.join(missing)}")
        return cls(**_tupled(values), widths=Widths(**_tupled(widths)))


def _check_keys(cls: type, values: dict) -> None:
    unknown = set(values) - {f.name for f in fields(cls)}
    if unknown:
        raise ConfigError(f"unknown in {cls.__name__}: {', '.join(sorted(unknown))}")


def _tupled(values: dict) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_CIFAR10_MEAN = (125.3, 123.0, 113.9)
CIFAR10: dict[str, Any] = {
    "image": (32, 32),
    "channels": 3,
    "mean": _CIFAR10_MEAN,
    "patch": 4,
    "classes": CIFAR10_CLASSES,
}
"""Fields that all presets for CIFAR-10 have in common."""

PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        ModelConfig(
            name="digits",
            image=(8, 8),
            channels=1,
            mean=(78.0,),
            patch=2,
            dim=64,
            heads=2,
            layers=4,
            classes=tuple("0123456789"),
        ),
        ModelConfig(name="cifar10-nano", dim=64, heads=2, layers=3, **CIFAR10),
        ModelConfig(name="cifar10-tiny", dim=128, heads=2, layers=7, **CIFAR10),
        ModelConfig(
            name="deit-tiny-224",
            image=(224, 224),
            channels=3,
            mean=(123.7, 116.3, 103.5),
            patch=16,
            dim=192,
            heads=3,
            layers=12,
            classes=placeholders(1000),
        ),
    )
}


def preset(name: str) -> ModelConfig:
    """The preset of that name; raises `ConfigError`, which lists the presets."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


class _Named(Protocol):
    """A dataclass with a name: `ModelConfig`, and `TeacherConfig` of `models.network.teacher`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str: ...


Configuration = TypeVar("Configuration", bound=_Named)


def override(config: Configuration, settings: Iterable[str]) -> Configuration:
    """``config`` changed by `KEY=VALUE` settings, with values as JSON: `dim=96`, `widths.wide=16`.

    Raises `ConfigError` for a setting that is not one, or that no configuration can have.
    """
    changes: dict[str, Any] = {}
    widths: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not (key and equals):
            raise ConfigError(f"a setting is KEY=VALUE, not {setting!r}")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if isinstance(value, list):
            value = tuple(value)
        target, name = (widths, key[7:]) if key.startswith("widths.") else (changes, key)
        target[name] = value
    _check_keys(type(config), changes)
    _check_keys(Widths, widths)
    if "widths" in changes:
        raise ConfigError("widths are set one by one, as in widths.wide=16")
    if widths:
        if not isinstance(config, ModelConfig):
            raise ConfigError(f"{config.name} has no widths")
        changes["widths"] = replace(config.widths, **widths)
    return replace(config, **changes)
