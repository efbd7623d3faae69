import json
import re
import shlex
from collections import Counter

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.boards import board
from haarlequin.hw.common.sliced_memory import sized_memory
from haarlequin.hw.families import FAMILIES

pytestmark = pytest.mark.slow

REPORT = "--report report.json --seed 7 --placer static --timing-allow-fail --write placed.json"


@pytest.mark.parametrize(
    ("name", "route", "pack"),
    [
        (
            "ulx3s-25f",
            f"nextpnr-ecp5 --json registers.json {REPORT} --25k --package CABGA381 --speed 6 "
            "--router router2 --lpf top.lpf --textcfg top.config",
            "ecppack --compress --input top.config --bit top.bit",
        ),
        (
            "icebreaker",
            f"nextpnr-ice40 --json top.json {REPORT} --up5k --package sg48 --pcf top.pcf --asc top.asc",
            "icepack top.asc top.bin",
        ),
        (
            "tang-nano-20k",
            f"nextpnr-himbaechel-gowin --json top.syn.json {REPORT} --device GW2AR-LV18QN88C8/I7 "
            "--vopt=family=GW2A-18C --vopt=cst=top.cst",
            "gowin_pack -d GW2A-18C -o top.fs placed.json",
        ),
    ],
)
def test_what_is_run(name, route, pack):
    target = board(name)
    family, platform = FAMILIES[target.family], target.platform()
    assert shlex.join([family.nextpnr, *family.route(platform, 7, "static")]) == route
    assert shlex.join([family.packer, *family.pack(platform)]) == pack


class Shallow(wiring.Component):
    """A memory that asks for distributed RAM."""

    address: In(4)
    data: In(8)
    write: In(1)
    word: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = sized_memory(8, 16)
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data), write.en.eq(self.write)]
        m.d.comb += [read.addr.eq(self.address), self.word.eq(read.data)]
        return m


def test_an_ice40_has_no_distributed_ram_to_ask_for(tmp_path):
    family = FAMILIES["ice40"]
    (tmp_path / "top.il").write_text(rtlil.convert(Shallow()))
    synth = f"synth_ice40 {family.synth_opts} -top top"
    (tmp_path / "top.ys").write_text(f"read_rtlil top.il\n{family.prepare}\n{synth}\nwrite_json top.json\n")
    call("yosys", ["-q", "-s", "top.ys"], tmp_path)
    cells = json.loads((tmp_path / "top.json").read_text())["modules"]["top"]["cells"].values()
    kinds = Counter(cell["type"] for cell in cells)
    assert kinds["SB_RAM40_4K"] == 1
    assert kinds.keys() <= {kind for counts in family.cells.values() for kind in counts} | {"$scopeinfo"}


@pytest.mark.parametrize("name", ["ecp5", "gowin"])
def test_block_rams_of_eighteen_kilobits(name):
    """Written byte by byte, or as whole words where these are narrower; a parity bit only beside a byte."""
    shapes = FAMILIES[name].block_rams
    assert [shape.bits for shape in shapes] == [36, 18, 9, 4, 2, 1]
    for words, bits, enabled in shapes:
        assert words * bits == (18 if bits >= 9 else 16) * 1024
        assert enabled == min(bits, 9)


def test_block_rams_of_four_kilobits():
    """Each bit of sixteen has a write enable; narrower words are written whole."""
    shapes = FAMILIES["ice40"].block_rams
    assert [shape.bits for shape in shapes] == [16, 8, 4, 2]
    for words, bits, enabled in shapes:
        assert words * bits == 4096
        assert enabled == (1 if bits == 16 else bits)


@pytest.mark.parametrize("name", FAMILIES)
def test_only_an_ecp5_drives_the_clock_of_its_flash_by_a_primitive(name):
    """Elsewhere the clock has a pin, and nothing is made for it."""
    m, clock, idle = Module(), Signal(), Signal()
    made = FAMILIES[name].flash_clock(m, clock, idle)
    assert made == (name == "ecp5")
    assert ("USRMCLK" in rtlil.convert(m, ports=[clock, idle])) == made


def test_primitives_at_the_pins_of_an_ecp5():
    """The register takes every bit and is never set; the clock is high first, and never held in reset."""
    m, value = Module(), Signal()
    held = FAMILIES["ecp5"].pin_register(m, "sync", value)
    later = FAMILIES["ecp5"].clock_for_pin(m, "sync", 2e-9)
    text = rtlil.convert(m, ports=[value, held, later])
    cells = {
        kind: dict(re.findall(r"(?:connect|parameter) \\(\S+) (\d\S*|\".*\")$", body, re.MULTILINE))
        for kind, body in re.findall(r"cell \\(\S+) [^\n]*\n(.*?)\n  end", text, re.DOTALL)
    }
    assert cells == {
        "OFS1P3BX": {"SP": "1'1", "PD": "1'0"},
        "ODDRX1F": {"RST": "1'0", "D0": "1'1", "D1": "1'0"},
        "DELAYG": {"DEL_MODE": '"SCLK_ALIGNED"', "DEL_VALUE": "80"},
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_each_cell_takes_one_place_but_for_carries_and_distributed_rams(name):
    family = FAMILIES[name]
    several = {"CCU2C", "TRELLIS_DPR16X4", "RAM16SDP4"}
    for counts in family.cells.values():
        assert all((count > 1) == (kind in several) for kind, count in counts.items())
        assert min(counts.values()) == 1
