"""Yosys and the ABC within it as a model checker: property-directed reachability, PDR.

PDR finds an inductive invariant of its own that excludes every flag, or a counterexample. There is no bound on
the number of cycles.
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
read_rtlil carrier.il
techmap
abc -script check.abc
"""

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


class EngineError(Exception):
    """Yosys or ABC did not get through. The message has the end of what it said."""


def prove(design: Design, folder: Path, arbitrary: bool = False, seconds: int = 120) -> list[Verdict]:
    """A verdict for each flag of the design, within so many ``seconds`` for each.

    With ``arbitrary`` all registers of the block begin with any value. The folder gets the files that yosys
    and ABC read and write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checks = []
    for number in range(len(design.flags)):
        (folder / f"{number}.status").unlink(missing_ok=True)
        checks += ["&r design.aig", f"&cone -a -O {number} -R 1", "&put"]
        # Registers that are always equal become one first, which alone decides many flags.
        checks += ["scorr -F 2", f"write_aiger {number}.aig"]
        checks += [f"pdr -T {seconds}", f"write_status {number}.status"]
    texts = {"design.il": design.rtlil(arbitrary), "carrier.il": CARRIER, "script.ys": SCRIPT}
    for name, text in (texts | {"check.abc": "\n".join(checks) + "\n"}).items():
        (folder / name).write_text(text, encoding="utf-8")
    command, environment = [*tool("yosys"), "-q", "script.ys"], os.environ | tool_variables()
    # ABC ends yosys when its script has ended, with a code that tells nothing.
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    if not all((folder / f"{number}.status").exists() for number in range(len(design.flags))):
        raise EngineError(f"{folder}: {(done.stdout + done.stderr)[-500:]}")
    return [_verdict(folder, flag, number) for number, flag in enumerate(design.flags)]


def _verdict(folder: Path, flag: str, number: int) -> Verdict:
    """Read what ABC's ``write_status`` has written: a word, and a counterexample as one bit for each input."""
    _, _, _, latches, _, gates = (folder / f"{number}.aig").read_bytes().split(b"\n")[0].split()
    if latches == gates == b"0" and (folder / f"{number}.aig").read_bytes().split(b"\n")[1] == b"0":
        return Verdict(flag, Outcome.PROVEN)
    status, _, bits, *_ = (folder / f"{number}.status").read_text(encoding="utf-8").splitlines()
    outcome, *rest = status.split()
    if outcome == "snl_SAT":
        return Verdict(flag, Outcome.REFUTED, _cycles(folder / "design.map", bits, int(rest[-1]) + 1))
    return Verdict(flag, Outcome.PROVEN if outcome == "snl_UNSAT" else Outcome.OPEN)


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
