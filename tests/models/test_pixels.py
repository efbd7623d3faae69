"""What a model learns from and what it is asked about are cut and scaled alike."""

import numpy as np
import pytest
from PIL import Image

from models.data.folder import decode_image
from models.pixels import centre, fitted
from sw.images import convert


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
@pytest.mark.parametrize("size", [(32, 32), (47, 31), (64, 100), (20, 32)])
def test_training_and_inference_see_the_same_pixels(tmp_path, size, mode, channels):
    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(noise).convert(mode).save(path)
    learnt = decode_image(path.read_bytes(), "picture.png", (32, 32), channels)
    assert np.array_equal(learnt, convert(path, 32, 32, channels)[0])
    assert learnt.shape == (32, 32, channels)


@pytest.mark.parametrize(
    ("size", "wanted", "part"),
    [
        ((640, 480), (32, 32), (480, 480)),
        ((480, 641), (8, 8), (480, 480)),
        ((640, 480), (32, 16), (640, 320)),
        ((1, 500), (32, 8), (1, 1)),
        ((9, 7), (9, 7), (9, 7)),
    ],
)
def test_centre(size, wanted, part):
    assert centre(size, wanted) == part


def test_what_is_around_the_centre_does_not_matter():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, 10:50] = 200
    assert (fitted(Image.fromarray(pixels), 20, 20, 3) == 200).all()
    pixels[:, 49] = 0  # within it, at the edge
    assert not (fitted(Image.fromarray(pixels), 20, 20, 3) == 200).all()
