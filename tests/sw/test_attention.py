"""`haarlequin attention`: its figures against plain ones, and what counts as dead."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.attention import Correlation, inspect, main

DIGITS = preset("digits").with_(name="seen", stages="p2 t16x1h2 =t16x1w2")


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=40), st.integers(1, 5)
)
def test_the_correlation_of_parts_is_that_of_the_whole(pairs, parts):
    x, y = np.array(pairs).T
    correlation = Correlation()
    for part in np.array_split(np.arange(len(x)), parts):
        correlation.add(x[part], y[part])
    constant = np.ptp(x) == 0 or np.ptp(y) == 0
    expected = 0.0 if constant else np.corrcoef(x, y)[0, 1] ** 2
    assert correlation.r_squared == pytest.approx(expected, abs=1e-9)


def test_layers_of_a_random_network():
    model = freeze(random_model(DIGITS, 3))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), np.uint8)
    layers = inspect(model, pixels)
    assert [layer.place.name for layer in layers] == ["layers.0", "layers.1"]
    trace = {}
    model(pixels, trace)
    for layer in layers:
        k = trace[f"{layer.place.name}.attention"].sum(-1).mean((0, 2))
        assert layer.chosen / layer.tokens == pytest.approx(k)
        assert 0 <= layer.own.r_squared <= 1
        assert 0 <= layer.others.r_squared <= 1


def _golden(**constants):
    model = freeze(random_model(preset("digits").with_(layers=1), 0))
    for name, value in constants.items():
        model.constants[f"layers.0.attention.{name}"][...] = value
    return type(model)(model.config, model.constants)


@pytest.mark.parametrize(
    ("constants", "dead"),
    [
        ({"threshold": 1}, ["head 0", "head 1"]),
        ({"threshold": [1, 9000], "score_weight": [9, 0]}, ["high band", "head 0"]),
        ({"threshold": 9000, "score_weight": [0, 9]}, ["low band"]),
    ],
)
def test_what_is_dead(constants, dead):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8)
    (layer,) = inspect(_golden(**constants), pixels)
    assert [name for name in layer.dead if "band" in name] == [name for name in dead if "band" in name]
    assert set(dead) <= set(layer.dead)


def test_heads_that_choose_are_alive():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8)
    (layer,) = inspect(_golden(score_weight=20, threshold=4000), pixels)
    assert layer.dead == []


def test_the_command(capsys):
    main(["digits", "--images", "5"])
    said = capsys.readouterr().out
    assert said.startswith("digits: p2 t64x4, 5 validation images\n\n| layer | α |")
    assert said.endswith("\nno dead bands or heads\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--images", "0"], "--images must be at least 1, not 0"),
        (["cifar10-nano"], "name the folder of the images of cifar10-nano, with --data DIR"),
    ],
)
def test_what_it_refuses(words, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {message}\n"
