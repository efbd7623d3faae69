"""`python sw/compile.py MODEL --config CONFIG`: compile an ONNX file to program and tables of an accelerator.

With `--plan` it writes nothing, and says what a model would need; it then also takes a preset, a checkpoint,
or the stages of a network, such as "/2 c32x4 a128x5". Stages are planned for the next machine (`sw.plan`),
which can have other lanes and words than the presets, such as 32x192. With `--verify` it takes a folder that
it wrote, and says whether it is intact and for that accelerator.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from haarlequin.sw.start import imports

with imports():
    from haarlequin.hw.config import AnyConfig, ScalarConfig
    from haarlequin.hw.families import FAMILIES, Family
    from haarlequin.hw.presets import accelerator
    from haarlequin.models.common import cli
    from haarlequin.models.common.errors import UsageError
    from haarlequin.models.common.places import build_folder
    from haarlequin.models.config import ModelConfig
    from haarlequin.models.golden import GoldenModel
    from haarlequin.models.presets import override, preset
    from haarlequin.sw.compiler.lower import lower
    from haarlequin.sw.compiler.read import read
    from haarlequin.sw.compiler.report import layer_report, memory_report, operation_report, traffic_report
    from haarlequin.sw.compiler.resources import check_shapes
    from haarlequin.sw.operations import missing_operation
    from haarlequin.sw.plan.machine import machine_of
    from haarlequin.sw.plan.report import report
    from haarlequin.sw.table_folder import load, save
    from haarlequin.sw.targets import AnyProgram, compile_model


PLANNED_MHZ = 60.0
"""The clock of a plan: most boards have it (docs/boards.md)."""


def model_of(name: str, planning: bool, settings: Sequence[str] = ()) -> GoldenModel:
    """The model in an ONNX file. A plan also takes a checkpoint, or a preset or stages, whose constants are
    meaningless, and which ``settings`` change. Stages have the images and the classes of CIFAR-10.
    """
    path = Path(name)
    if planning and not path.suffix:
        words = " " in name
        config = preset("cifar10-tiny").with_(name="stages", stages=name) if words else preset(name)
        return GoldenModel.blank(override(config, settings))
    if settings:
        raise UsageError(f"--set is for the plan of a preset or of stages, not for {name}")
    if path.suffix == ".onnx":
        return read(path)
    if not planning:
        raise UsageError(f"{name} is no .onnx file: haarlequin export makes one from a checkpoint")
    from haarlequin.models.network import checkpoint  # it imports PyTorch
    from haarlequin.models.network.freeze import freeze

    model = checkpoint.load(path)
    if model.deployed:
        return freeze(model)
    return GoldenModel.blank(model.config)


@cli.command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python sw/compile.py", description="An ONNX file → program and tables of an accelerator."
    )
    parser.add_argument("model", metavar="MODEL", help="an ONNX file of haarlequin export")
    parser.add_argument("--config", required=True, metavar="CONFIG", help="an accelerator: 16x64, 64x128, …")
    parser.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="of the preset or the stages that are planned",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="(default: build/tables/MODEL-CONFIG)",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="only say what a model, checkpoint or preset needs, or stages such as '/2 c32x4 a128x5'",
    )
    parser.add_argument(
        "--verify", action="store_true", help="MODEL is a folder written before: is it intact?"
    )
    parser.add_argument(
        "--family", choices=list(FAMILIES), default="ecp5", help="of the FPGA (default: ecp5)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    with cli.one_line_errors(arguments.verbose):
        if arguments.plan and not arguments.verify:
            model = model_of(arguments.model, True, arguments.settings)
            if " " in arguments.model or missing_operation(model.config):
                _plan_stages(model.config, arguments.config, arguments.family)
            else:
                _compiled(model, accelerator(arguments.config), FAMILIES[arguments.family], planning=True)
            return
        machine = accelerator(arguments.config)
        if arguments.verify:
            tables = load(Path(arguments.model), machine)
            words = sum(map(len, tables.words.values()))
            print(f"{arguments.model}: {tables.model.name} for {tables.accelerator}, {words} words, intact")
            return
        model = model_of(arguments.model, False, arguments.settings)
        program = _compiled(model, machine, FAMILIES[arguments.family], planning=False)
        folder = arguments.output or build_folder("tables", f"{model.config.name}-{machine.name}")
        save(program.compiled(), folder)
        print(f"\n{folder}: program and tables, checked against the golden model")


def _plan_stages(config: ModelConfig, machine: str, family: str) -> None:
    if family != "ecp5":
        raise UsageError(f"the next machine is planned for ecp5 alone, not for {family}")
    print(report(config, machine_of(machine)))


def _compiled(model: GoldenModel, machine: AnyConfig, family: Family, planning: bool) -> AnyProgram:
    """Compile and report. The memories come first, because they show why a model does not fit."""
    if isinstance(machine, ScalarConfig):
        scalar = compile_model(model, machine, not planning)
        print(f"{model.config.name} on {machine.name}: {scalar.size}, {scalar.cycles:,} cycles an image")
        return scalar
    check_shapes(model, machine)
    print(f"{model.config.name} on {machine.name} ({machine.lanes} lanes × {machine.width} bits)\n")
    print(memory_report(lower(model, machine), family) + "\n", flush=True)
    program = compile_model(model, machine, not planning)
    if not planning:
        print(layer_report(program) + "\n")
    print(operation_report(program))
    if planning:
        print(traffic_report(program, PLANNED_MHZ))
    return program


if __name__ == "__main__":
    with imports():  # some packages are imported only where they are needed
        main(sys.argv[1:])
