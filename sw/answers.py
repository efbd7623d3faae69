"""The words of a result: the logits of an image, or of a segmentation network the answers of its tokens."""

import math

import numpy as np

from haarlequin.hw.link.protocol import CLASS_BITS, LOGIT_BITS, RESULT_BYTES
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig

COUNTERS = 2
"""Words of a result behind its answers: cycles and saturations."""

PROTECTED = 4093
"""The most bytes of a payload that its CRC protects well (docs/protocol.md)."""


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
            f"{config.name}: {count} answers of {bits} bits for an image are more than a frame carries safely, "
            f"{PROTECTED} bytes"
        )
    return needed


def setting(config: ModelConfig, whole: bool = False) -> dict[str, int]:
    """The settings that say what an image is answered with."""
    tokens = math.prod(config.grids[-1]) if config.segmentation else 0
    return {"result_words": words(config, whole) + COUNTERS, "whole": int(whole), "answers": tokens}


def first_word(config: ModelConfig, whole: bool) -> int:
    """The first word of a machine's settings, which are these (`hw.program.settings_layout`)."""
    given = setting(config, whole)
    return given["result_words"] | given["whole"] << 16 | given["answers"] << 17


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
