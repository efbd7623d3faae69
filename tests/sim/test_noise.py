"""Damage on the link of the real RTL, hundreds of times: never wrong logits, never silence for good."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from haarlequin.hw.link.protocol import HEADER_BYTES, Decoder
from haarlequin.models.common.places import build_folder
from haarlequin.sim.damage import BUS_FAULTS, FAULTS, RESET, NoisyHost, NoisyLine
from haarlequin.sim.ethernet.damage import FRAME_FAULTS
from haarlequin.sim.noise import campaign, noisy, small_model
from haarlequin.sim.usb.transactor import Order
from haarlequin.sw.devices import CompiledModel
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.verilated.accelerator import simulator
from tests.small_machines import MACHINES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    found, images = small_model(MACHINES["4x16"])
    assert len(np.unique(found.golden(images), axis=0)) == len(images)
    return found


def outcome_of(model, faults, seed, kind="bytes"):
    machine, (_, images) = MACHINES["4x16"], small_model(MACHINES["4x16"])
    line, noise = noisy(kind, machine, seed)
    with LinkDevice(line) as device:
        device.load(model)
        *_, outcome = campaign(device, noise, model, images, faults, seed)
    return outcome


@pytest.mark.parametrize(
    ("kind", "known", "faults"),
    [
        ("bytes", FAULTS, 300),
        ("spi", BUS_FAULTS, 40),
        ("fifo", FAULTS, 24),
        ("udp", FRAME_FAULTS, 30),
        ("usb", FAULTS, 24),
        ("usb-hs", FAULTS, 24),
    ],
    ids=["bytes", "spi", "fifo", "udp", "usb", "usb-hs"],
)
def test_many_faults_and_no_wrong_logits(model, kind, known, faults):
    outcome = outcome_of(model, faults, 1, kind)
    assert outcome.faults.total() == faults
    kinds = {name.split()[0]: 0 for name in outcome.faults}
    for name, count in outcome.faults.items():
        kinds[name.split()[0]] += count
    assert set(kinds) == {*known, RESET}
    assert min(kinds.values()) >= faults // 20
    assert outcome.wrong == 0
    assert outcome.answered + outcome.reported >= 3 * faults
    assert outcome.reported <= 3 * faults / 100  # a fault is no excuse: hardly any image is lost to one
    assert len(outcome.delays) == faults
    assert 0 < max(outcome.delays) < 1  # seconds


def test_a_host_that_looks_at_no_crc_is_seen(model, monkeypatch):
    intact = Decoder._intact

    def careless(self, start, length):
        return length != HEADER_BYTES - 1 or intact(self, start, length)

    monkeypatch.setattr(Decoder, "_intact", careless)
    assert outcome_of(model, 60, seed=2).wrong


def test_tables_with_a_flipped_bit_are_seen(model):
    line = NoisyLine(SimulatedLine(simulator(MACHINES["4x16"], build_folder("sim"))), 1)
    words = {**model.tables.words, "weights": [word ^ 1 for word in model.tables.words["weights"]]}
    with LinkDevice(line) as device:
        broken = CompiledModel(replace(model.tables, words=words), model.golden)
        device.load(broken)
        runs = campaign(device, line, broken, small_model(MACHINES["4x16"])[1], 1, seed=1)
        assert next(runs).wrong


def test_a_handshake_of_usb_that_is_lost_whole():
    """Nothing is sent then, and nothing comes."""
    host = NoisyHost(SimpleNamespace(cycle=0), 48_000_000, seed=1)
    host.kinds = {"lost": lambda stream, at, dice: b""}
    host.arm("lost", outward=True, distance=0)
    assert host._exchange([(Order(0), b"\xd2")]) == b""
    assert host.happened
