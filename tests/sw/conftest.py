"""The trained digits as a compiled model, its test images and what the golden model makes of them."""

import numpy as np
import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.models import arithmetic, data
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import preset
from haarlequin.sw import table_folder as compiled
from haarlequin.sw.devices import CompiledModel
from haarlequin.sw.resolve import ModelSource

MACHINE = CONFIGS["16x64"]


@pytest.fixture(scope="session")
def trained_digits() -> CompiledModel:
    return ModelSource("digits").compiled(MACHINE.digest)


@pytest.fixture(scope="session")
def test_set() -> data.Split:
    return data.load("digits").test


@pytest.fixture(scope="session")
def pictures(test_set) -> np.ndarray:
    """The first test images, uint8 (n, 8, 8, 1)."""
    return test_set.pixels[:6]


def answers(model: CompiledModel, pictures: np.ndarray) -> list[tuple[list[int], int, int]]:
    """Of each picture the logits, cycles and saturations."""
    found = []
    for picture in pictures:
        with arithmetic.count_saturations() as counter:
            logits = model.golden(picture[None])[0]
        found.append((logits.tolist(), model.tables.cycles, counter.clipped))
    return found


@pytest.fixture(scope="session")
def expected(trained_digits, pictures) -> list[tuple[list[int], int, int]]:
    """Their answers; the cycles are a measured and published figure."""
    assert trained_digits.tables.cycles == 4918
    return answers(trained_digits, pictures)


@pytest.fixture(scope="session")
def small_onnx(tmp_path_factory):
    """A model of three classes and one layer, random."""
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    config = preset("digits").with_(name="small", layers=1, classes=("ant", "bee", "cat"))
    save(export(freeze(random_model(config, 0))), path)
    return path


@pytest.fixture(scope="session")
def digits_tables(trained_digits, tmp_path_factory):
    """The folder that sw/compile.py would write."""
    folder = tmp_path_factory.mktemp("tables") / "digits"
    compiled.save(trained_digits.tables, folder)
    return folder


@pytest.fixture(scope="session")
def other_digits() -> CompiledModel:
    """The same for an accelerator that is not simulated here."""
    return ModelSource("digits").compiled(CONFIGS["2x64"].digest)


@pytest.fixture(scope="session")
def other_tables(other_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "other"
    compiled.save(other_digits.tables, folder)
    return folder
