"""The text that ``haarlequin compile --plan`` prints for a network of stages."""

from haarlequin.hw.ends.embedding import Embedding
from haarlequin.models.config import ModelConfig
from haarlequin.sw.plan.cycles import operations
from haarlequin.sw.plan.limits import PARTS, binary_weights, check, tokens_of_stem
from haarlequin.sw.plan.machine import Machine
from haarlequin.sw.plan.memories import Memory, memories
from haarlequin.sw.plan.timeline import Operation


def report(config: ModelConfig, machine: Machine) -> str:
    """Memories, operations, stem, and which of `PARTS` the network fits."""
    check(config)
    done = operations(config, machine)
    stored = memories(config, machine, done)
    title = f"{config.structure} on the next {machine.name} ({machine.lanes} lanes × {machine.width} bits)"
    parts = [title, _memories(stored), _operations(done, machine), _summary(config, machine, done, stored)]
    return "\n\n".join(parts)


def _memories(stored: list[Memory]) -> str:
    lines = [f"{'memory':<14}{'words':>8}{'bits':>6}{'RAMs':>7}{'narrow':>8}  purpose"]
    for m in stored:
        words, bits = m.words, m.width * m.parts
        lines.append(f"{m.name:<14}{words:>8}{bits:>6}{m.columns:>7}{m.block_rams:>8}  {m.purpose}")
    total, routed = (sum(values) for values in zip(*((m.columns, m.block_rams) for m in stored), strict=True))
    return "\n".join([*lines, f"{'total':<14}{total:>21}{routed:>8}"])


def _operations(done: list[Operation], machine: Machine) -> str:
    total = sum(o.cycles for o in done)
    lines = [f"{'operation':<18}{'passes':>8}{'cycles':>9}{'waits':>8}{'share':>8}{'busy':>8}"]
    for o in done:
        busy = o.bit_macs / (machine.lanes * machine.width * o.cycles)
        lines.append(
            f"{o.name:<18}{o.passes:>8}{o.cycles:>9}{o.waits:>8}{o.cycles / total:>8.1%}{busy:>8.1%}"
        )
    macs = sum(o.bit_macs for o in done)
    busy = macs / (machine.lanes * machine.width * total)
    lines.append(
        f"{'array':<18}{sum(o.passes for o in done):>8}{total:>9}{sum(o.waits for o in done):>8}"
        f"{1:>8.1%}{busy:>8.1%}"
    )
    return "\n".join(lines)


def stem_cycles(config: ModelConfig, macs: int) -> int:
    """The cycles of the stem, which works on the next image beside the lanes."""
    return Embedding.cycles(macs, tokens_of_stem(config), config.patch_length, config.stages[0].dim)


def _stem(config: ModelConfig, machine: Machine, array: int) -> str:
    """Whether the stem hides beside the array, and else how many multipliers would hide it."""
    cycles, dim = stem_cycles(config, machine.macs), config.stages[0].dim
    text = f"stem: {cycles} cycles with {machine.macs} multipliers"
    if cycles <= array:
        return f"{text}, hidden beside the array"
    enough = next((macs for macs in range(1, dim + 1) if stem_cycles(config, macs) <= array), None)
    cure = f"{enough} multipliers would hide it" if enough else "no number of multipliers hides it"
    return f"{text}, LONGER than the array: {cure}"


def _summary(config: ModelConfig, machine: Machine, done: list[Operation], stored: list[Memory]) -> str:
    array, macs = sum(o.cycles for o in done), sum(o.bit_macs for o in done)
    steady = max(array, stem_cycles(config, machine.macs))
    routed = sum(m.block_rams for m in stored)
    needs = {
        f"block RAMs ({routed} if narrow)": (sum(m.columns for m in stored), "bram"),
        "multipliers": (machine.multipliers, "dsp"),
    }
    lines = [
        _stem(config, machine, array),
        f"{binary_weights(config) / 1e6:.2f} Mbit of binary weights, {macs / 1e6:.1f} M bit-MACs, "
        f"{machine.multipliers} multipliers",
        f"{steady} cycles an image: {macs / (machine.lanes * machine.width * steady):.1%} of the array used",
    ]
    for part, has in PARTS.items():
        short = [
            f"{count} of {has[kind]} {what}" for what, (count, kind) in needs.items() if count > has[kind]
        ]
        lines.append(f"{part}: " + (f"DOES NOT FIT, {' and '.join(short)}" if short else "fits"))
    return "\n".join(lines)
