"""A golden model → a program for whichever machine: passes for an array, instructions for a scalar one."""

from haarlequin.hw.config import AnyConfig, ScalarConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw import compiler
from haarlequin.sw.compiler.resources import DoesNotFit
from haarlequin.sw.scalar import firmware
from haarlequin.sw.scalar import program as scalar

AnyProgram = compiler.Program | scalar.ScalarProgram
"""Both have their ``model``, ``machine``, ``words`` and ``cycles``, and are `compiled`."""


def compile_model(model: GoldenModel, machine: AnyConfig, check: bool = True) -> AnyProgram:
    """Compile, and with ``check`` run an image through what was made.

    Raises:
        DoesNotFit: the machine is too small.
        CompilerError: the program computes something else than the model.
    """
    if isinstance(machine, ScalarConfig):
        return scalar.compile_model(model, machine, check)
    return compiler.compile_model(model, machine, check)


def fits(model: GoldenModel, machine: AnyConfig) -> bool:
    """Whether a machine holds a model."""
    try:
        if isinstance(machine, ScalarConfig):
            firmware.firmware(model, machine)
        else:
            compiler.place(model, machine)
    except DoesNotFit:
        return False
    return True
