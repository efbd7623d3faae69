"""Yosys and the ABC within it as a model checker: induction, then property-directed reachability, PDR.

Induction shows that no flag rises in the first cycles, nor in the cycle after one without it. PDR finds an
invariant of its own that excludes the flag, or a counterexample. Neither has a bound on the number of cycles.
"""

import os
import subprocess
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from haarlequin.hw.bitstream.tools import tool
from haarlequin.models.common.places import tool_variables
from tests.formal.design import Design

SCRIPT = """\
read_rtlil design.il
setattr -unset init w:* a:free %i
proc -norom
prep -flatten -top top
opt -full
techmap
opt -fast
dffunmap
simplemap
aigmap
write_aiger -zinit -map design.map design.aig
design -reset
"""

CHECK = """\
read_rtlil carrier.il
techmap
abc -script check.abc
"""

BASE_CYCLES = 4
"""The first cycles that are looked at one by one."""

CARRIER = """\
module \\top
  wire input 1 \\a
  wire input 2 \\b
  wire output 3 \\c
  cell $and $and
    parameter \\A_SIGNED 0
    parameter \\B_SIGNED 0
    parameter \\A_WIDTH 1
    parameter \\B_WIDTH 1
    parameter \\Y_WIDTH 1
    connect \\A \\a
    connect \\B \\b
    connect \\Y \\c
  end
end
"""
"""Yosys starts ABC only to map some gate."""


class Outcome(Enum):
    """What became of a flag."""

    PROVEN = "proven"
    REFUTED = "refuted"
    OPEN = "not decided in time"


@dataclass(frozen=True)
class Verdict:
    """What became of one flag of a design."""

    flag: str
    outcome: Outcome
    cycles: list[dict[str, int]] = field(default_factory=list)
    """The inputs of the counterexample, cycle by cycle."""
    looked: int = 0
    """How many first cycles are known to be without the flag."""


class EngineError(Exception):
    """Yosys or ABC did not get through. The message has the end of what it said."""


def prove(design: Design, folder: Path, arbitrary: bool = False, seconds: int = 120) -> list[Verdict]:
    """A verdict for each flag of the design, within so many ``seconds`` for each.

    With ``arbitrary`` all registers of the block begin with any value. The folder gets the files that yosys
    and ABC read and write. Raises `EngineError` if the assumptions of the design contradict each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.status"):
        old.unlink()
    for name, text in {"design.il": design.rtlil(arbitrary), "carrier.il": CARRIER}.items():
        (folder / name).write_text(text, encoding="utf-8")
    flags = range(len(design.flags))
    checks = [line for number in (*flags, len(flags)) for line in (*_cone(number), *_induction(number))]
    _run(folder, SCRIPT + CHECK, checks)
    if _status(folder, "alive", f"{len(flags)}.base.status").outcome is not Outcome.REFUTED:
        raise EngineError(f"{folder}: no run meets what is assumed, so that anything could be proven")
    verdicts = [_induced(folder, flag, number) for number, flag in enumerate(design.flags)]
    undecided = [number for number in flags if verdicts[number] is None]
    if undecided:
        lines = [line for number in undecided for line in (*_cone(number), *_reachability(number, seconds))]
        _run(folder, CHECK, lines)
    return [
        one or _status(folder, flag, f"{number}.pdr.status")
        for number, (flag, one) in enumerate(zip(design.flags, verdicts, strict=True))
    ]


def _cone(number: int) -> list[str]:
    """Read what a flag depends on. Registers that are always equal become one, which alone decides many."""
    return ["&r design.aig", f"&cone -a -O {number} -R 1", "&put", "scorr -F 2"]


def _induction(number: int) -> list[str]:
    base = f"bmc3 -F {BASE_CYCLES}", f"write_status {number}.base.status"
    return [f"write_aiger {number}.aig", *base, "ind -F 2", f"write_status {number}.step.status"]


def _reachability(number: int, seconds: int) -> list[str]:
    return [f"pdr -T {seconds}", f"write_status {number}.pdr.status"]


def _run(folder: Path, script: str, checks: list[str]) -> None:
    (folder / "script.ys").write_text(script, encoding="utf-8")
    (folder / "check.abc").write_text("\n".join(checks) + "\n", encoding="utf-8")
    command, environment = [*tool("yosys"), "-q", "script.ys"], os.environ | tool_variables()
    # ABC ends yosys when its script has ended, with a code that tells nothing.
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    last = checks[-1].split()[-1]
    if not (folder / last).exists():
        raise EngineError(f"{folder}: {(done.stdout + done.stderr)[-500:]}")


def _induced(folder: Path, flag: str, number: int) -> Verdict | None:
    """The verdict, if the first cycles and one step of induction give one."""
    header, output, *_ = (folder / f"{number}.aig").read_bytes().split(b"\n")
    if header.split()[3:] == [b"0", b"1", b"0"] and output == b"0":
        return Verdict(flag, Outcome.PROVEN)  # no register and no gate is left, and the flag is 0
    base = _status(folder, flag, f"{number}.base.status")
    step = (folder / f"{number}.step.status").read_text(encoding="utf-8")
    if base.outcome is Outcome.REFUTED:
        return base
    return Verdict(flag, Outcome.PROVEN) if step.startswith("snl_UNSAT") and base.looked >= 2 else None


def _status(folder: Path, flag: str, name: str) -> Verdict:
    """Read what ABC has written of a flag: a word, and of a counterexample the bits of all inputs."""
    status, _, bits, *_ = (folder / name).read_text(encoding="utf-8").splitlines()
    outcome, frames, *rest = status.split()
    if outcome == "snl_SAT":
        return Verdict(flag, Outcome.REFUTED, _cycles(folder / "design.map", bits, int(rest[-1]) + 1))
    return Verdict(flag, Outcome.PROVEN if outcome == "snl_UNSAT" else Outcome.OPEN, looked=int(frames))


def _cycles(names: Path, bits: str, count: int) -> list[dict[str, int]]:
    """The values of the inputs in each cycle, from a counterexample."""
    width, cycles = len(bits) // count, []
    lines = names.read_text(encoding="utf-8").splitlines()
    inputs = [line.split()[1:] for line in lines if line.startswith("input ")]
    for first in range(0, len(bits), width):
        values: dict[str, int] = {}
        for place, bit, name in inputs:
            if name != "clk":
                short = name.partition("$")[0]
                values[short] = values.get(short, 0) | int(bits[first + int(place)]) << int(bit)
        cycles.append(values)
    return cycles
