import json
import threading

import pytest

from haarlequin.hw.bitstream.flow import Flow
from haarlequin.hw.boards import BOARDS, board
from haarlequin.models.common.cli import INTERRUPTED
from haarlequin.models.common.files import locked
from haarlequin.sim import gatesim
from haarlequin.sw.devices.device import Result
from haarlequin.sw.resolve import ZOO
from tests.small_machines import MACHINES

pytestmark = pytest.mark.slow

TARGET = board("ulx3s-85f")
PINS = {
    "clk25_0__io": "input",
    "uart_0__rx__io": "input",
    "uart_0__tx__io": "output",
    "button_fire_0__io": "input",
    "spi_flash_0__cipo__io": "input",
    "host_spi_0__sck__io": "input",
    "host_spi_0__cs__io": "input",
    "host_spi_0__copi__io": "input",
    "host_spi_0__cipo__io": "output",
    "led_0__io": "output",
}


@pytest.fixture
def flow(tmp_path):
    made = Flow(TARGET, MACHINES["6x36"], 60_000_000, 15_000_000, tmp_path)
    ports = {name: {"direction": direction, "bits": [2]} for name, direction in PINS.items()}
    top = {"attributes": {"top": "1"}, "ports": ports, "cells": {}}
    made.netlist.write_text(json.dumps({"modules": {"top": top}}))
    return made


def test_the_flash_is_empty_and_the_button_released(flow, monkeypatch, tmp_path):
    told = {}
    monkeypatch.setattr(
        gatesim.gates, "simulate", lambda *arguments, **options: told.update(options) or arguments
    )
    netlist, family, divisor, folder = gatesim.simulator(flow, tmp_path / "gates")
    assert (netlist, family, divisor, folder) == (flow.netlist, "ecp5", 4, tmp_path / "gates")
    idle = {"host_spi_0__sck__io": 0, "host_spi_0__cs__io": 1, "host_spi_0__copi__io": 0}
    assert told["ties"] == {"button_fire_0__io": 0, "spi_flash_0__cipo__io": 1} | idle
    assert told["spi"] is None
    gatesim.simulator(flow, tmp_path / "gates", by="spi")
    assert told["ties"] == {"button_fire_0__io": 0, "spi_flash_0__cipo__io": 1}
    assert (told["spi"], told["usb"]) == (gatesim.SPI, None)
    assert (told["clock"], told["rx"], told["tx"]) == ("clk25_0__io", "uart_0__rx__io", "uart_0__tx__io")


class Stand:
    """In place of the netlist's device: the golden model's logits, those of image ``wrong`` off by one."""

    wrong = None

    def __init__(self, line):
        self.line = line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def load(self, model, progress):
        progress(1, 2)
        self.golden = model.golden

    def run(self, images):
        for i, image in enumerate(images):
            logits = self.golden(image[None])[0]
            yield Result(logits + (i == Stand.wrong), 5, 0)


@pytest.fixture
def stand(flow, monkeypatch):
    """The flow, with `Stand` in place of its netlist."""

    class Line:
        def __init__(self, *_, **__):
            self.simulation = type("Simulation", (), {"cycle": 1000})

    monkeypatch.setattr(flow, "synthesise", lambda: None)
    monkeypatch.setattr(gatesim, "simulator", lambda *_: None)
    monkeypatch.setattr(gatesim, "SimulatedLine", Line)
    monkeypatch.setattr(gatesim, "LinkDevice", Stand)
    flow.top.config = gatesim.accelerator("16x64")
    return flow


def test_an_onnx_file_is_what_is_loaded(stand, capsys):
    """Not the model that was simulated before it."""
    assert gatesim.run(stand, "digits", 1)
    assert gatesim.run(stand, str(ZOO / "cifar10-nano" / "model.onnx"), 1)
    assert capsys.readouterr().out.splitlines()[-1].startswith("PASS model (weights of the file")


def test_a_folder_in_use_is_waited_for(stand, capsys):
    with locked(stand.folder):
        waiting = threading.Thread(target=gatesim.run, args=(stand, "digits", 1))
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        assert capsys.readouterr().err.startswith(f"another process is building in {stand.folder}: waiting")
    waiting.join(60)
    assert "PASS digits" in capsys.readouterr().out


def test_no_lock_is_held_while_it_simulates(stand, monkeypatch):
    """Which takes minutes; the simulator is loaded by then."""

    def load(*_):
        with locked(stand.folder, notice=pytest.fail):
            raise KeyboardInterrupt

    monkeypatch.setattr(Stand, "load", load)
    with pytest.raises(KeyboardInterrupt):
        gatesim.run(stand, "digits", 1)


@pytest.mark.parametrize(("wrong", "exact"), [(None, 2), (1, 1)])
def test_a_logit_that_differs_fails(stand, monkeypatch, capsys, wrong, exact):
    flow = stand
    monkeypatch.setattr(Stand, "wrong", wrong)
    assert gatesim.run(flow, "digits", 2) == (exact == 2)
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("PASS" if exact == 2 else "FAIL")
    assert json.loads((flow.folder / "gatesim.json").read_text())["exact"] == exact
    assert ("expected" in out) == (exact < 2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], f"error: BOARD=… is one of {', '.join(BOARDS)}\n"),
        (["--board", "x"], f"error: unknown board 'x': there are {', '.join(BOARDS)}\n"),
        (["--board", "ulx3s-85f", "--divisor", "3"], "error: --divisor must be at least 4, not 3\n"),
        (["--board", "ulx3s-85f", "--config", "7x7"], "error: unknown accelerator '7x7': there are "),
    ],
)
def test_one_line_says_what_is_wrong(capsys, arguments, error):
    with pytest.raises(SystemExit) as exit_:
        gatesim.main(arguments)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(error)
    assert said.count("\n") == 1


def test_an_interruption_is_one_line(monkeypatch, capsys, tmp_path):
    def run(flow, *_):
        assert flow.folder == tmp_path / "build/boards/icebreaker-scalar-4500000"
        raise KeyboardInterrupt

    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(gatesim, "run", run)
    with pytest.raises(SystemExit) as exit_:
        gatesim.main(["--board", "icebreaker", "--divisor", "4"])
    assert exit_.value.code == INTERRUPTED
    said = "interrupted: a netlist and a simulator that were made are kept\n"
    assert capsys.readouterr().err == said
