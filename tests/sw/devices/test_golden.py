"""The golden model as a device: what it counts, and what it refuses."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.models import arithmetic
from haarlequin.sw.devices import CompiledModel, DeviceError
from haarlequin.sw.devices.golden import GoldenDevice
from tests.sw.devices.fake import CYCLES, DIGEST, TABLES

PIXELS = [np.full((8, 8, 1), i, np.uint8) for i in range(4)]


def golden(images):
    """Two logits for each image, of which it clips those above 1."""
    pixels = images[:, 0, 0, 0].astype(np.int64)
    return arithmetic.sat(np.stack([pixels, -pixels], -1), 2)


MODEL = CompiledModel(TABLES, golden)


def failure(action):
    with pytest.raises(DeviceError) as caught:
        action()
    return str(caught.value)


def test_what_it_is():
    device = GoldenDevice(DIGEST)
    assert (device.name, device.digest, device.predicts) == ("golden", DIGEST, True)
    assert GoldenDevice(None).digest == 0


def test_the_golden_model_is_loaded_by_whoever_brings_it():
    code = "import sys, haarlequin.sw.devices.golden\nsys.exit('haarlequin.models.golden' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_results_and_what_they_cost():
    device = GoldenDevice(DIGEST)
    device.load(MODEL)
    assert device.counters() == {}
    results = list(device.run(PIXELS))
    assert [each.logits.tolist() for each in results] == [[0, 0], [1, -1], [1, -2], [1, -2]]
    assert [each.saturations for each in results] == [0, 0, 1, 2]
    assert {(each.logits.dtype, each.cycles, each.labels_only) for each in results} == {
        (np.dtype(np.int32), CYCLES, False)
    }
    assert device.counters() == {"signs": 4 * 600, "scores": 4 * 400}
    device.reset()
    assert device.counters() == {"signs": 4 * 600, "scores": 4 * 400}


def test_a_model_that_no_accelerator_runs():
    device = GoldenDevice(None)
    device.load(CompiledModel(None, golden))
    (result,) = device.run(PIXELS[1:2])
    assert (result.logits.tolist(), result.cycles, device.counters()) == ([1, -1], 0, {})


def test_what_it_refuses():
    device = GoldenDevice(DIGEST)
    assert failure(lambda: list(device.run(PIXELS))) == "golden: load a model first"
    assert failure(lambda: device.load(CompiledModel(TABLES))) == (
        "golden: tables are not enough, give the model's name or its ONNX file"
    )
    wanted = f"the accelerator is another ({DIGEST:#010x}): compile for it"
    assert failure(lambda: device.load(CompiledModel(None, golden))) == (
        f"golden: the tables are missing, {wanted}"
    )
    others = CompiledModel(replace(TABLES, digest=0xABCD), golden)
    assert failure(lambda: device.load(others)) == f"golden: the tables are for mine (0x0000abcd), {wanted}"
    device.load(MODEL)
    assert "only an accelerator counts them" in failure(lambda: device.benchmark(PIXELS[0], 3))


def test_a_run_ends_where_the_device_is_closed():
    device = GoldenDevice(DIGEST)
    device.load(MODEL)
    results = device.run(PIXELS)
    next(results)
    device.close()
    assert failure(lambda: next(results)) == "golden: the device is closed"
    assert failure(device.counters) == "golden: the device is closed"
