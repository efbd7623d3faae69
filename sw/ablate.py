"""`haarlequin ablate`: `models.ablation.ablate`, with what each network costs on the next machine."""

from dataclasses import replace

from haarlequin.models.ablation.ablate import run
from haarlequin.models.ablation.networks import Cost
from haarlequin.models.common.cli import command
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.sw.plan.cycles import operations
from haarlequin.sw.plan.limits import PARTS, binary_weights, check
from haarlequin.sw.plan.machine import machine_of
from haarlequin.sw.plan.memories import memories

MACHINES = {"8x64": "25F", "32x128": "85F"}
"""The machines on which networks are compared, and the part that each is for, the smallest first."""


def cost(config: ModelConfig) -> Cost:
    """The cost of a network on the first of `MACHINES` whose part has enough block RAMs for it."""
    weights, macs = binary_weights(config), _bit_macs(config)
    try:
        check(config)
    except UsageError:  # for the golden model alone
        return Cost(weights, macs)
    for name, part in MACHINES.items():
        machine = machine_of(name)
        done = operations(config, machine)
        block_rams = sum(memory.columns for memory in memories(config, machine, done))
        if block_rams <= PARTS[part]["bram"]:
            cycles = sum(operation.cycles for operation in done)
            return Cost(weights, macs, f"{name}, {part}", block_rams, cycles)
    return Cost(weights, macs)


def _bit_macs(config: ModelConfig) -> int:
    """They are the same on every machine, and for windows that are shifted or not."""
    still = tuple(replace(stage, shifted=False) for stage in config.stages)
    return sum(o.bit_macs for o in operations(config.with_(stages=still), machine_of("32x128")))


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    run(argv, cost)
