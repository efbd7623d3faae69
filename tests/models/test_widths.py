import math

import pytest

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import preset
from haarlequin.models.widths import Widths
from tests.models.cases import case_id

NO_WINDOWS = [(-1, 4), (4, 25), (5, 4), (4,), (4, 5, 6), 4, [4, 5], (4.0, 5), ("4", "5"), (False, True), None]

WIDTHS_ERRORS = [
    ({"wide": 11}, "wide must be 12 to 16 bits, not 11"),
    ({"wide": 17}, "wide must be 12 to 16 bits, not 17"),
    ({"wide": 12.5}, "wide must be 12 to 16 bits, not 12.5"),
    ({"wide": "12"}, "wide must be 12 to 16 bits, not '12'"),
    ({"fraction": -1}, "fraction must be 0 to 11 bits, not -1"),
    ({"fraction": 12}, "fraction must be 0 to 11 bits, not 12"),
    ({"fraction": True}, "fraction must be 0 to 11 bits, not True"),
    ({"fraction": None}, "fraction must be 0 to 11 bits, not None"),
    *(
        ({name: value}, f"{name} must be an integer from {low} to {high}, not {value!r}")
        for name, low, high in [
            ("multiplier", 2, 12),
            ("bias", 2, 20),
            ("slope", 3, 8),
            ("offset", 2, 12),
            ("score_weight", 2, 12),
            ("exp_index", 2, 8),
            ("exp", 4, 12),
            ("threshold", 4, 16),
            ("local_shift", 1, 3),
            ("embedding_acc", 8, 18),
            ("feature_fraction", 0, 7),
        ]
        for value in (low - 1, high + 1, float(low), str(low), True)
    ),
    *(
        ({name: value}, f"{name} must be a window within 0 to 24, not {value!r}")
        for name in ("affine_shift", "slope_shift", "embedding_shift", "head_shift")
        for value in NO_WINDOWS
    ),
    *(
        ({"exp_step": value}, f"exp_step must lie in (0, 1], not {value!r}")
        for value in (0, -0.125, 1.5, math.nan, math.inf, True, "0.125", None)
    ),
]


@pytest.mark.parametrize(("changes", "message"), WIDTHS_ERRORS, ids=case_id)
def test_illegal_widths_say_what_was_expected_and_what_came(changes, message):
    with pytest.raises(ConfigError) as error:
        Widths(**changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "changes",
    [
        {"wide": 12, "fraction": 0, "multiplier": 2, "bias": 2, "slope": 3, "offset": 2},
        {"wide": 16, "fraction": 15, "multiplier": 12, "bias": 20, "slope": 8, "offset": 16},
        {"score_weight": 2, "exp_index": 2, "exp": 4, "exp_step": 1, "threshold": 4, "local_shift": 1},
        {"score_weight": 12, "exp_index": 8, "exp": 12, "exp_step": 0.01, "threshold": 16, "local_shift": 3},
        {"feature_fraction": 0},
        {"feature_fraction": 7},
        {"embedding_acc": 8, "affine_shift": (0, 0), "slope_shift": (24, 24)},
        {"embedding_acc": 18, "embedding_shift": (0, 24), "head_shift": (3, 4)},
    ],
)
def test_widths_at_their_limits_are_legal(changes):
    config = preset("digits").with_(widths=Widths(**changes))
    assert ModelConfig.from_json(config.to_json()) == config
