"""Measures and prints everything, one part after the other, and writes it as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from haarlequin import __version__
from haarlequin.hw.boards import BOARDS, board
from haarlequin.hw.boards.board import Board
from haarlequin.models.common.errors import UsageError, printable
from haarlequin.models.common.files import say, write_text
from haarlequin.sim.benchmark import boards, computer, simulator
from haarlequin.sim.benchmark.boards import BoardFigures
from haarlequin.sim.benchmark.computer import ComputerFigures
from haarlequin.sim.benchmark.figure import MODEL
from haarlequin.sim.benchmark.simulator import SimulatorFigures
from haarlequin.sw.bitstream import make


class Report:
    """All figures. Each part is printed as soon as it is there.

    Arguments:
        build: whether what is missing is built. Otherwise the report names the command that builds it.
    """

    def __init__(self, build: bool):
        self._build = build
        self._boards: list[BoardFigures] = []
        self._simulators: list[SimulatorFigures] = []
        self._computers: list[ComputerFigures] = []
        self._missing: list[str] = []
        self._failed: list[str] = []

    def run(self, names: Sequence[str] | None, models: Sequence[str]) -> None:
        """Measure everything, for boards of these ``names``, by default all, and these ``models``, by default
        what each board is meant for, and the model of the marks.

        Raises:
            UsageError: a board is unknown, or there are no such images or models.
            SimulationError: a simulation differs from the golden model.
            Differs: onnxruntime or PyTorch does.
        """
        targets = [board(name) for name in names or BOARDS]
        for target in targets:
            self._board(target, models or [target.model])
        for model in models or dict.fromkeys([*(target.model for target in targets), MODEL]):
            self._simulator(model)
            self._computer(model)

    def write(self, path: Path) -> None:
        """Write all figures as JSON; raises `UsageError` afterwards if something could not be built."""
        of_boards: dict[str, dict] = {}
        for each in self._boards:
            of_boards.setdefault(each.board, {})[each.model] = each.as_json()
        found = {
            "version": __version__,
            "boards": of_boards,
            "simulator": {each.model: each.as_json() for each in self._simulators},
            "computer": {each.model: each.as_json() for each in self._computers},
            "missing": self._missing,
        }
        write_text(path, json.dumps(found, indent=1) + "\n")
        print(f"{path}: all of it as JSON")
        if self._failed:
            raise UsageError(f"not everything could be built: {'; '.join(self._failed)}")

    def _board(self, target: Board, models: Sequence[str]) -> None:
        found = boards.usable_facts(target)
        if found is None and self._build:
            try:
                make(target)
            except UsageError as error:
                self._failed.append(str(error))
            found = boards.usable_facts(target)  # also where it misses its clock
        if found is None:
            self._lack(f"{target.name}: no bitstream here", f"make bitstream BOARD={target.name}")
            return
        for model in models:
            try:
                self._boards.append(boards.figures_of(target, found, model))
            except UsageError as error:  # it does not fit, for example
                say(f"{target.name}: {error}")
            else:
                self._show(self._boards[-1])

    def _simulator(self, model: str) -> None:
        try:
            self._simulators.append(simulator.figures_of(model, self._build))
        except simulator.NotBuilt as error:
            self._lack(f"simulator for {model}: not built here", str(error))
        except UsageError as error:  # no accelerator runs the model, or this computer cannot build
            say(f"simulator for {model}: {error}")
            if self._build:
                self._failed.append(str(error))
        else:
            self._show(self._simulators[-1])

    def _computer(self, model: str) -> None:
        arrays = {each.board: each.array for each in self._boards if each.model == model}
        self._computers.append(computer.figures_of(model, arrays))
        self._show(self._computers[-1])

    def _lack(self, what: str, command: str) -> None:
        self._missing.append(command)
        print(f"{what}: {command}\n", flush=True)

    def _show(self, figures: BoardFigures | SimulatorFigures | ComputerFigures) -> None:
        print("\n".join(map(printable, str(figures).splitlines())) + "\n", flush=True)
