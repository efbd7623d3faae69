"""`haarlequin serve`: the simulated accelerator on a pseudo-terminal, in place of a board, or any device over
HTTP.

Without `--http` it prints the device name for `sw/infer.py --device`, and answers there until it is
interrupted. `sw/http_server.py` does the rest, with no need of a simulator.
"""

import argparse
import os
import select
import threading
import warnings
from contextlib import suppress
from typing import Self

from haarlequin.hw.presets import accelerator
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.places import build_folder
from haarlequin.sw.devices import DeviceError
from haarlequin.sw.verilated.simulation import Simulation

SLICE = 2000
"""Cycles that pass at once while nothing comes from the host."""

IDLE_SECONDS = 0.001
"""Seconds to wait for the host between two slices."""


class Board:
    """A simulation on a pseudo-terminal, in a thread of its own, within a ``with`` block.

    ``device`` is the name by which a host opens it. Nothing else may use ``simulation`` while the
    block lasts.
    """

    def __init__(self, simulation: Simulation):
        import tty  # Windows does not have it

        self.simulation = simulation
        self._mine, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        os.set_blocking(self._mine, False)
        self.device = f"serial:{os.ttyname(self._theirs)}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._mine)
        os.close(self._theirs)

    def _serve(self) -> None:
        while not self._stop.is_set():
            readable, _, _ = select.select([self._mine], [], [], IDLE_SECONDS)
            if readable:
                self.simulation.send(os.read(self._mine, 4096))
            while came := self.simulation.receive(SLICE):
                self._write(came)

    def _write(self, data: bytes) -> None:
        """Send to the host. Where nobody reads and the terminal is full, the block can still end."""
        while data and not self._stop.is_set():
            _, writable, _ = select.select([], [self._mine], [], IDLE_SECONDS)
            with suppress(BlockingIOError):
                data = data[os.write(self._mine, data) if writable else 0 :]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="haarlequin serve",
        description="The simulated accelerator on a pseudo-terminal, or any device over HTTP.",
    )
    parser.add_argument("--config", help="accelerator to simulate (default: 16x64; over HTTP, the model's)")
    parser.add_argument("--http", type=int, metavar="PORT", help="over HTTP; 0 takes a port that is free")
    parser.add_argument(
        "--host", help="with --http: where to listen (default: 127.0.0.1, this computer alone)"
    )
    parser.add_argument("--device", help="with --http: as infer has it (default: sim)")
    parser.add_argument("--model", help="with --http: as infer has it (default: digits)")
    arguments = parser.parse_args(argv)
    if arguments.http is not None and not 0 <= arguments.http < 1 << 16:
        parser.error(f"--http must be a port, 0 to 65535, not {arguments.http}")
    for name in ("host", "device", "model"):
        if arguments.http is None and getattr(arguments, name) is not None:
            parser.error(f"--{name} is for a server: add --http PORT")
    return arguments


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    with one_line_errors(verbose=False, failures=(DeviceError,)):
        if arguments.http is None:
            _on_a_terminal(arguments.config or "16x64")
            return
        from haarlequin.sw.http_server import run  # an extra of its own

        device, model = arguments.device or "sim", arguments.model or "digits"
        run(device, model, arguments.config, arguments.host or "127.0.0.1", arguments.http)


def _on_a_terminal(config: str) -> None:
    """Serve the simulated accelerator until an interrupt."""
    from amaranth.hdl import UnusedElaboratable

    from haarlequin.sw.verilated.accelerator import simulator  # a board needs none of it

    warnings.simplefilter("ignore", UnusedElaboratable)
    machine = accelerator(config)
    with Simulation(simulator(machine, build_folder("sim"))) as simulation, Board(simulation) as board:
        print(f"{machine.name} on {board.device}; Ctrl-C ends it", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    print()
