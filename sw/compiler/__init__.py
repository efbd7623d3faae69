"""A golden model → program and tables, in small passes: `lower`, `schedule`, `encode`.

After each, what it made is run and must give the same integers (`check_words`); the pass before them, `read`,
does so for the ONNX file that they begin with.
"""

from dataclasses import dataclass

import numpy as np

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.machine import memories
from haarlequin.models import arithmetic
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel, Trace
from haarlequin.sw.compiler.check import Checker
from haarlequin.sw.compiler.emulate import Emulator
from haarlequin.sw.compiler.encode import Words, encode
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.passes import Lowered
from haarlequin.sw.compiler.resources import (
    Operation,
    check_memories,
    check_shapes,
    embedding_cycles,
    operations,
)
from haarlequin.sw.compiler.schedule import schedule
from haarlequin.sw.table_folder import Compiled


class CompilerError(Exception):
    """The compiler contradicts the golden model: a fault of its own, not of the model."""


@dataclass(frozen=True)
class Program:
    """A model compiled for a machine."""

    lowered: Lowered
    words: Words
    cycles: int
    """Of the lanes, an image."""

    @property
    def model(self) -> GoldenModel:
        """What it computes."""
        return self.lowered.model

    @property
    def machine(self) -> AcceleratorConfig:
        """What it is for."""
        return self.lowered.machine

    @property
    def size(self) -> str:
        """In words."""
        return f"{len(self.lowered.passes)} passes"

    @property
    def latency(self) -> int:
        """Cycles from an image to its result, where none is before it; at most."""
        config = self.model.config
        return self.cycles + embedding_cycles(config, self.machine) + len(config.classes) * config.dim

    def operations(self) -> list[Operation]:
        """What an image's cycles are spent on."""
        return operations(self.lowered)

    def compiled(self) -> Compiled:
        """What the host needs of it."""
        machine = self.lowered.machine
        return Compiled(
            model=self.lowered.model.config,
            accelerator=machine.name,
            digest=machine.digest,
            memories=memories(machine),
            words=self.words,
            cycles=self.cycles,
            operations={operation.name: operation.cycles for operation in self.operations()},
        )


def place(model: GoldenModel, machine: AcceleratorConfig) -> Lowered:
    """Lower and schedule; raises `DoesNotFit`."""
    check_shapes(model, machine)
    lowered = lower(model, machine)
    check_memories(lowered)
    schedule(lowered)
    check_memories(lowered)  # again: passes differ in their cycles too, which makes the program longer
    return lowered


def compile_model(model: GoldenModel, machine: AcceleratorConfig, check: bool = True) -> Program:
    """Lower, schedule and encode, and with ``check`` run an image through the words.

    Raises:
        DoesNotFit: the machine is too small.
        CompilerError: the words compute something else than the model.
    """
    lowered = place(model, machine)
    program = Program(lowered, encode(lowered), sum(item["cycles"] for item in lowered.passes))
    if check:
        check_words(program)
    return program


def random_image(config: ModelConfig, seed: int) -> np.ndarray:
    """Pixels (1, H, W, channels), the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, (1, *config.image, config.channels), np.uint8)


def check_words(program: Program, seed: int = 0) -> None:
    """Run a random image through encoded words, pass by pass, and compare every tensor.

    Raises `CompilerError` with the first difference.
    """
    lowered, config = program.lowered, program.lowered.model.config
    pixels = random_image(config, seed)
    trace: Trace = {}
    with arithmetic.count_saturations() as counter:
        lowered.model(pixels, trace)
    checker = Checker(lowered, trace)

    def observe(*shown) -> None:
        if difference := checker.check(*shown):
            raise CompilerError(str(difference))

    logits, clipped = Emulator(lowered.machine, program.words, lowered.model).run(pixels, observe)
    if missing := checker.missing():
        raise CompilerError(f"{missing[0]} was not computed")
    if not np.array_equal(logits, trace["logits"]):
        raise CompilerError("the logits differ")
    if clipped != counter.clipped:
        raise CompilerError(f"{clipped} saturations, not {counter.clipped}")
