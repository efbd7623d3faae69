import numpy as np

from haarlequin.models.data import load


def test_digits_are_split_into_three_for_good():
    data = load("digits")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [1293, 144, 360]
    for split in (data.train, data.validation, data.test):
        assert split.pixels.shape[1:] == (8, 8, 1)
        assert split.pixels.dtype == np.uint8
        shares = np.bincount(split.labels, minlength=10) / len(split)
        assert np.abs(shares - 0.1).max() < 0.01
    assert int(data.train.pixels.max()) == 255
    again = load("digits")
    assert np.array_equal(data.test.pixels, again.test.pixels)


def test_no_image_is_in_two_parts():
    data = load("digits")
    parts = [
        split.pixels.reshape(len(split), -1).tolist() for split in (data.train, data.validation, data.test)
    ]
    images = [tuple(image) for part in parts for image in part]
    assert len(images) == 1797
    assert len(set(images)) == 1797
