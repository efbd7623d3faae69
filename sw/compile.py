"""`python sw/compile.py --plan MODEL --config CONFIG`: what a model needs of an accelerator."""

import argparse
from pathlib import Path

from hw.config import accelerator
from models import checkpoint, cli
from models.config import ModelConfig, preset
from sw.plan import BLOCK_RAMS, DoesNotFit, Plan, plan


def model_config(name: str) -> ModelConfig:
    """The configuration of a preset or of a checkpoint file."""
    path = Path(name)
    return checkpoint.load(path).config if path.suffix else preset(name)


def report(result: Plan, family: str) -> str:
    """The plan as two tables and a line."""
    model, machine = result.model, result.accelerator
    lines = [f"{model.name} on {machine.name} ({machine.lanes} lanes × {machine.width} bits)", ""]
    lines.append(f"{'memory':<14}{'words used':>11}{'of':>8}{'bits':>6}{family + ' RAMs':>12}  purpose")
    for m in result.memories:
        row = f"{m.name:<14}{m.used:>11}{m.words:>8}{m.width:>6}{m.blocks(family):>12}  {m.purpose}"
        lines.append(row + ("  TOO LARGE" if m.used > m.words else ""))
    total = sum(memory.blocks(family) for memory in result.memories)
    lines += [f"{'total':<14}{total:>37}", ""]
    lines.append(f"multipliers: {result.multipliers}; LUT4 of the blocks, estimated: {result.luts}")
    lines += ["", f"{'operation':<22}{'passes':>8}{'cycles':>9}{'share':>8}"]
    lane_cycles = sum(operation.cycles for operation in result.operations)
    for o in result.operations:
        lines.append(f"{o.name:<22}{o.passes:>8}{o.cycles:>9}{o.cycles / lane_cycles:>8.1%}")
    lines.append(f"{'embedding, beside it':<22}{'':>8}{result.embedding:>9}")
    lines += [
        "",
        f"{result.cycles} cycles an image, ideal {result.ideal_cycles:.0f}: {result.utilisation:.1%} used",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python sw/compile.py", description="Plan a model for an accelerator."
    )
    parser.add_argument("--plan", required=True, metavar="MODEL", help="a preset's name or a checkpoint")
    parser.add_argument("--config", required=True, metavar="CONFIG", help="an accelerator: 16x64, 64x128, …")
    parser.add_argument("--family", choices=BLOCK_RAMS, default="ecp5", help="of the FPGA (default: ecp5)")
    arguments = parser.parse_args(argv)
    with cli.one_line_errors(verbose=False):
        result = plan(model_config(arguments.plan), accelerator(arguments.config))
        print(report(result, arguments.family))
        try:
            result.check()
        except DoesNotFit as error:
            raise cli.UsageError(str(error)) from None


if __name__ == "__main__":
    main()
