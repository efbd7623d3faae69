"""Shapes of a DIDB-ViT: `ModelConfig`, which checks its values."""

import json
import math
import re
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.stages import (
    ATTENTION,
    CONVOLUTION,
    LARGEST,
    MLP,
    Stage,
    Stem,
    check_sizes,
    describe,
    is_real,
    parse,
)
from haarlequin.models.widths import INT8_UNIT, Widths

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


OWN_TERMS = ("fixed", "learned", "none")
"""The factor of DIBA's own term of a token, (1 − k_i)·V_i: 1, a learned 2^−o_c, or 0."""

_SHORT = ("patch", "dim", "heads", "layers")
"""The fields of a network of one stage of transformer layers on patches, as `vit` takes them."""

MOST_STAGES = 64
"""Stages of a network at most: each is compared with the others."""

MOST_PAIRS = 1 << 22
"""Pairs of tokens in all windows of a grid at most, where windows are shifted: each pair is listed."""

_LATER = {"pre_norm": False, "own": "fixed", "segmentation": False}
"""Fields that came later, and their defaults. JSON leaves them out where they have these, so that the text
and the checksums of older models stay as they were."""


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
    stem: Stem
    stages: tuple[Stage, ...]
    """The stages, in order. The properties `dim`, `grid`, `heads` … are those of a network of one stage."""
    classes: tuple[str, ...]
    mlp_ratio: int = 4
    """r, a power of two: an MLP has r·C channels between its two linears."""
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
    own: str = "fixed"
    """DIBA's own term of a token, one of `OWN_TERMS`."""
    segmentation: bool = False
    """Whether the answer is a class for each token of the last grid, instead of one for the image."""
    widths: Widths = field(default_factory=Widths)

    def __post_init__(self):
        check_name(self.name)
        if not (type(self.image) is tuple and len(self.image) == 2):
            raise ConfigError(f"image must be a height and a width, not {self.image!r}")
        if not isinstance(self.widths, Widths):
            raise ConfigError(f"widths must be a Widths, not {self.widths!r}")
        sizes = {"channels": self.channels, "mlp_ratio": self.mlp_ratio, "theta": self.theta}
        check_sizes(sizes | {"image height": self.image[0], "image width": self.image[1]})
        for name in ("hfsc", "diba", "irprelu", "pre_norm", "alpha_learned", "segmentation"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(f"{name} must be true or false, not {getattr(self, name)!r}")
        if self.own not in OWN_TERMS:
            raise ConfigError(f"own must be {', '.join(OWN_TERMS[:-1])} or {OWN_TERMS[-1]}, not {self.own!r}")
        if self.mlp_ratio & (self.mlp_ratio - 1):
            raise ConfigError(f"mlp_ratio must be a power of two, not {self.mlp_ratio}")
        self._check_stages()
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
        if max(self.alone(i).score_scale for i in range(len(self.stages))) >= self.widths.score_limit + 0.5:
            step, bits = self.widths.exp_step, self.widths.score_weight
            raise ConfigError(f"exp_step {step!r} is too fine for a score_weight of {bits} bits")
        # Equal configurations must have equal JSON: 1 and 1.0 would give two texts, with two hashes.
        object.__setattr__(self, "alpha", float(self.alpha))
        object.__setattr__(self, "mean", tuple(float(m) for m in self.mean))

    def _check_stages(self) -> None:
        """Raise `ConfigError` unless the stages fit the image and each other."""
        if not isinstance(self.stem, Stem):
            raise ConfigError(f"stem must be a Stem, not {self.stem!r}")
        stages = self.stages if type(self.stages) is tuple else ()
        if not stages or not all(isinstance(stage, Stage) for stage in stages):
            raise ConfigError(f"stages must be one Stage or more, not {self.stages!r:.120}")
        if len(stages) > MOST_STAGES:
            raise ConfigError(f"a network has at most {MOST_STAGES} stages, not {len(stages)}")
        # Nothing is before the first stage, so that only one value describes it.
        object.__setattr__(self, "stages", (replace(stages[0], merge=False), *stages[1:]))
        (height, width), step = self.image, self.stem.step
        if height % step or width % step:
            parts = f"divide into patches of {step}" if self.stem.patch else f"be a multiple of {step}"
            raise ConfigError(f"image {height}×{width} must {parts}")
        largest = (1 << self.widths.wide - 1) - 1
        before = None
        for stage, (rows, columns) in zip(self.stages, self.grids, strict=True):
            sums = {"tokens": rows * columns}
            if stage.feed_forward == MLP:
                sums["mlp_ratio × dim"] = self.mlp_ratio * stage.dim
            for name, value in sums.items():
                if value > LARGEST:
                    raise ConfigError(f"{name} must be at most {LARGEST}, not {value}")
            if stage.feed_forward == CONVOLUTION and 9 * stage.dim > largest:
                raise ConfigError(
                    f"a binary 3×3 convolution of {stage.dim} channels sums up to {9 * stage.dim}: "
                    f"a wide tensor of {self.widths.wide} bits holds {largest}"
                )
            if stage.window and (rows % stage.window or columns % stage.window):
                raise ConfigError(f"a grid of {rows}×{columns} must divide into windows of {stage.window}")
            if stage.shifted and rows * columns * stage.window**2 > MOST_PAIRS:
                raise ConfigError(
                    f"windows of {stage.window} on a grid of {rows}×{columns} are too large to be shifted"
                )
            if before and stage.merge:
                _check_merge(before.dim, stage.dim, largest)
            elif before and stage.dim != before.dim:
                raise ConfigError(f"without a merge the channels stay {before.dim}, not {stage.dim}")
            before = stage

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of the token grid of each stage. Raises `ConfigError` where a merge needs even
        numbers of them.
        """
        rows, columns = (size // self.stem.step for size in self.image)
        grids = []
        for i, stage in enumerate(self.stages):
            if i and stage.merge:
                if rows % 2 or columns % 2:
                    raise ConfigError(f"a grid of {rows}×{columns} cannot be merged: both must be even")
                rows, columns = rows // 2, columns // 2
            grids.append((rows, columns))
        return tuple(grids)

    @property
    def stage(self) -> Stage:
        """The only stage. Raises `ConfigError` where there are several: then `alone` is what is needed."""
        if len(self.stages) > 1:
            raise ConfigError(f"{self.name} has {len(self.stages)} stages, not one: {self.structure}")
        return self.stages[0]

    def alone(self, index: int) -> "ModelConfig":
        """The configuration of a stage alone, for its layers: an image of one pixel for each token."""
        stage = self.stages[index]
        if len(self.stages) == 1 and self.stem == Stem(1) and stage.token_offsets >= self.irprelu:
            return self
        irprelu = self.irprelu and stage.token_offsets
        return replace(
            self, image=self.grids[index], stem=Stem(1), stages=(stage,), irprelu=irprelu, segmentation=False
        )

    def window_alone(self) -> "ModelConfig":
        """The configuration of the attention within a window of the only stage, or itself without windows."""
        size = self.stage.window
        if not size:
            return self
        stage = replace(self.stage, window=0, shifted=False)
        return replace(self, image=(size, size), stem=Stem(1), stages=(stage,))

    @cached_property
    def places(self) -> tuple["LayerPlace", ...]:
        """All layers in order, with what each of them needs to know."""
        places: list[LayerPlace] = []
        for index, stage in enumerate(self.stages):
            config = self.alone(index)
            for i in range(stage.layers):
                merged = self.alone(index - 1) if stage.merge and not i else None
                shift = stage.window // 2 if stage.shifted and i % 2 else 0
                places.append(LayerPlace(f"layers.{len(places)}", config, merged, shift))
        return tuple(places)

    @property
    def golden_only(self) -> bool:
        """Whether only the golden model computes it, and no ONNX file: a network that shifts its windows."""
        return any(place.shift for place in self.places)

    @property
    def structure(self) -> str:
        """Stem and stages as words, as in `models.stages.GRAMMAR`."""
        return describe(self.stem, self.stages)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the token grid of the only stage."""
        assert self.stage
        return self.grids[0]

    @property
    def tokens(self) -> int:
        """N, the number of tokens of the only stage."""
        return self.grid[0] * self.grid[1]

    @property
    def patch(self) -> int:
        """Rows and columns of pixels that a token sees."""
        return self.stem.kernel

    @property
    def dim(self) -> int:
        """C, the channels of a token of the only stage."""
        return self.stage.dim

    @property
    def heads(self) -> int:
        """Heads of the only stage."""
        return self.stage.heads

    @property
    def layers(self) -> int:
        """Layers of the only stage."""
        return self.stage.layers

    @property
    def head_dim(self) -> int:
        """d, the channels of a head."""
        return self.dim // self.heads

    @property
    def patch_length(self) -> int:
        """Number of values that a token sees of the image."""
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
        if self.segmentation:
            return 2.0**-self.widths.fraction
        return INT8_UNIT * 2.0**-self.widths.feature_fraction

    def with_(self, **changes) -> "ModelConfig":
        """A copy in which some fields have other values; it is checked again. ``stages`` may be words, and
        the fields that `vit` takes change the only stage.
        """
        if isinstance(changes.get("stages"), str):
            changes["stem"], changes["stages"] = parse(changes["stages"])
        short = {name: changes.pop(name) for name in _SHORT if name in changes}
        if short and "stages" in changes:
            raise ConfigError(f"stages say what {', '.join(short)} would say")
        if "patch" in short:
            changes["stem"] = Stem(short.pop("patch"))
        if short:
            if len(self.stages) > 1:
                raise ConfigError(f"{self.name} has several stages: set stages, not {min(short)}")
            changes["stages"] = (replace(self.stages[0], **short),)
        return replace(self, **changes)

    def check_deployable(self) -> None:
        """Raise `ConfigError` where this configuration has no integer arithmetic, and so no deploy mode."""
        if self.pre_norm:
            raise ConfigError(
                f"pre_norm is of the float phase only: {self.name} with it cannot enter deploy mode"
            )

    def to_dict(self) -> dict:
        """All fields by name, as `to_json` writes them. Stem and stages are words, or the fields that `vit`
        takes where these are enough.
        """
        values = asdict(self) | {"stages": self.structure}
        shape = {"stages": values.pop("stages")}
        del values["stem"]
        (stage, *others), patch = self.stages, self.stem.patch
        plain = Stage(ATTENTION, stage.dim, stage.layers, stage.heads, MLP, merge=False)
        if patch and stage == plain and not others:
            shape = {"patch": patch, "dim": stage.dim, "heads": stage.heads, "layers": stage.layers}
        names = list(values)
        before = {name: values.pop(name) for name in names[: names.index("classes")]}
        rest = {name: value for name, value in values.items() if _LATER.get(name) != value}
        return before | shape | rest

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
        check_keys(cls, values)
        check_keys(Widths, widths)
        required = {f.name for f in fields(cls) if f.default is f.default_factory is MISSING} - {"stem"}
        required = required if "stages" in values else required - {"stages"} | set(_SHORT)
        if missing := [name for name in _ORDER if name in required - set(values)]:
            raise ConfigError(f"missing in {cls.__name__}: {', '.join(missing)}")
        if "stages" in values and (both := [name for name in _SHORT if name in values]):
            raise ConfigError(f"stages say what {', '.join(both)} would say")
        values = _tupled(values) | {"widths": Widths(**_tupled(widths))}
        if "stages" not in values:
            return vit(**values)
        stem, stages = parse(values.pop("stages"))
        return cls(stem=stem, stages=stages, **values)


@dataclass(frozen=True)
class LayerPlace:
    """A layer and its place in the network."""

    name: str
    """`layers.0` and so on: what its constants and tensors begin with."""
    config: ModelConfig
    """The configuration of its stage alone."""
    merged: ModelConfig | None
    """That of the stage whose tokens are merged, 2×2, before this layer."""
    shift: int
    """Rows and columns by which its windows are shifted."""


def _check_merge(inputs: int, outputs: int, largest: int) -> None:
    """Raise `ConfigError` unless 2×2 tokens of ``inputs`` channels can be merged into one of ``outputs``."""
    side_by_side = 4 * inputs
    groups, rest = divmod(side_by_side, outputs)
    if side_by_side % outputs == 0:
        rest = groups & (groups - 1)
    elif outputs % side_by_side == 0:
        rest = 0
    if rest:
        raise ConfigError(
            f"a merge makes {outputs} channels of 4·{inputs}: one must be a multiple of the other, and where "
            "there are fewer, by a power of two"
        )
    if side_by_side > largest:
        raise ConfigError(f"a merge of 4·{inputs} channels sums up to {side_by_side}, {largest} at most")


def vit(*, patch: int, dim: int, heads: int, layers: int, **rest: Any) -> ModelConfig:
    """The configuration of one stage of transformer layers, with an MLP in each, on patches."""
    stage = Stage(ATTENTION, dim, layers, heads, MLP, merge=False)
    return ModelConfig(stem=Stem(patch), stages=(stage,), **rest)


_ORDER = ("name", "image", "channels", "mean", *_SHORT, "stages", "classes")
"""The fields that have no default, in the order in which messages name them."""


def check_keys(cls: type, values: dict) -> None:
    """Raise `ConfigError` for a key that is no field of ``cls``. `ModelConfig` has those that `vit` takes."""
    known = {f.name for f in fields(cls)}
    if cls is ModelConfig:
        known = known - {"stem"} | set(_SHORT)
    unknown = set(values) - known
    if unknown:
        raise ConfigError(f"unknown in {cls.__name__}: {', '.join(sorted(unknown))}")


def _tupled(values: dict) -> dict:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
