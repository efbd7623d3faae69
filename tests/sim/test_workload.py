"""Models and images of a simulation."""

import numpy as np
import pytest

from haarlequin.models.presets import preset
from haarlequin.sim.workload import DRAWINGS, workload

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["cifar10-hybrid", "cifar10-tiny"])
def test_drawings_are_what_they_are_called(name):
    what = workload(name, [], None)
    assert what.kind == "trained weights, 3 drawings"
    classes = what.model.config.classes
    assert [classes[label] for label in what.labels] == ["airplane", "automobile", "ship"]
    assert what.pixels.shape == (3, 32, 32, 3)
    logits = np.asarray(what.model(what.pixels))
    assert logits.argmax(-1).tolist() == what.labels.tolist()


def test_every_drawing_is_of_a_class_of_cifar10():
    assert {path.stem for path in DRAWINGS.iterdir()} <= set(preset("cifar10-hybrid").classes)


@pytest.mark.parametrize(
    ("name", "settings", "count", "kind"),
    [
        ("cifar10-hybrid", [], 2, "trained weights, 2 drawings"),
        ("cifar10-hybrid", [], 4, "trained weights, 4 random images"),
        ("cifar10-hybrid", ["stages=/2 c32x1"], None, "random weights, 1 random image"),
        ("camvid-16x12", [], None, "trained weights, 1 random image"),
        ("digits", [], None, "trained weights, 16 test images"),
        ("digits", [], 1, "trained weights, 1 test image"),
    ],
)
def test_the_images_that_a_model_gets(name, settings, count, kind):
    what = workload(name, settings, count)
    assert what.kind == kind
    assert (what.labels is None) == ("random image" in kind)
    assert len(what.pixels) == int(kind.split(", ")[1].split()[0])
