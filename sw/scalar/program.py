"""`compile_model` compiles a golden model for the scalar machine, and checks the result."""

import math
from dataclasses import dataclass

import numpy as np

from haarlequin.hw.config import ScalarConfig
from haarlequin.hw.scalar.isa import CODE, memories
from haarlequin.models import arithmetic
from haarlequin.models.golden import GoldenModel, Trace
from haarlequin.sw.compiler import CompilerError, random_image
from haarlequin.sw.compiler.resources import Operation, bit_macs
from haarlequin.sw.scalar.check import compare
from haarlequin.sw.scalar.emulate import Emulator
from haarlequin.sw.scalar.firmware import Firmware, firmware
from haarlequin.sw.table_folder import Compiled


@dataclass(frozen=True)
class ScalarProgram:
    """A model compiled for a scalar machine."""

    firmware: Firmware
    machine: ScalarConfig
    words: dict[str, list[int]]
    """The words of each memory, by its name, from word 0 on."""
    cycles: int
    """Cycles of the core per image; they are the same for every image."""
    stores: int
    """How many words the core stores per image."""

    @property
    def model(self) -> GoldenModel:
        """The model that it computes."""
        return self.firmware.model

    @property
    def size(self) -> str:
        """How much of the memories it takes, as text."""
        code, data = len(self.firmware.code), len(self.firmware.data)
        return f"{code:,} instructions of {CODE:,}, {data:,} words of {self.machine.data - 1:,}"

    @property
    def latency(self) -> int:
        """Cycles from an image to its result."""
        return self.cycles

    def operations(self) -> list[Operation]:
        """The cycles of an image, all as one operation."""
        return [Operation("firmware", 1, self.cycles, sum(bit_macs(self.model.config).values()))]

    def compiled(self) -> Compiled:
        """The tables that the host loads."""
        return Compiled(
            model=self.model.config,
            accelerator=self.machine.name,
            digest=self.machine.digest,
            memories=memories(self.machine.data, self.machine.pixels),
            words=self.words,
            cycles=self.cycles,
            operations={operation.name: operation.cycles for operation in self.operations()},
        )


def compile_model(model: GoldenModel, machine: ScalarConfig, check: bool = True) -> ScalarProgram:
    """Write the firmware and run an image through it, and with ``check`` compare every tensor.

    Raises:
        DoesNotFit: the machine is too small for the model.
        CompilerError: the firmware does not compute the same integers as the model.
    """
    made, config = firmware(model, machine), model.config
    size = math.prod(config.image) * config.channels
    words = {"settings": [size, len(config.classes)], "code": made.code, "data": made.data}
    pixels = random_image(config, seed=0)
    emulator = run(words, pixels)
    program = ScalarProgram(made, machine, words, emulator.cycles, len(emulator.stores))
    if check:
        compare_run(program, emulator, pixels)
    return program


def run(words: dict[str, list[int]], pixels: np.ndarray) -> Emulator:
    """Run one image; returns the core as it is afterwards."""
    emulator = Emulator(words["code"], words["data"])
    emulator.show(pixels.flatten().tolist())
    emulator.run()
    return emulator


def compare_run(program: ScalarProgram, emulator: Emulator, pixels: np.ndarray) -> None:
    """Raise `CompilerError` where an image's results differ from the golden model's."""
    trace: Trace = {}
    with arithmetic.count_saturations() as counter:
        program.model(pixels, trace)
    if difference := compare(program.firmware, emulator.stores, trace):
        raise CompilerError(str(difference))
    if emulator.results != trace["logits"][0].tolist():
        raise CompilerError("the logits differ")
    if emulator.saturations != counter.clipped:
        raise CompilerError(f"{emulator.saturations} saturations, not {counter.clipped}")
    if emulator.cycles != program.cycles:
        raise CompilerError(f"{emulator.cycles} cycles, not {program.cycles} as for another image")
