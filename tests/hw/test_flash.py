import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from hw import flash
from hw.boards import board
from hw.config import accelerator
from sw.boot import boot_image
from sw.choose import Source


@pytest.fixture
def built(monkeypatch, tmp_path):
    """A bitstream of ulx3s-85f in an empty place, and an openFPGALoader that says what it was told."""
    monkeypatch.chdir(tmp_path)
    bitstream = tmp_path / "build/boards/ulx3s-85f/top.bit"
    bitstream.parent.mkdir(parents=True)
    bitstream.write_bytes(b"bits")
    bitstream.with_name("summary.json").write_text(json.dumps({"config": "16x64"}))
    loader = tmp_path / "bin/openFPGALoader"
    loader.parent.mkdir()

    def install(script: str) -> None:
        loader.write_text(f"#!/bin/sh\n{script}\n")
        loader.chmod(loader.stat().st_mode | stat.S_IXUSR)

    install('echo "loading $@"')
    monkeypatch.setenv("PATH", str(loader.parent), prepend=os.pathsep)
    flash.tool.cache_clear()
    yield install
    flash.tool.cache_clear()


def test_into_the_fpga_or_into_its_flash(built, capfd):
    flash.main(["--board", "ulx3s-85f"])
    assert "loading --board ulx3s --write-sram build/boards/ulx3s-85f/top.bit" in capfd.readouterr().out
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
    assert image == boot_image(Source("digits").compiled(accelerator("16x64").digest).tables)


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
        Path("build/boards/ulx3s-85f/summary.json").unlink()
    built(script)
    with pytest.raises(SystemExit) as exit_:
        flash.main(arguments)
    assert exit_.value.code == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert re.search(error, said)


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
