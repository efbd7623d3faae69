"""Report a compilation as text: its memories, its operations, and each operation of each layer."""

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import Family
from haarlequin.hw.lanes.loader import local_layout
from haarlequin.hw.program import constants_layout
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.passes import Lowered, Pass
from haarlequin.sw.compiler.resources import (
    embedding_cycles,
    ideal_cycles,
    memories,
    multipliers,
    operations,
    weight_traffic,
)


def memory_report(lowered: Lowered, family: Family = ECP5) -> str:
    """A table of all memories: words used, words available, and how many block RAMs of a family they take."""
    rows = memories(lowered)
    lines = [f"{'memory':<14}{'words used':>11}{'of':>8}{'bits':>6}{family.name + ' RAMs':>12}  purpose"]
    for m in rows:
        row = f"{m.name:<14}{m.used:>11}{m.words:>8}{m.width:>6}{m.blocks(family):>12}  {m.purpose}"
        lines.append(row + ("  TOO LARGE" if m.used > m.words else ""))
    lines.append(f"{'total':<14}{sum(memory.blocks(family) for memory in rows):>37}")
    return "\n".join(lines)


def operation_report(program: Program) -> str:
    """A table of the operations: cycles per image, and the share of the array's bit-MACs that each fills."""
    lowered = program.lowered
    model, machine = lowered.model.config, lowered.machine
    lines = [f"{'operation':<22}{'passes':>8}{'cycles':>9}{'share':>8}{'busy':>8}"]
    for o in operations(lowered):
        share, busy = o.cycles / program.cycles, o.busy(machine)
        lines.append(f"{o.name:<22}{o.passes:>8}{o.cycles:>9}{share:>8.1%}{busy:>8.1%}")
    lines.append(f"{'embedding, beside it':<22}{'':>8}{embedding_cycles(model, machine):>9}")
    steady = max(program.cycles, embedding_cycles(model, machine))
    ideal = ideal_cycles(model, machine)
    lines += ["", f"multipliers: {multipliers(machine)}"]
    lines.append(f"{steady} cycles an image, ideal {ideal:.0f}: {ideal / steady:.1%} used")
    return "\n".join(lines)


def traffic_report(program: Program, clock_mhz: float) -> str:
    """The traffic of weights that came from outside, such as from an SDRAM: a line of text."""
    traffic, rate = weight_traffic(program.lowered), 1e6 * clock_mhz / program.cycles
    return (
        f"weights from outside, at {clock_mhz:g} MHz: {traffic.bytes_per_cycle * clock_mhz:,.0f} MB/s for "
        f"{rate:,.0f} images/s ({traffic.most_per_cycle * clock_mhz:,.0f} MB/s at most, not to wait at all); "
        f"{traffic.tiles:,} tiles an image, a buffer of two tiles of {traffic.tile_bytes:,} bytes"
    )


def layer_report(program: Program) -> str:
    """A table of every operation of every layer: its shape, passes, cycles, and bits in the tables."""
    lines = [f"{'operation':<28}{'kind':<18}{'shape':>22}{'passes':>8}{'cycles':>8}{'table bits':>12}"]
    by_name: dict[str, list[Pass]] = {}
    for item in program.lowered.passes:
        by_name.setdefault(item.name, []).append(item)
    for name, passes in by_name.items():
        kind = OperationCode(passes[0]["operation"]).title
        cycles, bits = sum(item["cycles"] for item in passes), sum(_bits(program, item) for item in passes)
        lines.append(f"{name:<28}{kind:<18}{_shape(program, name):>22}{len(passes):>8}{cycles:>8}{bits:>12,}")
    return "\n".join(lines)


def _bits(program: Program, item: Pass) -> int:
    """How many bits a pass loads from the tables into the lanes, without its updates in the program."""
    machine, needs = program.lowered.machine, item.needs
    if needs is None:
        return 0
    lanes = 1 if needs.same else machine.lanes
    return (
        (needs.weights is not None) * machine.lanes * machine.width
        + (needs.constants is not None) * lanes * constants_layout(machine).size
        + (needs.local is not None) * machine.lanes * local_layout(machine).size
    )


def _shape(program: Program, name: str) -> str:
    """The shape of an operation's product: tokens × inputs · inputs × outputs."""
    golden, (layer, _, operation) = program.lowered.model, name.rpartition(".")
    config = {place.name: place.config for place in golden.config.places}.get(layer)
    config = config or golden.config.places[-1].config  # of the head
    weight = golden.constants.get(f"{name}.weight")
    if weight is not None:
        inputs = weight[0].size
        return f"{config.tokens}×{inputs}·{inputs}×{len(weight)}"
    inner = config.window_alone()
    windows = config.tokens // inner.tokens
    n, d, times = (
        inner.tokens,
        config.head_dim,
        "".join(f"{many}·" for many in (windows, config.heads) if many > 1),
    )
    return {
        "scores": f"{times}{n}×{d}·{d}×{n}",
        "context": f"{times}{n}×{n}·{n}×{d}",
        "attention": f"{times}{n}×{n}",
    }.get(operation, f"{config.tokens}×{config.dim}")
