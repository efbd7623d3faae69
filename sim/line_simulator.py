"""The simulator of an accelerator with one of its lines, and with what is at the line's other end."""

from collections.abc import Callable
from pathlib import Path

from amaranth.lib import wiring

from haarlequin import hw, models, sim
from haarlequin.hw.config import AnyConfig
from haarlequin.models.common import stamps
from haarlequin.sw.devices.device import Notice
from haarlequin.sw.verilated import build
from haarlequin.sw.verilated.accelerator import say


def line_simulator(
    board: Callable[[AnyConfig], wiring.Component],
    machine: AnyConfig,
    folder: Path,
    line: str,
    notice: Notice = say,
) -> Path:
    """The simulator of ``board`` with ``machine``, built within ``folder`` if it is not there yet.

    ``line`` is a word for its name. Raises `sw.verilated.build.BuildError` where this computer lacks what a
    build needs.
    """
    return build.build(
        lambda: board(machine),
        folder / f"{machine.name}-{line}",
        identity=f"{stamps.fingerprint(hw, models, sim)} {machine!r}",
        notice=notice,
        building=f"building the simulator of {machine.name} on {line.upper()}, once: minutes",
    )
