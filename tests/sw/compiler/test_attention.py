"""What the passes of attention ask of the machine, beside what its simulation shows."""

import math
from dataclasses import replace

import pytest

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.lower import lower
from tests.small_machines import MACHINES

MODEL = preset("cifar10-tiny").with_(layers=1)


def test_shifts_of_loads_lie_within_their_windows():
    """A machine need not have wires for others, though a field of the program has room for them."""
    (lowest, highest), (least, most) = MODEL.widths.affine_shift, MODEL.widths.slope_shift
    passes = lower(GoldenModel.blank(MODEL), CONFIGS["32x128"]).passes
    loads = [item for item in passes if item["load_constants"]]
    assert {OperationCode.SCORES, OperationCode.CONTEXT} <= {item["operation"] for item in loads}
    for item in loads:
        assert 0 <= item["affine_shift"] <= highest - lowest, item.name
        assert 0 <= item["slope_shift"] <= most - least, item.name


@pytest.mark.parametrize(
    ("stages", "image", "words"),
    [
        ("/1 t4x1", (3, 3), 0),  # a step each
        ("/1 t32x1h2", (3, 3), 1),  # two words of channels; a head has one of its own
        ("/1 t16x1", (3, 6), 1),  # two words of a row of attention
        ("/1 t20x1", (3, 3), 1),  # the context comes after all sums of the values
        ("/1 t20x1", (3, 6), 2),  # and between them
    ],
)
def test_partial_sums_have_the_room_that_they_need(stages, image, words):
    """In bank C, or behind all else in bank A. Of each token there are one or two at a time."""
    model = GoldenModel.blank(preset("digits").with_(stages=stages, image=image))
    third, alone = (lower(model, replace(MACHINES["4x16"], bank_c=size)).uses for size in (128, 0))
    assert third.bank_c == alone.bank_a - third.bank_a == words * math.prod(image)
