"""The boards: `BOARDS` collects them from the modules of this package.

To add a board, add a file here with a tuple ``BOARDS`` of `Board`. docs/boards.md says what goes into it.
"""

import importlib
import pkgutil

from haarlequin.hw.boards.board import Board, BoardError

BOARDS: dict[str, Board] = {
    board.name: board
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__))
    for board in getattr(importlib.import_module(f"{__name__}.{module}"), "BOARDS", ())
}
"""All boards, by name."""


def board(name: str) -> Board:
    """The board of that name. Raises `BoardError` for an unknown name, with the known ones in its message."""
    if name not in BOARDS:
        raise BoardError(f"unknown board {name!r}: there are {', '.join(BOARDS)}")
    return BOARDS[name]
