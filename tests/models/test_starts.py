"""Every network of models/starts is one that `haarlequin train --from` takes."""

from pathlib import Path

import pytest

from haarlequin.models.network import checkpoint
from haarlequin.models.presets import preset

STARTS = sorted((Path(__file__).parents[2] / "models" / "starts").glob("*.safetensors"))


@pytest.mark.parametrize("path", STARTS, ids=lambda path: path.stem)
def test_it_is_the_float_phase_of_its_preset(path):
    model = checkpoint.load(path)
    assert model.config == preset(path.stem)
    assert not model.deployed
