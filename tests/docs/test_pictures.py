"""The README's pictures of results: made of what is recorded beside them, which the models say too."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import haarlequin
from docs import figures, pictures
from haarlequin.models import data
from haarlequin.models.common import stamps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said():
    return json.loads(pictures.SAID.read_text(encoding="utf-8"))


def test_what_the_rtl_said_is_what_the_integer_model_says(said):
    """Its logits, its labels, and the cycles that the compiler predicts."""
    golden, test = haarlequin.load(said["model"]), data.load(said["model"]).test
    pixels, labels = np.asarray(test.pixels)[said["images"]], np.asarray(test.labels)[said["images"]]
    logits = np.asarray(golden(pixels))
    assert said["logits"] == logits.tolist()
    classes = golden.config.classes
    assert said["predicted"] == [classes[i] for i in logits.argmax(1)]
    assert said["labels"] == [classes[i] for i in labels]
    assert set(said["cycles"]) == {figures.cycles(said["model"], "16x64")}
    assert said["device"] == "sim"


def test_the_images_are_the_first_of_each_digit(said):
    assert said["images"] == pictures.chosen()
    assert Counter(said["labels"]) == Counter("0123456789")


def test_the_picture_of_the_result_is_of_what_was_said():
    """If not: `python docs/pictures.py result`, or `redraw` where nothing was said anew."""
    assert pictures.made_from(pictures.RESULT) == pictures.digest(pictures.SAID)


def test_the_floorplan_is_of_the_board_that_is_recorded():
    """If not: `python docs/pictures.py floorplan FOLDER`."""
    assert json.loads(pictures.made_from(pictures.FLOORPLAN)) == figures.routed()[pictures.BOARD]


@pytest.mark.parametrize("path", [pictures.RESULT, pictures.FLOORPLAN], ids=lambda path: path.name)
def test_pictures_are_small(path):
    assert path.stat().st_size < 100_000
    with Image.open(path) as picture:
        assert 800 <= picture.width <= 2000


@pytest.fixture
def routed(tmp_path, monkeypatch, request):
    """A folder with a board's summary, and files to write to in place of those of docs/."""
    facts = figures.routed()["icebreaker"] | {"board": "icebreaker", "met": True} | request.param
    (tmp_path / "top.bin").write_bytes(b"bits")
    stamps.write(tmp_path / pictures.SUMMARY, "", [tmp_path / "top.bin"], **facts)
    monkeypatch.setattr(pictures, "ROUTED", tmp_path / "boards.json")
    shutil.copy(figures.ROUTED, pictures.ROUTED)
    return tmp_path


@pytest.mark.parametrize("routed", [{"lut4": 2439, "seconds": 9}], indirect=True)
def test_a_board_that_is_routed_again_is_recorded(routed):
    before = figures.routed()
    pictures.record(routed)
    after = json.loads(pictures.ROUTED.read_text(encoding="utf-8"))
    assert after == before | {"icebreaker": before["icebreaker"] | {"lut4": 2439}}
    assert list(after) == list(before)


@pytest.mark.parametrize("routed", [{"met": False}], indirect=True)
def test_a_board_that_misses_its_clock_is_not_recorded(routed):
    with pytest.raises(SystemExit, match="misses its clock"):
        pictures.record(routed)


@pytest.mark.parametrize("routed", [{}], indirect=True)
def test_a_summary_of_another_bitstream_is_not_recorded(routed):
    (routed / "top.bin").write_bytes(b"others")
    with pytest.raises(SystemExit, match="not of the bitstream beside it"):
        pictures.record(routed)
