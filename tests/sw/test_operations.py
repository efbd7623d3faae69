"""Models that no accelerator runs: they are refused in one line, and the golden device runs them."""

import numpy as np
import pytest

from haarlequin.hw.config import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import PRESETS, preset
from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.compiler.resources import DoesNotFit
from haarlequin.sw.operations import missing_operation
from haarlequin.sw.targets import compile_model, fits

DIGITS = preset("digits")
MISSING = [
    ({"stages": "/1 t16x1"}, "ConvolutionEmbedding, the stem"),
    ({"stages": "p2 c16x2"}, "BinaryConvolution, in layers.0"),
    ({"stages": "p2 t16x2 a32x1"}, "MergeTokens, in layers.2"),
    ({"stages": "p2 t16x1 =a16x1"}, "BinaryConvolution, in layers.1"),
    ({"stages": "p2 t16x1w2"}, "ToWindows, in layers.0"),
    ({"stages": "p2 t16x2s2"}, "ToWindows, in layers.0"),
    ({"own": "none"}, "LocalContext, in layers.0"),
    ({"own": "learned"}, "ScaledDIBA, in layers.0"),
    ({"segmentation": True}, "TokenLogits, the head"),
]


@pytest.mark.parametrize(("changes", "operation"), MISSING)
@pytest.mark.parametrize("machine", ["16x64", "scalar"])
def test_the_operation_is_named_in_one_line(changes, operation, machine):
    config = DIGITS.with_(name="new", **changes)
    model = GoldenModel.blank(config)
    with pytest.raises(DoesNotFit) as caught:
        compile_model(model, CONFIGS[machine])
    said = f"new ({config.structure}): no accelerator has {operation}; --device golden runs it"
    assert str(caught.value) == said
    assert not fits(model, CONFIGS[machine])


@pytest.mark.parametrize("config", [*PRESETS.values(), DIGITS.with_(own="none", diba=False)])
def test_a_network_of_one_stage_on_patches_has_nothing_new(config):
    assert len(config.stages) > 1 or missing_operation(config) is None


@pytest.fixture
def staged(tmp_path):
    path = tmp_path / "staged.onnx"
    save(export(GoldenModel.blank(DIGITS.with_(name="staged", stages="/1 c4x1 a16x1"))), path)
    return path


def test_the_golden_device_runs_it_without_tables(staged):
    images = np.zeros((2, 8, 8), np.uint8)
    with Accelerator("golden", staged) as accelerator:
        found = accelerator.classify(images)
        assert found.logits.shape == (2, 10)
        assert found.cycles.tolist() == [0, 0]
        assert accelerator.device.counters() == {}
        (result, _) = accelerator.stream(accelerator.pixels(image)[0] for image in images)
        assert accelerator.check(accelerator.pixels(images[0])[0], result) is None


@pytest.mark.parametrize(("device", "config"), [("sim", None), ("golden", "16x64")])
def test_an_accelerator_that_is_asked_for_refuses_it(staged, device, config):
    with pytest.raises(DoesNotFit, match="no accelerator has ConvolutionEmbedding, the stem"):
        Accelerator(device, staged, config)


def test_the_trained_network_of_masks():
    """By its name: the golden device answers, and a simulation is refused."""
    with Accelerator("golden", "camvid-16x12") as accelerator:
        assert accelerator.classify([np.zeros((48, 64, 3), np.uint8)]).mask().shape == (1, 48, 64)
    with pytest.raises(DoesNotFit, match=r"^camvid-16x12 .* no accelerator has ConvolutionEmbedding"):
        Accelerator("sim", "camvid-16x12")
