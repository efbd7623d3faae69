import math
import os
import re
import stat
import threading
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from haarlequin.hw.bitstream.flow import SUMMARY
from haarlequin.hw.boards import board
from haarlequin.hw.presets import accelerator
from haarlequin.models.common import stamps
from haarlequin.models.common.cli import INTERRUPTED
from haarlequin.models.common.files import locked
from haarlequin.sw import flash
from haarlequin.sw.boot_image import boot_image
from haarlequin.sw.resolve import ModelSource


@pytest.fixture
def built(monkeypatch, tmp_path):
    """A bitstream of ulx3s-85f in an empty place, and an openFPGALoader that says what it was told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAARLEQUIN_BUILD", "build")
    summarise()
    loader = tmp_path / "bin/openFPGALoader"
    loader.parent.mkdir()

    def install(script: str) -> None:
        loader.write_text(f'#!/bin/sh\n[ "$1" = --Version ] && exec echo openFPGALoader v1.1.1\n{script}\n')
        loader.chmod(loader.stat().st_mode | stat.S_IXUSR)

    install('echo "loading $@"')
    monkeypatch.setenv("PATH", str(loader.parent), prepend=os.pathsep)
    return install


BITSTREAM = Path("build/boards/ulx3s-85f/top.bit")


def summarise(**changes):
    """A bitstream, and what is told of it."""
    BITSTREAM.parent.mkdir(parents=True, exist_ok=True)
    BITSTREAM.write_bytes(b"bits")
    found = {"config": "16x64", "clock_mhz": 40.0, "baud": 2_000_000, "fmax_mhz": 43.9, "met": True}
    stamps.write(BITSTREAM.with_name(SUMMARY), "", [BITSTREAM], **found | changes)


def everything():
    """What there is, but for what a lock leaves."""
    return {
        path: path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.suffix != ".lock"
    }


def test_into_the_fpga_or_into_its_flash(built, capfd):
    flash.main(["--board", "ulx3s-85f"])
    out = capfd.readouterr().out
    assert out.startswith("ULX3S, LFE5U-85F: 16x64 at 40 MHz, 2,000,000 baud\n")
    assert "loading --board ulx3s --write-sram build/boards/ulx3s-85f/top.bit" in out
    flash.main(["--board", "ulx3s-85f", "--persist"])
    assert "loading --board ulx3s --write-flash build/boards/ulx3s-85f/top.bit" in capfd.readouterr().out


def test_a_dry_run_prints_the_command_and_runs_nothing(built, capfd):
    flash.main(["--board", "ulx3s-85f", "--dry-run"])
    out = capfd.readouterr().out
    assert out.endswith("openFPGALoader --board ulx3s --write-sram build/boards/ulx3s-85f/top.bit\n")
    assert "loading" not in out


def test_tables_go_into_the_flash_before_the_bitstream(built, capfd):
    flash.main(["--board", "ulx3s-85f", "--persist", "--tables", "digits"])
    tables, bitstream = (line for line in capfd.readouterr().out.splitlines() if line.startswith("loading"))
    place = "--write-flash --offset 0x200000 --file-type raw"
    assert tables == f"loading --board ulx3s {place} build/boards/ulx3s-85f/tables.bin"
    assert bitstream.endswith("--write-flash build/boards/ulx3s-85f/top.bit")
    image = Path("build/boards/ulx3s-85f/tables.bin").read_bytes()
    assert image == boot_image(ModelSource("digits").compiled(accelerator("16x64").digest).tables)


@pytest.mark.parametrize(
    ("arguments", "script", "error"),
    [
        (
            ["--board", "ulx3s-85f"],
            "exit 1",
            "was not found, or did not take it .exit code 1.: is it plugged in",
        ),
        (["--board", "ulx3s-85f"], "exit 127", "lacks a library; on Debian: apt-get install"),
        (["--board", "ulx3s-85f"], "rm", "there is no bitstream yet: make bitstream BOARD=ulx3s-85f"),
        (["--board", "ulx3s-85f", "--tables", "digits"], "", "take PERSIST=1 with them"),
        (["--board", "ulx3s-85f", "--persist", "--tables", "digit"], "", "unknown model 'digit'"),
        ([], "", "BOARD=… is one of "),
        (["--board", "none"], "", "unknown board 'none': there are "),
    ],
)
def test_one_line_says_what_to_do(built, capfd, arguments, script, error):
    if script == "rm":
        BITSTREAM.with_name(SUMMARY).unlink()
    built(script)
    with pytest.raises(SystemExit) as exit_:
        flash.main(arguments)
    assert exit_.value.code == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert re.search(error, said)


AGAIN = "build it again: make bitstream BOARD=ulx3s-85f"


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("top.bit", None, f"{BITSTREAM} is gone or empty; {AGAIN}"),
        ("top.bit", b"", f"{BITSTREAM} is gone or empty; {AGAIN}"),
        ("top.bit", b"bit", f"{BITSTREAM} is not what summary.json beside it says; {AGAIN}"),
        ("top.bit", b"bats", f"{BITSTREAM} is not what summary.json beside it says; {AGAIN}"),
        (SUMMARY, b"", f"{BITSTREAM} is not what summary.json beside it says; {AGAIN}"),
        (SUMMARY, b'{"inputs": ', f"{BITSTREAM} is not what summary.json beside it says; {AGAIN}"),
        (SUMMARY, b'{"config": "16x64"}', f"{BITSTREAM} is not what summary.json beside it says; {AGAIN}"),
        (
            SUMMARY,
            b'{"inputs": "", "outputs": {}, "facts": {"config": "16x64"}}',
            f"{BITSTREAM} is not what summary.json beside it says; {AGAIN}",
        ),
    ],
)
def test_a_bitstream_that_is_not_whole_is_refused(built, capfd, name, content, error):
    """Before anything is run or written."""
    BITSTREAM.with_name(name).unlink()
    if content is not None:
        BITSTREAM.with_name(name).write_bytes(content)
    before = everything()
    with pytest.raises(SystemExit) as exit_:
        flash.main(["--board", "ulx3s-85f", "--persist", "--tables", "digits"])
    assert exit_.value.code == 2
    assert capfd.readouterr() == ("", f"error: {error}\n")
    assert everything() == before


@pytest.mark.parametrize("name", ["clock_mhz", "fmax_mhz", "baud"])
def test_a_summary_with_a_number_that_no_bitstream_has_is_refused(built, capfd, name):
    for value, met in product((0, -1, 10**400, 1e308, math.nan, math.inf), (True, False)):
        summarise(**{name: value, "met": met})
        with pytest.raises(SystemExit) as exit_:
            flash.main(["--board", "ulx3s-85f"])
        assert exit_.value.code == 2
        said = f"error: {BITSTREAM} is not what summary.json beside it says; {AGAIN}\n"
        assert capfd.readouterr() == ("", said)


def test_a_missed_clock_is_refused_unless_told(built, capfd):
    summarise(met=False, fmax_mhz=35.2)
    with pytest.raises(SystemExit) as exit_:
        flash.main(["--board", "ulx3s-85f"])
    assert exit_.value.code == 2
    said = (
        "misses its clock by 12.0%: it reaches 35.2 MHz of 40, and may compute wrongly; ARGS=--missed-clock"
    )
    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith(f"error: {BITSTREAM} {said}")
    flash.main(["--board", "ulx3s-85f", "--missed-clock"])
    assert "loading --board ulx3s --write-sram" in capfd.readouterr().out


def test_a_build_under_way_is_waited_for(built, capfd):
    """And what it made is written, not what was there before."""
    with locked(BITSTREAM.parent):
        waiting = threading.Thread(target=flash.main, args=(["--board", "ulx3s-85f"],))
        waiting.start()
        waiting.join(1)
        assert waiting.is_alive()
        out, error = capfd.readouterr()
        assert out == ""
        assert error.startswith("another process is building in build/boards/ulx3s-85f: waiting")
        summarise(baud=1_000_000)
    waiting.join(60)
    assert "1,000,000 baud\n" in capfd.readouterr().out


def test_an_interrupted_flash_says_what_that_means(built, capfd, monkeypatch):
    def run(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(flash, "run", run)
    with pytest.raises(SystemExit) as exit_:
        flash.main(["--board", "ulx3s-85f"])
    assert exit_.value.code == INTERRUPTED
    said = "interrupted: what is on the board may be half of it: the same command writes it again\n"
    assert capfd.readouterr().err == said


def test_a_board_that_loads_from_its_flash_alone():
    target = replace(board("ulx3s-85f"), volatile=False)
    with pytest.raises(flash.FlashError, match="ulx3s-85f loads from its flash alone: take PERSIST=1"):
        flash.commands(target, persist=False, tables=None)


def test_an_icebreakers_bitstream_goes_into_its_flash(built, capfd):
    flash.main(["--board", "icebreaker", "--persist", "--dry-run"])
    command = "openFPGALoader --board ice40_generic --write-flash build/boards/icebreaker/top.bin\n"
    assert capfd.readouterr().out.endswith(command)


def test_a_board_that_does_not_start_from_tables(tmp_path):
    target = replace(board("ulx3s-85f"), tables_at=None)
    with pytest.raises(flash.FlashError, match="ulx3s-85f does not start from tables in its flash"):
        flash.commands(target, persist=True, tables=tmp_path / "tables.bin")
