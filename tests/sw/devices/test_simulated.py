"""The line to a simulated accelerator: how long an answer may take, and that it hands on what it is given."""

import pytest

from haarlequin.sw.devices import simulated
from haarlequin.sw.devices.simulated import SimulatedLine
from haarlequin.sw.verilated.simulation import CHUNK


class Stand:
    """In place of the simulation: notes the cycles it is given, what it is sent, and whether it ended."""

    def __init__(self, folder):
        self.folder, self.given, self.sent, self.closed = folder, [], b"", False

    def send(self, data):
        self.sent += data

    def receive(self, cycles):
        self.given.append(cycles)
        return b"came"

    def close(self):
        self.closed = True


@pytest.mark.parametrize("byte_cycles", [1, 40])
def test_an_answer_of_a_chunk_may_take_as_long_as_a_chunk_on_the_way_in(monkeypatch, tmp_path, byte_cycles):
    monkeypatch.setattr(simulated, "Simulation", Stand)
    line = SimulatedLine(tmp_path, byte_cycles, clock_hz=1000)
    assert line.latency * 1000 == 4096 + 2 * CHUNK * byte_cycles
    line.receive(0.5)
    assert line.simulation.given == [CHUNK + 500]


def test_one_byte_per_cycle_where_nothing_else_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(simulated, "Simulation", Stand)
    assert SimulatedLine(tmp_path).latency == SimulatedLine(tmp_path, byte_cycles=1).latency


def test_bytes_and_the_end_reach_the_simulation(monkeypatch, tmp_path):
    monkeypatch.setattr(simulated, "Simulation", Stand)
    line = SimulatedLine(tmp_path)
    assert (line.name, line.exact, line.simulation.folder) == ("sim", True, tmp_path)
    line.send(b"asked")
    assert line.simulation.sent == b"asked"
    assert line.receive(0) == b"came"
    assert not line.simulation.closed
    line.close()
    assert line.simulation.closed
