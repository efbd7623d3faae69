"""A simulator in this process."""

import gc
import shutil
import threading
import time

import pytest

from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import Frame, FrameType, encode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.places import build_folder
from haarlequin.sim.simulate import simulator
from haarlequin.sw.verilated.simulation import CHUNK, Simulation

pytestmark = pytest.mark.slow

EVERY = bytes(range(256)) * 3


def echo(data):
    """What `Loopback` makes of it."""
    return bytes((byte + 1) % 256 for byte in data)


def exchange(simulation, data, silence=200):
    simulation.send(data)
    came = b""
    while part := simulation.receive(silence):
        assert len(part) <= CHUNK
        came += part
    return came


@pytest.fixture
def simulation(loopback):
    with Simulation(loopback) as simulation:
        yield simulation


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK, 768])
def test_bytes_go_in_and_come_out(simulation, size):
    for _ in range(2):
        assert exchange(simulation, EVERY[:size]) == echo(EVERY[:size])


def test_bytes_may_come_in_pieces(simulation):
    for i in range(0, 300, 7):
        simulation.send(EVERY[i : i + 7])
    assert exchange(simulation, b"") == echo(EVERY[:301])


def test_sending_takes_no_time(simulation):
    before = simulation.cycle
    simulation.send(EVERY)
    assert simulation.cycle == before


@pytest.mark.parametrize("silence", [0, 1, 100, 5000])
def test_silence_ends(simulation, silence):
    before = simulation.cycle
    assert simulation.receive(silence) == b""
    assert silence <= simulation.cycle - before <= silence + CHUNK


def test_silence_begins_when_the_last_chunk_has_gone(simulation):
    """As many bytes as take longer than the silence."""
    simulation.send(EVERY)
    assert simulation.receive(CHUNK + 10) != b""


def test_what_comes_is_there_at_once(simulation):
    before = simulation.cycle
    assert exchange(simulation, b"a", silence=0) == b""
    simulation.send(b"b")
    assert simulation.receive(10_000) in (b"b", b"bc")
    assert simulation.cycle - before < 4 * CHUNK


def test_a_restart_forgets(simulation):
    simulation.send(EVERY)
    simulation.receive(100)
    before = simulation.cycle
    simulation.restart()
    assert before <= simulation.cycle < before + 20
    assert exchange(simulation, b"") == b""
    assert exchange(simulation, b"new") == echo(b"new")


def test_a_restart_again_and_again(simulation):
    """At whatever moment of a chunk that goes in or comes out."""
    for i in range(60):
        simulation.send(EVERY[: 2 * i])
        simulation.receive(i)
        simulation.restart()
        assert exchange(simulation, bytes([i])) == bytes([i + 1])


def test_the_same_again_from_the_start(loopback):
    """No state is left in the library."""
    cycles = set()
    for _ in range(3):
        with Simulation(loopback) as simulation:
            assert exchange(simulation, EVERY) == echo(EVERY)
            cycles.add(simulation.cycle)
    assert len(cycles) == 1


def test_several_at_once(loopback):
    many = [Simulation(loopback) for _ in range(3)]
    came = [b""] * 3
    for i, one in enumerate(many):
        one.send(EVERY[i:])
    for _ in range(40):
        for i, one in enumerate(many):
            came[i] += one.receive(30)
    assert came == [echo(EVERY[i:]) for i in range(3)]
    for one in many:
        one.send(b"on its way, ")
    many[1].restart()
    many[0].close()
    gc.collect()
    assert exchange(many[1], b"still") == echo(b"still")
    assert exchange(many[2], b"still") == echo(b"on its way, still")
    with Simulation(loopback) as another:
        many[2].close()
        assert exchange(another, b"new") == echo(b"new")
        assert exchange(many[1], b"old") == echo(b"old")
    many[1].close()


def test_two_components_at_once(simulation):
    """Libraries with the same names in them."""
    with Simulation(simulator(CONFIGS["16x64"], build_folder("sim"))) as other:
        other.send(encode(Frame(FrameType.IDENTIFY, 7)))
        assert exchange(simulation, EVERY) == echo(EVERY)
        answer = exchange(other, b"")
        assert answer[:3] == bytes([0xA5, FrameType.IDENTITY, 7])
        assert Identity.decode(answer[12:-2]).config_hash == CONFIGS["16x64"].digest
    assert exchange(simulation, EVERY) == echo(EVERY)


def test_closed_is_closed(loopback):
    simulation = Simulation(loopback)
    simulation.close()
    simulation.close()
    for use in (lambda: simulation.receive(1), simulation.restart, lambda: simulation.cycle):
        with pytest.raises(ValueError, match=r"^the simulation is closed$"):
            use()


def test_threads_and_a_close_in_the_midst(loopback):
    """ctypes lets other threads run while the library does; without a lock it crashes."""
    for _ in range(5):
        simulation, raised = Simulation(loopback), []

        def use(simulation=simulation, raised=raised):
            try:
                while True:
                    simulation.send(EVERY)
                    simulation.receive(1000)
                    simulation.restart()
                    assert simulation.cycle >= 0
            except ValueError as error:
                raised.append(str(error))

        threads = [threading.Thread(target=use, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        closing = [threading.Thread(target=simulation.close, daemon=True) for _ in range(2)]
        for thread in closing:
            thread.start()
        for thread in [*closing, *threads]:
            thread.join(60)
            assert not thread.is_alive(), "it hangs"
        assert raised == ["the simulation is closed"] * 4


def test_simulations_in_threads_of_their_own(loopback):
    """Opening and closing included."""
    came = []

    def use():
        for _ in range(20):
            with Simulation(loopback) as simulation:
                came.append(exchange(simulation, EVERY) == echo(EVERY))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert came == [True] * 80


def test_an_error_closes_it(loopback):
    with pytest.raises(KeyError), Simulation(loopback) as simulation:
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        simulation.receive(1)


def test_a_folder_without_a_simulator(loopback, tmp_path):
    with pytest.raises(OSError, match=r"library\.so"):
        Simulation(tmp_path)
    shutil.copy(loopback / "library.so", tmp_path)
    with Simulation(tmp_path) as simulation:  # nothing else is needed
        assert exchange(simulation, b"x") == b"y"
