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
from haarlequin.models.data import DataSet, Split
from haarlequin.models.segmentation import IGNORE, enlarge
from haarlequin.sw import rates
from haarlequin.sw.mask_picture import colours

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
    assert set(said["cycles"]) == {rates.cycles(said["model"], "16x64")}
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


def test_the_masks_are_those_of_the_published_network():
    """If not: `python docs/pictures.py masks DIR`."""
    assert pictures.made_from(pictures.MASKS) == pictures.masks_source()


def test_masks_are_drawn_from_the_test_images(tmp_path, monkeypatch):
    """The answer is the model's, and a pixel without a class is white."""
    model = haarlequin.load(pictures.MASKS_MODEL)
    classes, pixels = (
        model.config.classes,
        np.random.default_rng(0).integers(0, 256, (81, 48, 64, 3), np.uint8),
    )
    masks = np.full((81, 48, 64), IGNORE, np.uint8)
    tokens = model(pixels[[0, 40, 80]]).argmax(-1)
    masks[[0, 40, 80], :24] = enlarge(tokens, (12, 16), (48, 64))[:, :24]
    masks[40, 0] = (masks[40, 0] + 1) % len(classes)
    split = Split(pixels, masks)
    monkeypatch.setattr(data, "load", lambda config, folder: DataSet(split, split, split, classes))
    monkeypatch.setattr(pictures, "MASKS", tmp_path / "masks.png")
    drawn = []
    original = pictures.draw_masks
    monkeypatch.setattr(pictures, "draw_masks", lambda *given: drawn.append(original(*given)) or drawn[-1])
    pictures.masks(tmp_path)
    assert pictures.made_from(tmp_path / "masks.png") == pictures.masks_source()
    places = np.array(drawn[0].axes).reshape(3, 3)
    shown = [[place.images[0].get_array() for place in row] for row in places]
    palette = colours(len(classes))
    for i, (number, (image, truth, answer)) in enumerate(zip((0, 40, 80), shown, strict=True)):
        assert np.array_equal(image, pixels[number])
        assert np.array_equal(answer, palette[enlarge(tokens[i], (12, 16), (48, 64))])
        assert np.array_equal(truth[:24], answer[:24]) == (number != 40)
        assert (truth[24:] == 255).all()
    notes = [row[2].get_xlabel() for row in places]
    assert notes == [f"{share:.0%} of the pixels right" for share in (1, 23 / 24, 1)]
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [*classes, "no class"]


@pytest.mark.parametrize(
    "path", [pictures.RESULT, pictures.FLOORPLAN, pictures.MASKS], ids=lambda path: path.name
)
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
