"""The memory that a head for each token needs."""

from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.lower import lower
from tests.small_machines import MACHINES


def test_its_signs_take_a_word_of_each_token_for_each_step():
    """Of 40 channels on words of 16 bits, which are three; no layer before it has signs in that memory."""
    config = preset("digits").with_(stages="/1 c40x1", image=(4, 6), classes=("a", "b"), segmentation=True)
    assert lower(GoldenModel.blank(config), MACHINES["4x16"]).uses.signs_1 == 3 * config.tokens
