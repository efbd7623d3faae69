"""The simulator of a whole accelerator: the RTL of a configuration, Verilated."""

from collections.abc import Callable
from pathlib import Path

from haarlequin import hw, models
from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.config import AnyConfig
from haarlequin.models.common import stamps
from haarlequin.sw.verilated import build

CLOCK_HZ = 50_000_000
"""The clock rate that a simulated accelerator reports."""
TIMEOUT = 1 << 13
"""Cycles without a byte after which the link gives up a frame; a board's link waits longer."""


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def simulator(
    machine: AnyConfig,
    folder: Path,
    variant: str | None = None,
    notice: Callable[[str], None] = say,
) -> Path:
    """The simulator of ``machine``: its folder within ``folder``. It is built if it is not there yet.

    Arguments:
        variant: a name for hardware that the caller has changed; it gets its own folder.
        notice: is told before a build, which takes minutes.

    Raises `sw.verilated.build.BuildError` where this computer lacks what a build needs.
    """
    name = machine.name if variant is None else f"{machine.name}-{variant}"
    return build.build(
        lambda: Accelerator(machine, CLOCK_HZ, TIMEOUT),
        folder / name,
        identity=f"{stamps.fingerprint(hw, models)} {machine!r} {variant}",
        notice=notice,
        building=f"building the simulator of {name}, once: a minute for 16 lanes, three for 64",
    )
