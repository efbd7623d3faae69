"""The memories: every one is there, with the bits that the program uses of it."""

import pytest

from haarlequin.hw.boards import BOARDS
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import PRESETS
from haarlequin.sim.report import storage
from haarlequin.sw.compiler.resources import memories
from haarlequin.sw.targets import compile_model

pytestmark = pytest.mark.slow


def panel(model, config, board):
    program = compile_model(GoldenModel.blank(PRESETS[model]), CONFIGS[config], check=False)
    (found,) = storage.section(program, BOARDS[board]).panels
    return program, found


def test_every_memory_is_there():
    program, found = panel("cifar10-hybrid", "8x64-hybrid", "ulx3s-25f")
    used, free = found.figures[0].data
    for memory in memories(program.lowered):
        place = used.y.index(memory.name)
        assert used.x[place] * 1024 == memory.used * memory.width
        assert (used.x[place] + free.x[place]) * 1024 == memory.words * memory.width
    assert "take 54 of the chip's 56 block RAMs" in found.says  # as nextpnr says in docs/boards.json


def test_a_scalar_machine_says_what_it_has():
    _, found = panel("digits", "scalar", "icebreaker")
    assert found.missing
    assert "scalar is a scalar machine" in found.says
