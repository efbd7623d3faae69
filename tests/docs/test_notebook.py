"""The notebook of docs/: it is committed without results, and it runs from end to end."""

import ast
import json
import re
import sys

import numpy as np
import pytest

import haarlequin
from haarlequin.sw.accelerator import answer_shares
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

NOTEBOOK = ROOT / "docs" / "picture-to-token.ipynb"
SECONDS = 60


def results(content):
    """The numbers of cells that have an output or have been counted."""
    code = [(i, cell) for i, cell in enumerate(content["cells"]) if cell["cell_type"] == "code"]
    return [i for i, cell in code if cell["outputs"] or cell["execution_count"] is not None]


@pytest.fixture(scope="module")
def committed():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The notebook after all its cells have run, in a kernel of this Python whose files are all elsewhere."""
    folder = tmp_path_factory.mktemp("jupyter")
    kernel = folder / "data" / "kernels" / "this" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "this", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
            patch.setenv(variable, str(folder / variable.partition("_")[2].lower().removesuffix("_dir")))
        import nbformat
        from nbclient import NotebookClient

        notebook = nbformat.read(NOTEBOOK, as_version=4)
        where = {"metadata": {"path": NOTEBOOK.parent}}
        NotebookClient(notebook, timeout=SECONDS, kernel_name="this", resources=where).execute()
    return notebook


def outputs(cell, kind):
    """What a cell shows in that form, such as ``text/plain``."""
    return [each["data"][kind] for each in cell["outputs"] if kind in each.get("data", {})]


def test_it_is_committed_without_results(committed, ran):
    """If not: clear all outputs in the editor, and save it."""
    assert results(committed) == []
    assert committed["metadata"].keys() == {"kernelspec", "language_info"}
    assert len(results(ran)) > 10


def test_it_says_what_the_integer_model_says(ran):
    code = [cell for cell in ran["cells"] if cell["cell_type"] == "code"]
    golden = haarlequin.load("digits")
    with haarlequin.Accelerator("golden", "digits") as accelerator:
        pixels, note = accelerator.pixels(ROOT / "docs" / "seven.png")
        (result,) = accelerator.stream([pixels])
    expected = np.asarray(golden(pixels[None]))[0].tolist()
    (said,) = outputs(code[-1], "text/plain")
    assert ast.literal_eval(said) == expected
    (shown,) = [text for cell in code for text in outputs(cell, "text/html")]
    for class_, share in answer_shares(result, 10, golden.config.logit_scale, 3):
        assert f'<span class="hq-name">{class_}</span>' in shown
        assert f'<span class="hq-share">{share:.1%}</span>' in shown
    assert "data:image/png;base64," in shown
    printed = "".join(each["text"] for cell in code for each in cell["outputs"] if "text" in each)
    assert note in printed
    assert "label: 7\n" in printed
    assert printed.count("64 of 64 values equal") == golden.config.layers
    assert "4918 cycles, " in printed
    assert "the two bands add up to x: True" in printed


def test_it_draws_and_it_does_not_complain(ran):
    shown = [
        image for cell in ran["cells"] if cell["cell_type"] == "code" for image in outputs(cell, "image/png")
    ]
    assert len(shown) == 9
    assert [
        each for cell in ran["cells"] for each in cell.get("outputs", ()) if each.get("name") == "stderr"
    ] == []


def test_its_links_lead_somewhere(committed):
    text = "".join("".join(cell["source"]) for cell in committed["cells"] if cell["cell_type"] == "markdown")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        assert (NOTEBOOK.parent / link).is_file()
