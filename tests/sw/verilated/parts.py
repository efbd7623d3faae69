"""What `test_cells` has synthesised: memories and multipliers of many shapes, and single primitives."""

import random
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Instance,
    Module,
    Mux,
    Signal,
    Value,
    signed,
)
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.families import FAMILIES

SYNTHESIS = {
    "ecp5": "synth_ecp5 -nowidelut -top top",
    "ice40": "synth_ice40 -dsp -spram -top top",
    "gowin": "synth_gowin -family gw2a -nowidelut -top top",
}

NO_BYPASS = "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:MEMID=*late_* %i r:TRANSPARENCY_MASK=1'0 %i"
"""As `hw.families.family.PREPARE` has it, for memories whose words are not read while they are written."""

ADDRESS, DATA = 14, 40


@dataclass(frozen=True)
class Shape:
    """Of a memory."""

    width: int
    depth: int
    granularity: int | None = None
    transparent: bool = False
    init: bool = False
    write_ports: int = 1
    same_address: bool = False
    """Each port reads where it writes."""

    @property
    def words(self) -> list[int]:
        return random.Random(self.width).choices(range(1 << self.width), k=self.depth) if self.init else []


MEMORIES = {
    "wide": Shape(36, 512),
    "wider": Shape(40, 600, init=True),
    "odd": Shape(13, 1100, init=True),
    "narrow": Shape(2, 5000, init=True),
    "bytes": Shape(36, 300, granularity=9, init=True),
    "signs": Shape(8, 512, granularity=2),
    "bits": Shape(4, 2100, granularity=1, transparent=True),
    "transparent": Shape(18, 1024, transparent=True, init=True),
    "few": Shape(11, 16, init=True),
    "few_transparent": Shape(9, 40, transparent=True),
    "two": Shape(9, 2048, same_address=True, init=True),
    "rom": Shape(12, 1024, init=True, write_ports=0),
}

LATE = {"wide": MEMORIES["wide"], "rom": MEMORIES["rom"]}
"""Memories with a register for their words, that of the second with an enable: a block RAM has one itself."""

FACTORS = {
    "unsigned9": (9, 9),
    "signed9": (signed(9), signed(9)),
    "mixed": (signed(17), 12),
    "unsigned18": (18, 18),
    "signed18": (signed(18), signed(18)),
    "signed16": (signed(16), signed(16)),
    "unsigned16": (16, 16),
}


class Parts(wiring.Component):
    """`MEMORIES` and `FACTORS`; ``second`` is the address of the second port."""

    def __init__(self):
        inputs = {
            "address": ADDRESS,
            "second": ADDRESS,
            "data": DATA,
            "enable": 4,
            "read": 1,
            "x": 18,
            "y": 18,
        }
        outputs = {name: shape.width for name, shape in MEMORIES.items()}
        outputs |= {"two_b": MEMORIES["two"].width, "registered": 36}
        outputs |= {f"late_{name}": shape.width for name, shape in LATE.items()}
        outputs |= {"late_product": 36, "held": 36}
        outputs |= dict.fromkeys(FACTORS, 36)
        super().__init__({k: In(v) for k, v in inputs.items()} | {k: Out(v) for k, v in outputs.items()})

    def elaborate(self, platform):
        m = Module()
        for name, shape in MEMORIES.items():
            m.submodules[name] = memory = Memory(shape=shape.width, depth=shape.depth, init=shape.words)
            writes = [memory.write_port(granularity=shape.granularity) for _ in range(shape.write_ports)]
            addresses = [_below(m, shape.depth, address) for address in (self.address, self.second)]
            for i, write in enumerate(writes):
                m.d.comb += [write.addr.eq(addresses[i]), write.data.eq(self.data >> i)]
                m.d.comb += write.en.eq(self.enable >> i)
            reads = range(2) if shape.same_address else [1]
            for i in reads:
                read = memory.read_port(transparent_for=writes if shape.transparent else [])
                m.d.comb += [read.addr.eq(addresses[i]), read.en.eq(self.read)]
                m.d.comb += getattr(self, name if i == reads[-1] else f"{name}_b").eq(read.data)
        for name, (a, b) in FACTORS.items():
            x, y = Signal(a), Signal(b)
            m.d.comb += [x.eq(self.x), y.eq(self.y), getattr(self, name).eq(x * y)]
        m.d.sync += self.registered.eq(self.signed18)
        self._late(m)
        return m

    def _late(self, m: Module) -> None:
        """Words and products with registers of their own: those of two products, one with an enable."""
        for place, (name, shape) in enumerate(LATE.items()):
            m.submodules[f"late_{name}"] = memory = Memory(
                shape=shape.width,
                depth=shape.depth,
                init=shape.words,
            )
            read = memory.read_port()
            m.d.comb += [read.addr.eq(_below(m, shape.depth, self.second)), read.en.eq(self.read)]
            for write in [memory.write_port() for _ in range(shape.write_ports)]:
                m.d.comb += [write.addr.eq(_below(m, shape.depth, self.address)), write.data.eq(self.data)]
                # No word is read while it is written: a register after a bypass could not move.
                m.d.comb += write.en.eq(self.enable[0] & (write.addr != read.addr))
            with m.If(self.enable[1] if place else Const(1)):
                m.d.sync += getattr(self, f"late_{name}").eq(read.data)
        x, y, held_x, held_y = (Signal(signed(16), reset_less=True) for _ in range(4))
        m.d.sync += [x.eq(self.x), y.eq(self.y), self.late_product.eq(x * y)]
        with m.If(self.enable[2]):
            m.d.sync += held_x.eq(self.x)
        m.d.sync += held_y.eq(self.data)
        with m.If(self.enable[3]):
            m.d.sync += self.held.eq(held_x * held_y)


def _below(m: Module, depth: int, value: Value) -> Signal:
    """An address of a memory: beyond it Amaranth and yosys may differ."""
    low, address = value[: ceil_log2(depth)], Signal(range(depth))
    m.d.comb += address.eq(Mux(low < depth, low, low - depth))
    return address


@dataclass(frozen=True)
class Port:
    """Of a block RAM."""

    width: int
    mode: str = "NORMAL"
    register: bool = False


@dataclass(frozen=True)
class Ram:
    """A DP16KD."""

    a: Port
    b: Port
    reset: str = "SYNC"
    seed: int = 1

    @property
    def words(self) -> list[int]:
        """18 bits each."""
        return random.Random(self.seed).choices(range(1 << 18), k=1024)


RAMS = {
    "ram0": Ram(Port(18), Port(18, "WRITETHROUGH"), seed=2),
    "ram1": Ram(Port(1, "READBEFOREWRITE"), Port(9), seed=3),
    "ram2": Ram(Port(4, "WRITETHROUGH", True), Port(2, "READBEFOREWRITE"), "ASYNC", seed=4),
    "ram3": Ram(Port(9, "READBEFOREWRITE"), Port(18, "READBEFOREWRITE", True), seed=5),
    "ram4": Ram(Port(36), Port(36), seed=6),
    "ram5": Ram(Port(36), Port(4), "ASYNC", seed=7),
}

PORT_PINS = {"ad": 14, "di": 18, "ce": 1, "oce": 1, "we": 1, "rst": 1, "cs": 3}
CHIP = 5
"""What the chip selects of each RAM's port A answer to; those of port B to 0."""


class Primitives(wiring.Component):
    """`RAMS` with common inputs, and a PLL that clocks a counter."""

    def __init__(self):
        self.inputs = {f"{name}{side}": width for side in "ab" for name, width in PORT_PINS.items()}
        ports = {name: In(width) for name, width in self.inputs.items()}
        ports |= {f"{name}{side}": Out(18) for name in RAMS for side in "ab"}
        super().__init__(ports | {"locked": Out(1), "count": Out(8)})

    def elaborate(self, platform):
        m = Module()
        for name, ram in RAMS.items():
            pins = {"i_CLKA": ClockSignal(), "i_CLKB": ClockSignal()}
            for side, port in (("a", ram.a), ("b", ram.b)):
                for pin, width in PORT_PINS.items():
                    value = getattr(self, pin + side)
                    for i in range(width):
                        pins[f"i_{pin}{side}{i if width > 1 else ''}".upper().replace("I_", "i_", 1)] = value[
                            i
                        ]
                for i in range(18):
                    pins[f"o_DO{side.upper()}{i}"] = getattr(self, name + side)[i]
                pins |= {
                    f"p_DATA_WIDTH_{side.upper()}": port.width,
                    f"p_WRITEMODE_{side.upper()}": port.mode,
                    f"p_REGMODE_{side.upper()}": "OUTREG" if port.register else "NOREG",
                    f"p_CSDECODE_{side.upper()}": f"0b{CHIP if side == 'a' else 0:03b}",
                }
            for i in range(64):
                words = ram.words[16 * i : 16 * (i + 1)]
                pins[f"p_INITVAL_{i:02X}"] = Const(sum(word << 20 * k for k, word in enumerate(words)), 320)
            pins |= {"p_RESETMODE": ram.reset, "p_ASYNC_RESET_RELEASE": ram.reset}
            m.submodules[name] = Instance("DP16KD", **pins)
        m.domains.pll = ClockDomain(reset_less=True)
        m.submodules.pll = Instance(
            "EHXPLLL", i_CLKI=ClockSignal(), o_CLKOP=ClockSignal("pll"), o_LOCK=self.locked, p_CLKI_DIV=2
        )
        m.d.pll += self.count.eq(self.count + 1)
        return m


class Spram(wiring.Component):
    """An SB_SPRAM256KA that is never asleep."""

    address: In(14)
    data: In(16)
    mask: In(4)
    write: In(1)
    chip: In(1)
    output: Out(16)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = Instance(
            "SB_SPRAM256KA",
            i_CLOCK=ClockSignal(),
            i_ADDRESS=self.address,
            i_DATAIN=self.data,
            i_MASKWREN=self.mask,
            i_WREN=self.write,
            i_CHIPSELECT=self.chip,
            i_STANDBY=Const(0),
            i_SLEEP=Const(0),
            i_POWEROFF=Const(1),
            o_DATAOUT=self.output,
        )
        return m


PRIMITIVES = {"ecp5": Primitives, "ice40": Spram}


class Everything(wiring.Component):
    """All of them, for the family."""

    def __init__(self, family: str):
        self.parts = {"parts": Parts()}
        if family in PRIMITIVES:
            self.parts["primitives"] = PRIMITIVES[family]()
        members = {}
        for name, part in self.parts.items():
            for path, member in part.signature.members.items():
                members[f"{name}_{path}"] = member
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for name, part in self.parts.items():
            m.submodules[name] = part
            for path, member in part.signature.members.items():
                outer, inner = getattr(self, f"{name}_{path}"), getattr(part, path)
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


def synthesise(design: wiring.Component, family: str, folder: Path) -> Path:
    """The netlist, with a clock ``clk`` and no reset."""
    ports = [Value.cast(port) for _, _, port in design.signature.flatten(design)]
    top = Module()
    top.domains.sync = sync = ClockDomain(reset_less=True)
    top.submodules.design = DomainRenamer("sync")(design)
    (folder / "top.il").write_text(rtlil.convert(top, ports=[sync.clk, *ports]))
    prepare = f"read_rtlil top.il; rename -hide w:*[*]; {NO_BYPASS}"
    script = f"{prepare}; {SYNTHESIS[family]}; write_json {FAMILIES[family].mapped}"
    call("yosys", ["-q", "-p", script], folder)
    FAMILIES[family].finish(folder)
    return folder / FAMILIES[family].netlist
