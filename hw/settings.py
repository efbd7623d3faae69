"""The layout of the settings, which the host loads with the program of a model."""

from amaranth.lib import data

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.pass_fields import field_shape

SETTINGS_WORD = 32
"""How many bits of the settings the host writes at once, the lowest first."""


def settings_layout(config: AcceleratorConfig) -> data.StructLayout:
    """The settings, which are the same for all images of a model."""
    tokens, pixels = range(config.max_tokens + 1), range(config.pixels + 1)
    patch, channels = range(config.max_patch_length + 1), range(config.max_channels + 1)
    fields = {
        # The first word, which the host changes to have logits (`sw/answers.py`).
        "result_words": 16,
        "whole": 1,  # the answers of tokens are logits
        "answers": 15,  # how many tokens have an answer each; 0 where the image has one
        "tokens": tokens,  # of the stem's grid
        "rows": tokens,
        "columns": tokens,
        "taps": config.theta**2,
        "dim": channels,  # of the stem
        "patch": patch,
        "patch_bytes": patch,
        "pixel_bytes": patch,
        "line_bytes": pixels,
        "step_bytes": patch,  # between two tokens
        "step_lines": pixels,  # bytes between two rows of tokens
        "padding": 1,  # pixels outside the image are 128
        "padding_end": 1,  # … also after its last row and column
        "positions": 1,
        "image_bytes": pixels,
        "embedding_acc_shift": 5,
        "embedding_shift": 5,
        "classes": range(config.max_classes + 1),
        "head_dim": channels,
        "head_shift": 5,
    }
    return data.StructLayout({name: field_shape(shape) for name, shape in fields.items()})
