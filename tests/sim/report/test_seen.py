"""What the model sees: maps are the integer model's tensors, mistakes and confusion the test images'."""

import numpy as np
import pytest

from haarlequin.models import data
from haarlequin.sim.report import seen
from haarlequin.sim.report.networks import card
from haarlequin.sw.resolve import golden_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    return {panel.name: panel for panel in seen.section("digits", None).panels}


def test_maps_are_the_integer_models(digits):
    pixels = data.load("digits").test.pixels[:1]
    trace = {}
    golden_model("digits")(pixels, trace)
    image, low, high, *heads = digits["image-0"].figures
    assert np.array_equal(np.array(image.data[0].z)[..., 0], pixels[0, ..., 0])
    for band, plot in (("lo", low), ("hi", high)):
        assert np.array_equal(
            np.array(plot.data[0].z), np.abs(trace[f"layers.0.x_{band}"][0]).mean(-1).reshape(4, 4)
        )
    assert len(heads) == 2
    for head, plot in enumerate(heads):
        looked = trace["layers.0.attention"][0, head].sum(0)
        assert np.array_equal(np.array(plot.data[0].z), looked.reshape(4, 4))


def test_mistakes_are_wrong_and_the_surest_first(digits):
    test = data.load("digits").test
    wrong = int((golden_model("digits")(test.pixels).argmax(1) != test.labels).sum())
    panel = digits["mistakes"]
    assert panel.says.startswith(f"{wrong} of the first {len(test)} test images are labelled wrong")
    titles = [plot.layout.title.text for plot in panel.figures]
    assert len(titles) == min(wrong, seen.WORST)
    for title in titles:
        truth, guess = title.replace("taken for<br>", "").split(", ")
        assert truth != guess.split()[0]


def test_confusion_is_of_the_test_images(digits):
    test = data.load("digits").test
    counts = np.array(digits["confusion"].figures[0].data[0].customdata)[..., 0]
    right = golden_model("digits")(test.pixels).argmax(1) == test.labels
    assert np.array_equal(counts.sum(1), np.bincount(test.labels, minlength=10))
    assert np.array_equal(counts.diagonal(), np.bincount(test.labels[right], minlength=10))


def test_confusion_is_the_cards():
    panel = next(panel for panel in seen.section("cifar10-hybrid", None).panels if panel.name == "confusion")
    counts = np.array(card("cifar10-hybrid")["confusion"])
    heat, numbers = panel.figures[0].data
    assert np.array_equal(np.array(heat.customdata)[..., 0], counts)
    shares = 100 * counts / counts.sum(1, keepdims=True)
    assert [int(each) for each in numbers.text] == np.rint(shares).astype(int).ravel().tolist()
    others = ~np.eye(10, dtype=bool)
    assert np.array_equal(np.array(heat.z)[others], shares[others])
    assert np.isnan(np.array(heat.z)[~others]).all()
    right = counts.diagonal() / counts.sum(1)
    assert f"The worst class is {heat.y[right.argmin()]}: {right.min():.0%} right" in panel.says


def test_without_test_images_there_are_drawings():
    panels = {panel.name: panel for panel in seen.section("cifar10-hybrid", None).panels}
    assert {"image-0", "image-1", "image-2"} <= {*panels}
    assert panels["mistakes"].missing
    assert "--data DIR" in panels["mistakes"].command


def test_a_network_for_masks():
    panels = {panel.name: panel for panel in seen.section("camvid-16x12", None).panels}
    assert panels["image-0"].says.startswith("A class for every token.")
    assert panels["mistakes"].missing
