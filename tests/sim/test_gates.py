"""Netlists, reached through their UART pins."""

import itertools
import json
import os
from pathlib import Path

import pytest
from amaranth.hdl import Cat, ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.lib import io, stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.bitstream.tools import ToolError, call
from haarlequin.hw.boards import board as named
from haarlequin.hw.families import FAMILIES
from haarlequin.hw.families.ecp5 import Ecp5Pll, Ecp5Setting
from haarlequin.hw.families.ice40 import Ice40Pll, Ice40Setting
from haarlequin.hw.link.uart import Uart
from haarlequin.sim import gates
from haarlequin.sw.verilated import build
from haarlequin.sw.verilated.simulation import Simulation
from tests.sw.verilated.loopback import Loopback
from tests.sw.verilated.parts import synthesise

pytestmark = pytest.mark.slow

DIVISOR = 4
EVERY = bytes(range(256))


class Pins(wiring.Component):
    """`Loopback` with a UART; each byte is increased by one more where ``more`` is 5."""

    rx: In(1)
    tx: Out(1)
    more: In(3)
    led: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(DIVISOR)
        m.submodules.loopback = loopback = Loopback()
        wiring.connect(m, uart.received, loopback.rx)
        wiring.connect(m, loopback.tx, uart.to_send)
        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx), self.led.eq(uart.overrun)]
        with m.If(self.more == 5):
            m.d.comb += uart.to_send.payload.eq(loopback.tx.payload + 1)
        return m


@pytest.fixture(scope="module", params=list(FAMILIES))
def board(request, tmp_path_factory):
    """The family, and a netlist for it."""
    return request.param, synthesise(Pins(), request.param, tmp_path_factory.mktemp("gates"))


def exchange(simulation, data):
    simulation.send(data)
    came = b""
    while part := simulation.receive(64 * 10 * DIVISOR + 500):
        came += part
    return came


def test_bytes_go_through_the_pins(board, tmp_path):
    family, netlist = board
    folder = gates.simulate(netlist, family, DIVISOR, tmp_path / "simulator", ties={"more": 5})
    with Simulation(folder) as simulation:
        for _ in range(2):
            assert exchange(simulation, EVERY) == bytes((byte + 2) % 256 for byte in EVERY)
            simulation.restart()


class Line(Elaboratable):
    """The iCEBreaker's UART, which sends back what it gets while its button is released."""

    def elaborate(self, platform):
        m = Module()
        clock, button, lamp, uart = (
            platform.request(name, 0, dir="-") for name in ("clk12", "button", "led_g", "uart")
        )
        m.submodules.clock = clock = io.Buffer("i", clock)
        m.submodules.button = button = io.Buffer("i", button)
        m.submodules.lamp = lamp = io.Buffer("o", lamp)
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.pll = pll = Ice40Pll(Ice40Setting.solve(12_000_000, 18_000_000))
        m.domains.sync = ClockDomain(reset_less=True)
        line = Signal(init=1)
        m.d.comb += [pll.clock.eq(clock.i), ClockSignal().eq(pll.output), lamp.o.eq(pll.locked)]
        m.d.sync += line.eq(rx.i | button.i)
        m.d.comb += tx.o.eq(line)
        return m


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    files = named("icebreaker").platform().prepare(Line(), "top").files
    for name in ("top.il", "top.ys"):
        (folder / name).write_bytes(files[name] if isinstance(files[name], bytes) else files[name].encode())
    call("yosys", ["-q", "-s", "top.ys"], folder)
    return folder / "top.json"


PADS = {"clock": "clk12_0__io", "rx": "uart_0__rx__io", "tx": "uart_0__tx__io"}


def test_the_pins_of_an_ice40_are_what_their_buffers_are(line):
    directions = {name: direction for name, (direction, _) in gates.pins(line).items()}
    inputs = {PADS["clock"]: "input", PADS["rx"]: "input", "button_0__io": "input"}
    assert directions == inputs | {PADS["tx"]: "output", "led_g_0__io": "output"}


@pytest.mark.parametrize(("released", "back"), [(1, EVERY), (0, b"")])
def test_bytes_go_through_an_ice40s_pins_and_pll(line, tmp_path, released, back):
    ties = {"button_0__io": released}
    folder = gates.simulate(line, "ice40", DIVISOR, tmp_path / "simulator", ties=ties, **PADS)
    with Simulation(folder) as simulation:
        assert exchange(simulation, EVERY) == back


class Clocks(wiring.Component):
    """An ECP5's PLL with three outputs, whose levels are a byte of each cycle of its input."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self, setting):
        self._setting = setting
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.pll = pll = Ecp5Pll(self._setting)
        m.d.comb += [pll.clock.eq(ClockSignal()), self.tx.valid.eq(1)]
        m.d.comb += self.tx.payload.eq(Cat(pll.output, pll.others, pll.locked))
        return m


@pytest.mark.parametrize(("hertz", "periods"), [(60, (4, 5, 20)), (48, (2, 2, 8)), (24, (4, 2, 8))])
def test_a_pll_of_several_outputs_divides_and_its_edges_come_together(tmp_path, hertz, periods):
    setting = Ecp5Setting.solve(48_000_000, hertz * 1_000_000, (48_000_000, 12_000_000))
    assert periods[0] == setting.ratio
    sources = {"cells.v": gates.cells({"EHXPLLL"}, "ecp5")}
    folder = build.build(Clocks(setting), tmp_path / "pll", notice=print, sources=sources)
    with Simulation(folder) as simulation:
        came = b""
        while len(came) < 400:
            came += simulation.receive(100)
    assert came[-1] >> 3 == 1  # it has locked
    rises = [
        [cycle for cycle in range(1, len(came)) if came[cycle] & ~came[cycle - 1] & 1 << output]
        for output in range(3)
    ]
    for edges, period in zip(rises, periods, strict=True):
        assert {after - before for before, after in itertools.pairwise(edges)} == {period}
    assert {*rises[2]} <= {*rises[1]}
    assert {*rises[2]} <= {*rises[0]}


def test_outputs_of_a_pll_that_are_not_in_phase_end_the_build(tmp_path, monkeypatch):
    setting = Ecp5Setting.solve(48_000_000, 60_000_000, (48_000_000, 12_000_000))
    sources = {"cells.v": gates.cells({"EHXPLLL"}, "ecp5").replace("CPHASE != S - 1", "CPHASE != S")}
    options = {"sources": sources, "options": gates.OPTIONS}
    with pytest.raises(build.BuildError, match="not in phase"):
        build.build(Clocks(setting), tmp_path / "pll", notice=print, **options)


def test_a_pin_that_goes_both_ways_becomes_three(tmp_path):
    ends = {"B": [2], "I": [3], "O": [4], "T": [5]}
    cells = {"wire": {"type": "TRELLIS_IO", "parameters": {"DIR": "BIDIR"}, "connections": ends}}
    ports = {"d": {"direction": "inout", "bits": [2]}, "clk": {"direction": "input", "bits": [6]}}
    top = {"attributes": {"top": "1"}, "ports": ports, "cells": cells}
    (tmp_path / "netlist.json").write_text(json.dumps({"modules": {"top": top}}))
    directions = {name: direction for name, (direction, _) in gates.pins(tmp_path / "netlist.json").items()}
    assert directions == {"clk": "input", "d__i": "input", "d__o": "output", "d__t": "output"}


def written(folder: Path, **ports: str) -> Path:
    """A netlist with nothing but ports."""
    pins = {name: {"direction": direction, "bits": [2]} for name, direction in ports.items()}
    top = {"attributes": {"top": "1"}, "ports": pins, "cells": {}}
    (folder / "netlist.json").write_text(json.dumps({"modules": {"top": top}}))
    return folder / "netlist.json"


@pytest.mark.parametrize(
    ("ports", "options", "message"),
    [
        ({"clk": "input", "rx": "input"}, {}, r"has no output tx; its pins are clk, rx$"),
        ({"clk": "input", "rx": "output", "tx": "output"}, {}, "has no input rx"),
        ({"clk": "input", "rx": "input", "tx": "output"}, {"clock": "clk25"}, "has no input clk25"),
        ({"clk": "input", "rx": "input", "tx": "output"}, {"ties": {"button": 0}}, "has no input button"),
        (
            {"clk": "input", "rx": "input", "tx": "output", "a": "input", "b": "inout"},
            {},
            "^say what a, b of .* are tied to$",
        ),
    ],
)
def test_pins_that_are_not_there(tmp_path, monkeypatch, ports, options, message):
    monkeypatch.setattr(gates, "_verilog", lambda design: "")
    with pytest.raises(gates.NetlistError, match=message):
        gates.simulate(written(tmp_path, **ports), "ecp5", DIVISOR, tmp_path / "simulator", **options)


def test_a_family_that_is_none(tmp_path):
    with pytest.raises(gates.NetlistError, match=r"must be one of ecp5, gowin, ice40, not 'virtex'$"):
        gates.simulate(tmp_path / "netlist.json", "virtex", DIVISOR, tmp_path / "simulator")


def test_a_yosys_that_gives_up_is_one_line(tmp_path, monkeypatch):
    """The stand-in takes the netlist for what it is not, as another version may."""
    yosys = tmp_path / "yosys"
    yosys.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo Yosys 9.0\necho "ERROR: no such pass."; exit 1\n'
    )
    yosys.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    ports = {"clk": "input", "rx": "input", "tx": "output"}
    with pytest.raises(ToolError, match=r"^yosys: no such pass\.$"):
        gates.read(written(tmp_path, **ports), "ecp5")
