"""A whole board: the smallest accelerator, from Amaranth to a bitstream, and its netlist against the golden
model.
"""

import numpy as np
import pytest
import torch

from hw.bitstream import report
from hw.bitstream.flow import Flow
from hw.boards import board
from models.freeze import freeze
from models.random import random_model
from sim.gatesim import simulator
from sim.simulate import expect
from sw.compiler import compile_model
from sw.devices.device import Model
from sw.devices.link import LinkDevice
from sw.devices.simulated import SimulatedLine
from tests.small_machines import SMALLEST, SMALLEST_MODEL

DIVISOR = 4


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """Synthesised, with as fast a UART as there can be."""
    target = board("ulx3s-85f")
    made = Flow(
        target, SMALLEST, target.clock_hz, target.clock_hz // DIVISOR, tmp_path_factory.mktemp("board")
    )
    made.synthesise()
    assert made.top.divisor == DIVISOR
    return made


def test_its_netlist_gives_the_golden_logits(flow, tmp_path):
    """PLL, pins and UART included; nothing is in its memories but what the host puts there."""
    line = SimulatedLine(simulator(flow, tmp_path / "gates"), 10 * DIVISOR, flow.top.clock_hz)
    with LinkDevice(line) as device:
        assert device.identity.clock_hz == flow.top.clock_hz
        for seed in range(3):
            model = freeze(random_model(SMALLEST_MODEL, seed))
            program = compile_model(model, SMALLEST)
            device.load(Model(program.compiled()))
            images = np.random.default_rng(seed).integers(0, 256, (4, 2, 2, 1), dtype=np.uint8)
            expected = expect(model, torch.from_numpy(images))
            results = list(device.run(images))
            for result, wanted in zip(results, expected, strict=True):
                assert result.logits.tolist() == wanted.trace["logits"][0].tolist()
                assert result.saturations == wanted.saturations
            assert results[0].cycles == program.cycles  # later ones may wait for the UART


def test_it_becomes_a_bitstream_that_meets_its_clock(flow):
    flow.route(seed=1)
    flow.pack()
    routed = report.routed(flow.folder, flow.family)
    assert routed.fmax_mhz >= 60
    assert routed.usage["lut4"][0] > 1000
    assert b"LFE5U-85F" in flow.bitstream.read_bytes()[:200]
