"""A user's own files called like our packages: the message names the one in the way."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["models.py", "hw.py", "sim.py", "models/__init__.py"])
def test_a_file_in_the_way_is_named(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    script = tmp_path / "script.py"
    script.write_text("from sw import Accelerator")
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert run.returncode == 1
    package = name.partition("/")[0].removesuffix(".py")
    assert f"{file} is in the way of Haarlequin's package {package!r}: rename it" in run.stderr


def test_a_folder_that_is_no_package_is_not_in_the_way(tmp_path):
    (tmp_path / "models").mkdir()
    script = tmp_path / "script.py"
    script.write_text("from sw import Accelerator")
    subprocess.run([sys.executable, script], check=True)
