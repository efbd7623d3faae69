import numpy as np
import pytest
import torch

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.network.segmenter import Segmenter, SegmenterConfig

CONFIG = SegmenterConfig("wide", (32, 48), 3, (1.0, 2.0, 3.0), ("a", "b", "c"), blocks=1, width=1)


def test_a_token_answers_for_the_pixels_at_its_place():
    """A pixel changes the tokens around it, row by row, and none far away."""
    torch.manual_seed(0)
    model, rows, columns = Segmenter(CONFIG).eval(), 8, 12
    assert CONFIG.grids == ((32, 48), (16, 24), (rows, columns))
    dark = torch.zeros(1, 32, 48, 3, dtype=torch.uint8)
    before = model(dark)
    assert before.shape == (1, rows * columns, 3)
    for y, x in ((0, 47), (31, 0), (16, 24)):
        light = dark.clone()
        light[0, y, x] = 255
        changed = np.argwhere((model(light) != before).any(-1)[0].reshape(rows, columns).numpy())
        assert [y // 4, x // 4] in changed.tolist()
        assert np.abs(changed - [y // 4, x // 4]).max() <= 4


def test_what_no_network_can_have():
    with pytest.raises(ConfigError, match="image must be a height and a width of at least 4"):
        SegmenterConfig("wide", (2, 48), 3, (1.0, 2.0, 3.0), ("a", "b"))
    assert SegmenterConfig.from_json(CONFIG.to_json()) == CONFIG
