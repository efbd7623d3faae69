"""What the passes of attention ask of the machine, beside what its simulation shows."""

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.lower import lower

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
