"""`haarlequin serve`: the simulated accelerator on a pseudo-terminal, in place of a board.

It prints the device name for `sw/infer.py --device`, and answers there until it is interrupted.
"""

import argparse
import os
import select
import threading
import tty
import warnings
from contextlib import suppress
from typing import Self

from amaranth.hdl import UnusedElaboratable

from haarlequin.hw.presets import accelerator
from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.places import build_folder
from haarlequin.sw.verilated.accelerator import simulator
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


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="haarlequin serve", description="The simulated accelerator on a pseudo-terminal."
    )
    parser.add_argument("--config", default="16x64", help="accelerator (default: 16x64)")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore", UnusedElaboratable)
    with one_line_errors(verbose=False):
        machine = accelerator(arguments.config)
        with Simulation(simulator(machine, build_folder("sim"))) as simulation, Board(simulation) as board:
            print(f"{machine.name} on {board.device}; Ctrl-C ends it", flush=True)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
        print()
