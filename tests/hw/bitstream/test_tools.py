import os
import sys

import pytest

from hw.bitstream import tools


def test_a_tool_that_is_not_there(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(tools.ToolError, match="neither nothing nor yowasp-nothing is there"):
        tools.tool("nothing")


def test_a_native_tool_comes_first(monkeypatch, tmp_path):
    native = tmp_path / "nextpnr-none"
    native.write_text("#!/bin/sh\necho none 1.2")
    native.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert tools.tool("nextpnr-none") == str(native)
    assert tools.version("nextpnr-none") == "none 1.2"


def test_what_a_tool_says_is_kept_and_its_milestones_shown(tmp_path, capsys):
    script = "print('Info: Packing'); print('Info: this and that'); print('Info: Routing')"
    tools.run("route", [sys.executable, "-c", script], tmp_path, "Packing|Routing")
    assert (tmp_path / "route.log").read_text().splitlines()[1] == "Info: this and that"
    shown = capsys.readouterr().out
    assert [word in shown for word in ("Packing", "Routing", "this and that")] == [True, True, False]


def test_a_tool_that_gives_up_is_quoted(tmp_path):
    script = "print('ERROR: no BELs remaining'); print('ERROR: more'); raise SystemExit(1)"
    with pytest.raises(tools.ToolError, match=r": no BELs remaining; see .*route\.log"):
        tools.run("route", [sys.executable, "-c", script], tmp_path, "^$")
    with pytest.raises(tools.ToolError, match="exit code 3"):
        tools.run("route", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path, "^$")
