"""The README's picture of the machine: up to date, about files that exist, and tidy."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from docs import machine

ROOT = Path(__file__).resolve().parents[2]
HINT = "run `python docs/machine.py`"


def overlap(one, two) -> bool:
    """Whether two areas (left, top, right, bottom) have a point in common, edges apart."""
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def area(box) -> tuple[float, ...]:
    return box.left, box.top, box.right, box.bottom


@pytest.fixture(scope="module")
def committed():
    return machine.PICTURE.read_text(encoding="utf-8")


def test_it_is_up_to_date(committed):
    assert machine.made_from() in committed, HINT
    assert len(committed) < 150_000


def test_running_the_source_again_gives_the_same_bytes(committed, tmp_path):
    made = tmp_path / "machine.svg"
    subprocess.run([sys.executable, ROOT / "docs/machine.py", made], check=True, cwd=ROOT, timeout=120)
    again = tmp_path / "again.svg"
    machine.main(again)
    assert made.read_bytes() == again.read_bytes()
    if f"Matplotlib v{mpl.__version__}," in committed:  # another one may draw other bytes
        same = made.read_text(encoding="utf-8") == committed
        assert same, HINT  # without pytest's difference of 100 kB


def test_it_names_files_that_exist():
    lists = [machine.LANE_FILES, *(box.files for box in machine.BOXES if box.files)]
    files = [file for files in lists for file in files.split(", ")]
    assert len(files) > 10
    assert [file for file in files if len(list((ROOT / "hw").rglob(file))) != 1] == []
    assert (ROOT / "sw").is_dir()


def test_no_box_lies_on_another():
    assert [pair for pair in combinations(machine.BOXES, 2) if overlap(*map(area, pair))] == []


def test_arrows_go_round_the_boxes():
    legs = [leg for _, *corners in machine.ARROWS for leg in machine.legs(corners)]
    assert [(leg, box) for leg in legs for box in machine.BOXES if overlap(leg, area(box))] == []


def test_arrows_begin_and_end_at_a_box_or_a_dot():
    for _, *corners in machine.ARROWS:
        for x, y in (corners[0], corners[-1]):
            at_box = any(
                (x in (left, right) and top < y < bottom) or (y in (top, bottom) and left < x < right)
                for left, top, right, bottom in map(area, machine.BOXES)
            )
            assert at_box or (x, y) in machine.DOTS, (x, y)


def test_words_stay_in_their_box_and_off_each_other():
    figure = machine.draw()
    renderer = FigureCanvasAgg(figure).get_renderer()
    words = {}
    for text in figure.axes[0].texts:
        extent = text.get_window_extent(renderer)
        words[text] = extent.x0, machine.HEIGHT - extent.y1, extent.x1, machine.HEIGHT - extent.y0
    for text, (left, top, right, bottom) in words.items():
        inside = (0, 0, machine.WIDTH, machine.HEIGHT)
        for box in machine.BOXES:
            if overlap((left, top, right, bottom), area(box)):
                inside = area(box)
        assert inside[0] < left, text
        assert right < inside[2], text
        assert inside[1] < top, text
        assert bottom < inside[3], text
    # A line's descenders may reach into the next line's room above its letters.
    tight = {text: (left, top + 2, right, bottom - 2) for text, (left, top, right, bottom) in words.items()}
    assert [pair for pair in combinations(tight, 2) if overlap(tight[pair[0]], tight[pair[1]])] == []
