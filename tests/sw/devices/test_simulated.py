"""The line to a simulated accelerator, as far as it decides something: how long an answer may take."""

import pytest

from haarlequin.sw.devices import simulated
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.verilated.simulation import CHUNK


class Stand:
    """In place of the simulation: notes how many cycles it is given."""

    def __init__(self, folder):
        self.given = []

    def receive(self, cycles):
        self.given.append(cycles)
        return b""


@pytest.mark.parametrize("byte_cycles", [1, 40])
def test_an_answer_of_a_chunk_may_take_as_long_as_a_chunk_on_the_way_in(monkeypatch, tmp_path, byte_cycles):
    monkeypatch.setattr(simulated, "Simulation", Stand)
    line = SimulatedLine(tmp_path, byte_cycles, clock_hz=1000)
    assert line.latency * 1000 == 4096 + 2 * CHUNK * byte_cycles
    line.receive(0.5)
    assert line.simulation.given == [CHUNK + 500]
