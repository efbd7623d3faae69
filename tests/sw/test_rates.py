"""Rates of models on accelerators, against figures counted by hand and by the simulated accelerator."""

import numpy as np
import pytest

from haarlequin import Accelerator
from haarlequin.hw.link.protocol import CRC_BYTES, HEADER_BYTES
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.presets import PRESETS
from haarlequin.sw import rates
from haarlequin.sw.compiler.resources import embedding_cycles, ideal_cycles


def test_the_sizes_of_frames_counted_by_hand():
    """A header with its CRC is 12 bytes, a payload's CRC two; a word of a result has four bytes."""
    assert (HEADER_BYTES, CRC_BYTES) == (10, 2)
    nano = rates.frame_bytes(PRESETS["cifar10-nano"])
    assert nano == {"image": 12 + 32 * 32 * 3 + 2, "result": 12 + 4 * (10 + 2) + 2}
    digits = rates.frame_bytes(PRESETS["digits"])
    assert digits == {"image": 12 + 8 * 8 + 2, "result": nano["result"]}


@pytest.mark.slow
def test_the_rate_of_a_cable_counted_by_hand():
    """Ten bits a byte: 3,086 bytes at 2 Mbaud are 15.43 ms."""
    tiny = PRESETS["cifar10-tiny"]
    assert rates.line_images_per_second(tiny, 2_000_000) == pytest.approx(1 / 0.01543)
    computed, through = rates.images_per_second("cifar10-tiny", "32x128", 50_000_000, 2_000_000)
    assert computed == pytest.approx(50_000_000 / 33_444)
    assert through == pytest.approx(1 / 0.01543)
    # Where the accelerator is the slower one, the cable adds nothing.
    computed, through = rates.images_per_second("digits", "16x64", 50_000, 3_000_000)
    assert computed == through == pytest.approx(50_000 / 4_918)


def test_operations_counted_by_hand():
    """Two for each of 3,866,624 products."""
    assert rates.giga_operations("digits", 1000) == pytest.approx(2 * 3_866_624 * 1000 / 1e9)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "config"), [("digits", "16x64"), ("cifar10-hybrid", "16x64")])
def test_operations_have_all_cycles_and_all_products(model, config):
    found = rates.operations(model, config)
    assert sum(count for count, _ in found.values()) == rates.tables(model, config).cycles
    assert all(0 <= busy <= 1 for _, busy in found.values())
    ideal = sum(count * busy for count, busy in found.values())
    assert ideal == pytest.approx(ideal_cycles(PRESETS[model], CONFIGS[config]))


@pytest.mark.slow
def test_a_scalar_machine_has_one_operation_and_no_embedding_beside_it():
    assert list(rates.operations("digits", "scalar")) == ["firmware"]
    assert rates.latency_cycles("digits", "scalar") == rates.cycles("digits", "scalar") == 3_178_122


@pytest.mark.slow
def test_latency_counted_by_hand():
    """Of `digits` 1,040 cycles of embedding, 4,918 of layers, 649 of the head; 140 bytes on the line."""
    assert rates.latency_cycles("digits", "16x64") == 1040 + 4918 + 649
    seconds = rates.latency("digits", "16x64", 1_000_000, 3_000_000)
    assert seconds == pytest.approx((78 + 62) * 10 / 3e6 + 6607e-6)


@pytest.mark.slow
def test_a_network_for_masks_has_no_head_after_its_layers():
    model, config = "camvid-16x12", "32x128-masks"
    beside = rates.latency_cycles(model, config) - rates.tables(model, config).cycles
    assert beside == embedding_cycles(PRESETS[model], CONFIGS[config])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["digits", "cifar10-hybrid"])
def test_the_accelerator_counts_the_latency_of_an_image(model):
    """A BENCH of one image is from its commit to the last word of its answer."""
    config = PRESETS[model]
    image = np.zeros((*config.image, config.channels), np.uint8)
    with Accelerator("sim", model, "16x64") as accelerator:
        counted = accelerator.device.benchmark(image, 1).cycles
    assert counted - rates.latency_cycles(model, "16x64") in (17, 18)
