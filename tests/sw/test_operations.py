"""Models that no accelerator runs: they are refused in one line, and the golden device runs them."""

from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import UsageError
from haarlequin.models.golden import GoldenModel
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import PRESETS, preset
from haarlequin.sw import resolve
from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.compiler.resources import DoesNotFit
from haarlequin.sw.operations import missing_operation
from haarlequin.sw.targets import compile_model, fits

DIGITS = preset("digits")
MISSING = [
    ({"stages": "p2 t16x2s2"}, "shifted windows, in layers.1"),
    ({"own": "none"}, "LocalContext, in layers.0"),
    ({"own": "learned"}, "ScaledDIBA, in layers.0"),
]
BEYOND_THE_SCALAR = [
    *({"stages": words} for words in ("/1 t16x1", "p2 c16x2", "p2 a16x1", "p2 t16x1w2")),
    *({"stages": words} for words in ("p2 t16x2 a32x1", "p2 t16x1 =t16x1")),
    {"segmentation": True},
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


@pytest.mark.parametrize("changes", BEYOND_THE_SCALAR)
def test_what_only_lanes_have(changes):
    config = DIGITS.with_(name="new", **changes)
    model = GoldenModel.blank(config)
    with pytest.raises(DoesNotFit) as caught:
        compile_model(model, CONFIGS["scalar"])
    assert str(caught.value) == (
        f"new ({config.structure}): scalar only has transformer layers, on patches and without windows, "
        "and one label for an image"
    )
    assert not fits(model, CONFIGS["scalar"])


@pytest.mark.parametrize("config", [*PRESETS.values(), DIGITS.with_(own="none", diba=False)])
def test_a_network_of_one_stage_on_patches_has_nothing_new(config):
    assert len(config.stages) > 1 or missing_operation(config) is None


@pytest.fixture
def without(tmp_path):
    """A model with an operation that no accelerator has."""
    path = tmp_path / "without.onnx"
    save(export(GoldenModel.blank(DIGITS.with_(name="without", own="none", layers=1))), path)
    return path


@pytest.fixture
def too_large(tmp_path, monkeypatch):
    """A model that is too large for all accelerators."""
    monkeypatch.setattr(resolve, "CONFIGS", {"2x64": replace(CONFIGS["2x64"], max_tokens=4)})
    path = tmp_path / "large.onnx"
    save(export(GoldenModel.blank(DIGITS.with_(name="large", layers=1))), path)
    return path


@pytest.mark.parametrize("kind", ["without", "too_large"])
def test_the_golden_device_runs_it_without_tables(kind, request):
    staged = request.getfixturevalue(kind)
    images = np.zeros((2, 8, 8), np.uint8)
    with Accelerator("golden", staged) as accelerator:
        found = accelerator.classify(images)
        assert found.logits.shape == (2, 10)
        assert found.cycles.tolist() == [0, 0]
        assert accelerator.device.counters() == {}
        (result, _) = accelerator.stream(accelerator.pixels(image)[0] for image in images)
        assert accelerator.check(accelerator.pixels(images[0])[0], result) is None


@pytest.mark.parametrize(("device", "config"), [("sim", None), ("golden", "16x64")])
def test_an_accelerator_that_is_asked_for_refuses_it(without, device, config):
    with pytest.raises(DoesNotFit, match="no accelerator has LocalContext, in layers"):
        Accelerator(device, without, config)


def test_a_simulation_of_what_is_too_large(too_large):
    with pytest.raises(UsageError) as caught:
        Accelerator("sim", too_large)
    assert str(caught.value) == ("large fits none of 2x64: see sw/compile.py --plan; --device golden runs it")


def test_the_trained_network_of_masks():
    """By its name, on the golden device."""
    with Accelerator("golden", "camvid-16x12") as accelerator:
        assert accelerator.classify([np.zeros((48, 64, 3), np.uint8)]).mask().shape == (1, 48, 64)
