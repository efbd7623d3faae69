"""Limits of the next machine: networks that it cannot place, and the boards that a plan is for."""

import math

from haarlequin.hw.attention.softmax import SHIFTS
from haarlequin.hw.boards.board import ECP5_25F, ECP5_85F
from haarlequin.hw.pass_fields import MOST_REPEATS
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import ATTENTION, MLP

PARTS = {"25F": ECP5_25F, "85F": ECP5_85F}
"""The parts of the boards for which networks are planned, and what they have."""


def check(config: ModelConfig) -> None:
    """Raise `UsageError` or `ConfigError`, which name what the next machine cannot place."""
    config.check_deployable()
    largest = (1 << config.widths.wide - 1) - 1
    for place in config.places:
        stage, own = place.config.stage, place.config
        refused = {
            "shifted windows": stage.shifted,
            f"an odd number of channels, {stage.dim}": stage.dim % 2,
            "the learned own term": stage.kind == ATTENTION and own.diba and own.own == "learned",
            f"an MLP of more than {MOST_REPEATS} repeats": stage.feed_forward == MLP
            and own.mlp_ratio > MOST_REPEATS,
            f"sums of {_signs(own)} signs, more than {largest}": _signs(own) > largest,
            f"a score's shift of {own.score_shift}, not {SHIFTS[0]} to {SHIFTS[1]}": stage.kind == ATTENTION
            and not SHIFTS[0] <= own.score_shift <= SHIFTS[1],
        }
        for what, there in refused.items():
            if there:
                raise UsageError(f"{config.structure}: the machine cannot place {what}, in {stage}")


def _signs(config: ModelConfig) -> int:
    """The most signs that a sum of a layer has, beyond those of its convolutions and of a merge."""
    stage = config.stage
    if stage.kind != ATTENTION:
        return 0
    local = config.theta**2 << ((1 << config.widths.local_shift) - 1) if config.diba else 0
    hidden = config.mlp_ratio * config.dim if stage.feed_forward == MLP else 0
    return max(hidden, config.dim, 2 * config.window_alone().tokens + local)


def binary_weights(config: ModelConfig) -> int:
    """How many binary weights a network has."""
    count = 0
    for place in config.places:
        own, square = place.config, place.config.dim**2
        if place.merged:
            count += 4 * place.merged.dim * own.dim
        if own.stage.kind == ATTENTION:
            count += (2 * len(own.bands) + 2) * square + own.diba * own.theta**2 * own.dim
        count += (2 * own.mlp_ratio if own.stage.feed_forward == MLP else 9) * square
    return count + config.segmentation * config.stages[-1].dim * len(config.classes)


def tokens_of_stem(config: ModelConfig) -> int:
    """The tokens that the stem makes."""
    return math.prod(config.grids[0])
