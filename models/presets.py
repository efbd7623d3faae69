"""Networks that have a name: the presets, and `override`, which changes settings of one."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Protocol, TypeVar

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig, check_keys, placeholders, vit
from haarlequin.models.stages import parse
from haarlequin.models.widths import Widths

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

_CAMVID: dict[str, Any] = {
    "image": (48, 64),
    "channels": 3,
    "mean": (104.9, 108.3, 110.2),
    "classes": placeholders(11),
    "segmentation": True,
}


def _staged(name: str, structure: str, fields: dict[str, Any], **changes: Any) -> ModelConfig:
    stem, stages = parse(structure)
    return ModelConfig(name=name, stem=stem, stages=stages, **fields, **changes)


_OF_CIFAR10 = {key: value for key, value in CIFAR10.items() if key != "patch"}

PRESETS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        vit(
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
        vit(name="cifar10-nano", dim=64, heads=2, layers=3, **CIFAR10),
        vit(name="cifar10-tiny", dim=128, heads=2, layers=7, **CIFAR10),
        vit(
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
        # Convolutions first and attention last, as in BHViT (arXiv 2503.02394).
        _staged("cifar10-hybrid", "/2 c32x4 c64x2 a64x2", _OF_CIFAR10),
        _staged("cifar10-hybrid-large", "/2 c64x4 c128x3 a128x2", _OF_CIFAR10),
        # Baselines of about the size of cifar10-hybrid: docs/ablations.md says how they differ from their
        # papers. BinaryViT's pyramid (arXiv 2306.16678), Swin's windows (2103.14030), ReActNet's
        # convolutions (2003.03488), and the plain binary attention of BiT (2205.13016).
        _staged("cifar10-pyramid", "p2 t32x1 t64x2 t128x1", _OF_CIFAR10),
        _staged("cifar10-windows", "p2 t32x2s8 t64x3", _OF_CIFAR10),
        _staged("cifar10-convolutions", "/2 c32x4 c64x6", _OF_CIFAR10),
        _staged("cifar10-plain", "p4 t64x5", _OF_CIFAR10, diba=False, hfsc=False, irprelu=False),
        # Segmentation of CamVid in 16×12 and in 8×6 tokens.
        _staged("camvid-16x12", "/2 c32x4 a64x3", _CAMVID),
        _staged("camvid-8x6", "/2 c32x4 c64x2 a128x2", _CAMVID),
    )
}


def preset(name: str) -> ModelConfig:
    """The preset of that name; raises `ConfigError`, which lists the presets."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


class _Dataclass(Protocol):
    """`ModelConfig`, and `TeacherConfig` and `Recipe`, which are in packages that import this one."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Configuration = TypeVar("Configuration", bound=_Dataclass)


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
    check_keys(type(config), changes)
    check_keys(Widths, widths)
    if "widths" in changes:
        raise ConfigError("widths are set one by one, as in widths.wide=16")
    if widths:
        if not isinstance(config, ModelConfig):
            raise ConfigError("only the configuration of a DIDB-ViT has widths")
        changes["widths"] = replace(config.widths, **widths)
    changed: Any = config.with_(**changes) if isinstance(config, ModelConfig) else replace(config, **changes)
    return changed
