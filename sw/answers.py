"""The words of a result: the logits of an image, or of a segmentation network the answers of its tokens."""

import math
from dataclasses import replace

import numpy as np

from haarlequin.hw.config import AcceleratorConfig, AnyConfig
from haarlequin.hw.link.protocol import CLASS_BITS, LOGIT_BITS, PROTECTED, RESULT_BYTES, SETTINGS_MEMORY
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.sw.table_folder import Compiled

COUNTERS = 2
"""Words of a result after its answers: cycles and saturations."""

_WHOLE, _TOKENS = 16, 17
"""The first bits of these two in the first word of the settings."""


def words(config: ModelConfig, whole: bool) -> int:
    """Words of the answers of an image; ``whole`` if tokens answer with their logits.

    Raises `UsageError` for more logits than a frame may carry.
    """
    classes = len(config.classes)
    if not config.segmentation:
        return classes
    tokens = math.prod(config.grids[-1])
    count, bits = (tokens * classes, LOGIT_BITS) if whole else (tokens, CLASS_BITS)
    needed = -(-count * bits // (8 * RESULT_BYTES))
    if (needed + COUNTERS) * RESULT_BYTES > PROTECTED:
        raise UsageError(
            f"{config.name}: {count} answers of {bits} bits for an image are more than a frame carries "
            f"safely, {PROTECTED} bytes"
        )
    return needed


def setting(config: ModelConfig, whole: bool = False) -> dict[str, int]:
    """The settings that say what an image is answered with."""
    tokens = math.prod(config.grids[-1]) if config.segmentation else 0
    return {"result_words": words(config, whole) + COUNTERS, "whole": int(whole), "answers": tokens}


def first_word(config: ModelConfig, whole: bool) -> int:
    """The first word of a machine's settings, which are these (`hw.settings.settings_layout`)."""
    given = setting(config, whole)
    return given["result_words"] | given["whole"] << _WHOLE | given["answers"] << _TOKENS


def gives_logits(tables: Compiled) -> bool:
    """Whether tokens answer with their logits, with these tables."""
    return tables.model.segmentation and bool(tables.words[SETTINGS_MEMORY][0] >> _WHOLE & 1)


def with_logits(tables: Compiled, machine: AnyConfig | None) -> Compiled:
    """The same tables, but tokens answer with their logits. Nothing changes where an image has one label.

    Arguments:
        machine: what the tables are for, None where nobody knows it. It has to keep an image's logits until
            the line has taken them.

    Raises `UsageError` for more logits than a frame may carry, or than the accelerator keeps.
    """
    config = tables.model
    if not config.segmentation:
        return tables
    needed = words(config, whole=True)
    if machine is None:
        raise UsageError(
            f"this version does not know {tables.accelerator}, nor how many logits it keeps: "
            "ask for labels only"
        )
    kept = machine.answers if isinstance(machine, AcceleratorConfig) else 0
    if needed > kept:
        raise UsageError(
            f"{config.name}: the logits of an image take {needed} words, {machine.name} keeps {kept}: "
            "ask for labels only"
        )
    settings = [first_word(config, whole=True), *tables.words[SETTINGS_MEMORY][1:]]
    return replace(tables, words={**tables.words, SETTINGS_MEMORY: settings})


def logits_of(payload: bytes, config: ModelConfig, whole: bool) -> np.ndarray:
    """The answers of a result's payload, int32: logits (classes,) or (N, classes), or the classes (N,)."""
    payload = payload[: words(config, whole) * RESULT_BYTES]
    if not config.segmentation:
        return np.frombuffer(payload, "<i4").astype(np.int32)
    tokens = math.prod(config.grids[-1])
    if not whole:
        return np.frombuffer(payload, np.uint8)[:tokens].astype(np.int32)
    count = tokens * len(config.classes)
    return np.frombuffer(payload, "<i2")[:count].astype(np.int32).reshape(tokens, -1)
