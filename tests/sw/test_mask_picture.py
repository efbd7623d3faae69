import numpy as np
import pytest
from PIL import Image

from haarlequin.sw.mask_picture import colours, draw, shares, write

CLASSES = ("sky", "building", "pole", "road")


def test_colours_are_as_different_as_can_be():
    many = colours(40).astype(int)
    assert colours(12).tolist() == many[:12].tolist()
    assert colours(0).shape == (0, 3)
    for count, least in ((12, 120), (40, 70)):
        against = np.concatenate([many[:count], [[0] * 3, [255] * 3]])
        apart = np.linalg.norm(against[:, None] - against, axis=-1)
        assert apart[apart > 0].min() > least
        assert np.count_nonzero(apart) == apart.size - len(against)
    assert len(np.unique(colours(255), axis=0)) == 255


def test_shares_of_classes():
    assert shares(np.array([[2, 2, 0], [2, 1, 1]]), 5) == [(2, 3 / 6), (1, 2 / 6), (0, 1 / 6)]
    assert shares(np.array([4, 1, 1, 4]), 5) == [(1, 0.5), (4, 0.5)]


@pytest.mark.parametrize("channels", [1, 3])
def test_image_mask_and_legend(channels):
    rng = np.random.default_rng(1)
    pixels, mask = rng.integers(0, 256, (6, 8, channels), np.uint8), np.zeros((6, 8), np.uint8)
    mask[2:, 3:] = 3
    drawn = np.array(draw(pixels, mask, CLASSES))
    palette, scale = colours(4), 256 // 8
    height = scale * 6
    for part, left in ((np.broadcast_to(pixels, (6, 8, 3)), 8), (palette[mask], 8 + 256 + 8)):
        shown = drawn[8 : 8 + height, left : left + 256]
        assert np.array_equal(shown[::scale, ::scale], part)
        assert np.array_equal(shown[scale - 1 :: scale, scale - 1 :: scale], part)
    legend = drawn[8 + height + 8 :].reshape(-1, 3).tolist()
    swatch = 14 * 14
    assert [legend.count(colour) for colour in palette.tolist()] == [swatch, 0, 0, swatch]
    assert legend.count([0, 0, 0]) > 20  # letters


def test_any_number_of_classes_and_names_of_any_length():
    mask = np.arange(200, dtype=np.uint8).reshape(10, 20)
    drawn = draw(np.zeros((10, 20, 1), np.uint8), mask, [f"{i} " + "x" * i for i in range(200)])
    assert drawn.width < 2000
    weights = np.array([1 << 16, 1 << 8, 1])
    legend = np.array(drawn)[13 * 10 + 16 :] @ weights
    assert np.isin(colours(200) @ weights, np.unique(legend)).all()


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "mask.png"
    pixels, mask = np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.uint8)
    write(path, pixels, mask, CLASSES)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")

    def full(self, file, *_):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        write(path, pixels, mask + 1, CLASSES)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["mask.png"]
