"""onnxruntime leaves no trace, and whoever wants it goes through `models.onnx.runtime`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from haarlequin.models.onnx.runtime import session

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "models/zoo/digits/model.onnx"
FOLDERS = (".ci", "docs", "hw", "models", "sim", "sw", "tests")
IMPORT = re.compile(r"^ *(?:import [^#\n]*|from )\bonnxruntime\b", re.MULTILINE)

RUN = f"""
import numpy
from haarlequin.models.onnx.runtime import session

logits = session({str(DIGITS)!r}).run(None, {{"pixels": numpy.zeros((1, 8, 8, 1), numpy.uint8)}})
"""


@pytest.mark.parametrize(
    "variables", [("HOME",), ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")]
)
def test_a_session_writes_no_file(tmp_path, variables):
    """Neither at home nor among the temporary files; a user's own setting does not matter."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    folders = {name: str(tmp_path / name) for name in (*variables, "TMPDIR")}
    for folder in folders.values():
        Path(folder).mkdir()
    environment = kept | folders | {"ORT_DISABLE_TELEMETRY": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", RUN], cwd=ROOT, env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_nothing_else_imports_it():
    """Nor does a text for people tell them to."""
    files = [
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md")
    ]
    found = [path for path in (*files, ROOT / "README.md") if IMPORT.search(path.read_text())]
    assert found == [ROOT / "models/onnx/runtime.py"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import onnxruntime", True),
        ("    import numpy, onnxruntime", True),
        ("from onnxruntime import InferenceSession", True),
        ("from haarlequin.models.onnx.runtime import session  # onnxruntime", False),
        ("import onnx  # not onnxruntime", False),
    ],
)
def test_an_import_is_recognised(text, found):
    assert bool(IMPORT.search(f"# a line\n{text}\n")) == found


@pytest.mark.parametrize("kind", [bytes, str, Path])
def test_a_model_is_bytes_or_a_file(kind):
    model = DIGITS.read_bytes() if kind is bytes else kind(DIGITS)
    (logits,) = session(model, threads=1).run(["logits"], {"pixels": np.zeros((3, 8, 8, 1), np.uint8)})
    assert logits.shape == (3, 10)


def test_its_log_is_quiet(capfd):
    """What is wrong is in the exception alone."""
    with pytest.raises(Exception, match="pixels"):
        session(DIGITS).run(None, {"pixels": np.zeros((1, 9, 8, 1), np.uint8)})
    assert capfd.readouterr() == ("", "")
