"""A whole accelerator, as small as one gets, in a part's primitives."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.accelerator import Accelerator
from hw.config import CONFIGS
from hw.uart import Uart
from models.config import ModelConfig
from models.freeze import freeze
from models.random import random_model
from sim import gates
from sim.simulate import CLOCK_HZ, TIMEOUT, expect
from sw.compiler import compile_model
from sw.devices.device import Model
from sw.devices.link import LinkDevice
from sw.devices.simulated import SimulatedLine

from .parts import synthesise

DIVISOR = 4

MACHINE = replace(
    CONFIGS["2x64"],
    name="2x8",
    width=8,
    weights=64,
    constants=128,
    local=16,
    tokens=32,
    signs=32,
    bank_a=64,
    bank_b=64,
    program=128,
    pixels=2 * 4,
    max_tokens=4,
    max_channels=4,
    max_patch_length=1,
    max_classes=2,
    rows=8,
    theta=1,
    slots=4,
)
SHAPE = ModelConfig(
    name="random",
    image=(2, 2),
    channels=1,
    mean=(128.0,),
    patch=1,
    dim=4,
    heads=1,
    layers=1,
    classes=("a", "b"),
    mlp_ratio=1,
    theta=1,
)


class Pins(wiring.Component):
    """The accelerator behind a UART."""

    rx: In(1)
    tx: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(DIVISOR)
        m.submodules.accelerator = accelerator = Accelerator(MACHINE, CLOCK_HZ, TIMEOUT)
        wiring.connect(m, uart.received, accelerator.rx)
        wiring.connect(m, accelerator.tx, uart.to_send)
        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx)]
        return m


@pytest.mark.skipif(
    "HAARLEQUIN_GATES" not in os.environ, reason="takes two minutes a family; HAARLEQUIN_GATES=1 runs it"
)
@pytest.mark.parametrize("family", gates.FAMILIES)
def test_logits_and_saturations_are_the_golden_models(tmp_path, family):
    netlist = synthesise(Pins(), family, tmp_path)
    folder = gates.simulate(netlist, family, DIVISOR, tmp_path / "simulator")
    with LinkDevice(SimulatedLine(folder, byte_cycles=10 * DIVISOR)) as device:
        for seed in range(5):
            model = freeze(random_model(SHAPE, seed))
            program = compile_model(model, MACHINE)
            device.load(Model(program.compiled()))
            images = np.random.default_rng(seed).integers(0, 256, (4, 2, 2, 1), dtype=np.uint8)
            expected = expect(model, torch.from_numpy(images))
            results = list(device.run(images))
            for result, wanted in zip(results, expected, strict=True):
                assert result.logits.tolist() == wanted.trace["logits"][0].tolist()
                assert result.saturations == wanted.saturations
            assert results[0].cycles == program.cycles  # later ones may wait for the UART
