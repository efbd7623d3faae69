"""The compiler for the array of lanes: a golden model becomes a program and tables, step by step.

Start here, with `compile_model`, and then follow its steps in this order:

    read.py       an ONNX file becomes a golden model; onnxruntime must give the same integers
    lower.py      operations become passes; attention.py and tiling.py are parts of it
    passes.py     what a pass is, what it needs loaded, and what the machine's trace shows of it
    tables.py     the constants and weights that the passes use
    dont_care.py  fields that do not matter in a pass keep their value
    resources.py  whether everything fits; report.py prints it
    schedule.py   when each pass begins
    encode.py     passes and tables become the words of the machine's memories
    emulate.py    runs these words; check.py compares every tensor with the golden model
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
    """The compiled program differs from the golden model: an error in the compiler, not in the model."""


@dataclass(frozen=True)
class Program:
    """A model compiled for a machine."""

    lowered: Lowered
    words: Words
    cycles: int
    """Cycles of the lanes per image."""

    @property
    def model(self) -> GoldenModel:
        """The model that it computes."""
        return self.lowered.model

    @property
    def machine(self) -> AcceleratorConfig:
        """The configuration that it is compiled for."""
        return self.lowered.machine

    @property
    def size(self) -> str:
        """Its number of passes, as text."""
        return f"{len(self.lowered.passes)} passes"

    @property
    def latency(self) -> int:
        """The most cycles from an image to its result, if no other image is before it."""
        config = self.model.config
        head = len(config.classes) * config.stages[-1].dim
        return self.cycles + embedding_cycles(config, self.machine) + head

    def operations(self) -> list[Operation]:
        """The operations of an image, with the cycles that each takes."""
        return operations(self.lowered)

    def compiled(self) -> Compiled:
        """The tables that the host loads."""
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
    """Lower and schedule a model; raises `DoesNotFit` where the machine is too small."""
    check_shapes(model, machine)
    lowered = lower(model, machine)
    check_memories(lowered)
    schedule(lowered)
    check_memories(lowered)  # again, because the scheduled cycles can make the program longer
    return lowered


def compile_model(model: GoldenModel, machine: AcceleratorConfig, check: bool = True) -> Program:
    """Lower, schedule and encode a model, and with ``check`` run an image through the words.

    Raises:
        DoesNotFit: the machine is too small for the model.
        CompilerError: the words do not compute the same integers as the model.
    """
    lowered = place(model, machine)
    program = Program(lowered, encode(lowered), sum(item["cycles"] for item in lowered.passes))
    if check:
        check_words(program)
    return program


def random_image(config: ModelConfig, seed: int) -> np.ndarray:
    """Pixels (1, H, W, channels), the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, (1, *config.image, config.channels), np.uint8)


def check_words(program: Program, pixels: np.ndarray | None = None) -> None:
    """Run an image through encoded words, pass by pass, and compare every tensor.

    ``pixels`` are (1, H, W, channels), by default random. Raises `CompilerError` with the first difference.
    """
    lowered = program.lowered
    pixels = random_image(lowered.model.config, seed=0) if pixels is None else pixels
    trace: Trace = {}
    with arithmetic.count_saturations() as counter:
        lowered.model(pixels, trace)
    checker = Checker(lowered, trace)

    def observe(index: int, port: str, phase: int, numbers: np.ndarray, rows: np.ndarray) -> None:
        if difference := checker.check(index, port, phase, numbers, rows):
            raise CompilerError(str(difference))

    logits, clipped = Emulator(lowered.machine, program.words, lowered.model).run(pixels, observe)
    if missing := checker.missing():
        raise CompilerError(f"{missing[0]} was not computed")
    if not np.array_equal(logits, trace["logits"]):
        raise CompilerError("the logits differ")
    if clipped != counter.clipped:
        raise CompilerError(f"{clipped} saturations, not {counter.clipped}")
