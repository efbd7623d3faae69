"""Compile a golden model for a machine: to passes for an array, to firmware for a scalar machine."""

from typing import TypeAlias, overload

from haarlequin.hw.config import AcceleratorConfig, AnyConfig, ScalarConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw import compiler
from haarlequin.sw.compiler.resources import DoesNotFit
from haarlequin.sw.scalar import firmware
from haarlequin.sw.scalar import program as scalar

AnyProgram: TypeAlias = compiler.Program | scalar.ScalarProgram
"""Both have a ``model``, ``machine``, ``words`` and ``cycles``, and the method `compiled`."""


@overload
def compile_model(model: GoldenModel, machine: AcceleratorConfig, check: bool = True) -> compiler.Program: ...


@overload
def compile_model(model: GoldenModel, machine: ScalarConfig, check: bool = True) -> scalar.ScalarProgram: ...


@overload
def compile_model(model: GoldenModel, machine: AnyConfig, check: bool = True) -> AnyProgram: ...


def compile_model(model: GoldenModel, machine: AnyConfig, check: bool = True) -> AnyProgram:
    """Compile a model, and with ``check`` run an image through the result.

    Raises:
        DoesNotFit: the machine is too small.
        CompilerError: the program computes something else than the model.
    """
    if isinstance(machine, ScalarConfig):
        return scalar.compile_model(model, machine, check)
    return compiler.compile_model(model, machine, check)


def fits(model: GoldenModel, machine: AnyConfig) -> bool:
    """Whether a model fits a machine."""
    try:
        if isinstance(machine, ScalarConfig):
            firmware.firmware(model, machine)
        else:
            compiler.place(model, machine)
    except DoesNotFit:
        return False
    return True
