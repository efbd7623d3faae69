"""`make report`: a page from what is there, whose figures are those of the files that it was made from."""

import json
import time

import pytest

from haarlequin.models.common import ledger
from haarlequin.sim.report.command import main
from tests.browser import chromium
from tests.sim.report.boards import routed
from tests.sim.report.test_cycles import TIMELINE
from tests.sim.report.test_page import figures_of, opened

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A build folder with results of everything, and the page made from it."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAARLEQUIN_BUILD", str(folder))
        routed(folder / "boards" / "ulx3s-25f")
        (folder / "sim" / "digits").mkdir(parents=True)
        (folder / "sim" / "digits" / "timeline.json").write_text(json.dumps(TIMELINE), encoding="utf-8")
        ledger.write("sim", "make sim", True, "16/16 images bit-exact")
        start = time.monotonic()
        main(["--model", "digits", "--board", "ulx3s-25f"])
        yield folder / "report" / "index.html", time.monotonic() - start


def test_it_is_small_and_soon_there(made):
    path, seconds = made
    assert path.stat().st_size < 8e6
    assert seconds < 60


def test_it_says_what_the_files_say(made):
    text = made[0].read_text(encoding="utf-8")
    figures = figures_of(text)
    bars = [trace["x"] for trace in figures["cycles-timeline-0"]["data"]]
    assert sorted(long for some in bars for long in some) == sorted(
        span["stop"] - span["start"] for span in TIMELINE["spans"]
    )
    (treemap,) = figures["area-modules-0"]["data"]
    assert treemap["values"][treemap["ids"].index("accelerator.machine.layers.array")] == 2
    assert "passed: 16/16 images bit-exact" in text
    assert "<h3>Timeline of an image on 16x64</h3>" in text
    assert "<dt>test images right</dt><dd>97.8%</dd>" in text
    assert "<dt>chip in use</dt><dd>0% of LUT4</dd>" in text
    assert "<dt>checks passed here</dt><dd>1 of 9</dd>" in text
    assert "This makes it:" not in text


def test_it_opens_without_a_message(made):
    with chromium() as browser:
        for width in (390, 1600):
            tab, said = opened(browser, made[0].as_uri(), width)
            tab.evaluate("for (const place of document.querySelectorAll('[data-figure]')) draw(place)")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert said == []
            tab.context.close()


def test_every_axis_has_a_name(made):
    """Maps are without axes; every other figure says what it shows, with its unit."""
    for name, each in figures_of(made[0].read_text(encoding="utf-8")).items():
        for axis in ("xaxis", "yaxis"):
            shown = each["layout"].get(axis, {})
            traces = {trace["type"] for trace in each["data"]}
            bars_by_name = axis == "yaxis" and traces == {"bar"}
            if traces != {"treemap"} and shown.get("visible", True) and not bars_by_name:
                assert shown["title"]["text"], f"{name}: {axis}"


def test_an_empty_build_folder_is_enough(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    main([])
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    for missing in ("make bitstream BOARD=ulx3s-25f", "make sim MODEL=cifar10-hybrid CONFIG=8x64-hybrid"):
        assert f"This makes it: <code>{missing}</code>" in text
        assert missing in said
    assert "0 of 9 checks have been run here" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "cifar10-windows"], "cifar10-windows is no trained model"),
        (["--model", "nonsense"], "nonsense is no trained model"),
        (["--board", "nonsense"], "nonsense"),
        (["--data", "nowhere"], "nowhere"),
        (["--output", "."], "--output is a file: . is a folder"),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "report").exists()
