import os
import re
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from haarlequin.hw import verilog as command
from haarlequin.hw.accelerator import Accelerator
from haarlequin.hw.lanes.lane_array import LaneArray
from haarlequin.hw.link.protocol import Frame, FrameType, encode
from haarlequin.hw.verilog import verilog
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.widths import Widths
from haarlequin.sim.simulate import expect
from haarlequin.sw.devices.link import load_frames
from haarlequin.sw.targets import compile_model
from tests.small_machines import SMALLEST, SMALLEST_MODEL

pytestmark = pytest.mark.slow


def test_the_text_is_always_the_same():
    assert verilog(LaneArray(2, 8, 8, Widths())) == verilog(LaneArray(2, 8, 8, Widths()))


def test_the_home_folder_is_left_alone(tmp_path, monkeypatch):
    """A user of a service has none; and whatever yosys is on PATH, Amaranth's own one makes the text."""
    seen = []

    def convert(*_, **__):
        seen.append({name: os.environ.get(name) for name in ("XDG_CACHE_HOME", "AMARANTH_USE_YOSYS")})
        return ""

    monkeypatch.setattr(command.backend, "convert", convert)
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("XDG_CACHE_HOME", "the user's")
    monkeypatch.delenv("AMARANTH_USE_YOSYS", raising=False)
    verilog(LaneArray(2, 8, 8, Widths()))
    assert seen == [{"XDG_CACHE_HOME": str(tmp_path / "build" / "cache"), "AMARANTH_USE_YOSYS": "builtin"}]
    assert os.environ["XDG_CACHE_HOME"] == "the user's"
    assert "AMARANTH_USE_YOSYS" not in os.environ


def test_an_accelerator_is_written(tmp_path, capsys):
    path = tmp_path / "two.v"
    command.main(["--config", "2x64", "-o", str(path)])
    text = path.read_text()
    assert "module haarlequin(" in text
    for port in (
        "rx__payload",
        "rx__valid",
        "rx__ready",
        "tx__payload",
        "tx__valid",
        "tx__ready",
        "clk",
        "rst",
    ):
        assert re.search(rf"(input|output) \S*\s?{port};", text), port
    assert str(path) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "3x3"], "unknown accelerator '3x3'"),
        (["--config", "2x64", "--clock", "0"], "--clock must be at least 1"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main([*arguments, "-o", str(tmp_path / "x.v")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


# Another simulator, by either standard

BENCH = """
module bench;
    reg [7:0] bytes [0:{last}];
    initial $readmemh("bytes.hex", bytes);
    reg clk = 0, rst = 0, again = 0;
    always #1 clk = !clk;
    integer sent = 0, quiet = 0;
    wire rx__valid = !rst && sent <= {last};
    wire rx__ready, tx__valid;
    wire [7:0] tx__payload;
    top dut (.clk(clk), .rst(rst), .rx__payload(bytes[sent]), .rx__valid(rx__valid), .rx__ready(rx__ready),
        .tx__payload(tx__payload), .tx__valid(tx__valid), .tx__ready(1'b1));
    always @(posedge clk) begin
        rst <= 0;
        quiet <= quiet + 1;
        if (rx__valid && rx__ready) begin
            sent <= sent + 1;
            quiet <= 0;
        end
        if (tx__valid) begin
            $display("%h", tx__payload);
            quiet <= 0;
        end
        if (quiet == {silence}) begin
            if (again) $finish;
            {{again, rst}} <= 2'b11;
            sent <= 0;
            quiet <= 0;
        end
    end
endmodule
"""
"""Sends the bytes after power-up and, once all has been silent for a while, again after a reset."""


@dataclass(frozen=True)
class Talk:
    """A component, what it is sent, twice, and all that it must say then."""

    component: wiring.Component
    sent: bytes
    said: bytes
    silence: int = 100


class Tally(wiring.Component):
    """Answers each byte with its entry in a memory, then adds to the entry how many bytes have come.

    It begins three cycles after power-up or a reset: what counts them reads nothing but its own register.
    """

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.entries = entries = memory.Memory(shape=8, depth=256, init=range(255, -1, -1))
        read, write = entries.read_port(), entries.write_port()
        count, waited = Signal(8, init=100), Signal(2)
        m.d.comb += [read.addr.eq(self.rx.payload), write.addr.eq(self.rx.payload)]
        m.d.comb += [write.data.eq(read.data + count), self.tx.payload.eq(read.data)]
        with m.Switch(waited):
            for cycle in range(3):
                with m.Case(cycle):
                    m.d.sync += waited.eq(cycle + 1)
        with m.FSM():
            with m.State("read"), m.If(self.rx.valid & (waited == 3)):
                m.next = "answer"
            with m.State("answer"):
                m.d.comb += self.tx.valid.eq(1)
                with m.If(self.tx.ready):
                    m.d.comb += [write.en.eq(1), self.rx.ready.eq(1)]
                    m.d.sync += count.eq(count + 1)
                    m.next = "read"
        return m


def tally() -> Talk:
    """The memory outlives the reset, the register does not."""
    sent, entries, said = bytes([0, 7, 0, 255, 7, 7]), list(range(255, -1, -1)), []
    for _ in range(2):
        for count, byte in enumerate(sent, 100):
            said.append(entries[byte])
            entries[byte] = (entries[byte] + count) % 256
    return Talk(Tally(), sent, bytes(said))


def accelerator() -> Talk:
    """A whole one: it is loaded through its link, and computes two images."""
    device = Accelerator(SMALLEST, 50_000_000, 1 << 16)
    model = freeze(random_model(SMALLEST_MODEL, 0))
    program = compile_model(model, SMALLEST)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *model.config.image, 1), np.uint8)
    loads = load_frames(program.compiled())
    sent = [Frame(FrameType.IDENTIFY), *loads]
    said = [Frame(FrameType.IDENTITY, payload=device.identity.encode())]
    said += [Frame(FrameType.ACK, frame.sequence) for frame in loads]
    for number, (image, expected) in enumerate(zip(pixels, expect(model, pixels), strict=True)):
        words = *expected.trace["logits"][0].tolist(), program.cycles, expected.saturations
        result = b"".join(word.to_bytes(4, "little", signed=True) for word in words)
        sent.append(Frame(FrameType.IMAGE, number, payload=image.tobytes()))
        said.append(Frame(FrameType.RESULT, number, payload=result))
    sent, said = (b"".join(map(encode, frames)) for frames in (sent, said))
    return Talk(device, sent, 2 * said, silence=2 * program.latency)


@pytest.fixture(scope="module", params=[tally, accelerator])
def talk(request, tmp_path_factory):
    """What is to be said, and a folder with the Verilog of the component and its bench."""
    talk, folder = request.param(), tmp_path_factory.mktemp("icarus")
    (folder / "top.v").write_text(verilog(talk.component))
    (folder / "bench.v").write_text(BENCH.format(last=len(talk.sent) - 1, silence=talk.silence))
    (folder / "bytes.hex").write_text(talk.sent.hex("\n"))
    return talk.said, folder


@pytest.mark.skipif(not shutil.which("iverilog"), reason="needs Icarus (Debian: apt-get install iverilog)")
@pytest.mark.parametrize("standard", ["2005", "2012"])
def test_icarus_agrees_by_either_standard(talk, standard):
    said, folder = talk
    compiler = ["iverilog", f"-g{standard}", "-o", f"bench-{standard}", "-s", "bench", "top.v", "bench.v"]
    subprocess.run(compiler, cwd=folder, check=True)
    simulator = ["vvp", "-N", f"bench-{standard}"]
    ran = subprocess.run(simulator, cwd=folder, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    assert ran.stdout.split() == said.hex(" ").split()
