"""The narrowest and the widest arithmetic that tests run."""

from haarlequin.models.widths import Widths

SMALLEST = Widths(
    fraction=4,
    multiplier=3,
    bias=6,
    affine_shift=(0, 2),
    slope=3,
    slope_shift=(0, 1),
    offset=4,
    score_weight=2,
    exp_index=2,
    exp=4,
    exp_step=1.0,
    threshold=4,
    local_shift=1,
    embedding_acc=8,
    feature_fraction=0,
)
LARGEST = Widths(
    wide=16,
    fraction=10,
    multiplier=12,
    bias=20,
    affine_shift=(0, 12),
    slope=8,
    slope_shift=(0, 12),
    offset=16,
    score_weight=12,
    exp_index=8,
    exp=12,
    exp_step=0.03,
    threshold=16,
    local_shift=3,
    embedding_acc=18,
    embedding_shift=(0, 24),
    head_shift=(0, 24),
    feature_fraction=7,
)
