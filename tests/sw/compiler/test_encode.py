import numpy as np
import pytest
from amaranth.hdl import signed
from amaranth.lib import data
from hypothesis import given
from hypothesis import strategies as st

from haarlequin.hw.program import pass_layout
from haarlequin.hw.settings import SETTINGS_WORD, settings_layout
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.compiler.emulate import passes, unpack, unpack_bits
from haarlequin.sw.compiler.encode import (
    FieldError,
    Packer,
    packed_bits,
    packed_settings,
    program_words,
    settings,
)
from tests.small_machines import MACHINES, SMALLEST

LAYOUT = data.StructLayout({"a": signed(5), "count": 7, "base": 6, "signs_0": 3})


@given(st.integers(-16, 15), st.integers(0, 127), st.integers(-200, 200))
def test_fields_come_back(a, count, base):
    word = Packer(LAYOUT)({"a": a, "count": count, "base": base})
    assert 0 <= word < 1 << LAYOUT.size
    # Addresses wrap around.
    assert unpack(LAYOUT, word) == {"a": a, "count": count, "base": base % 64, "signs_0": 0}


def test_the_lowest_field_comes_first():
    assert Packer(LAYOUT)({"a": -1, "count": 1, "base": 0, "signs_0": 0}) == 0b1_11111


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": 16}, "a = 16 does not fit its 5 bits"),
        ({"a": -17}, "a = -17 does not fit its 5 bits"),
        ({"count": 128}, "count = 128 does not fit its 7 bits"),
        ({"count": -1}, "count = -1 does not fit its 7 bits"),
        ({"b": 0}, "no field b"),
    ],
)
def test_what_does_not_fit(values, message):
    with pytest.raises(FieldError, match=message):
        Packer(LAYOUT)(values)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=70))
def test_bits_come_back(bits):
    word = packed_bits(np.array(bits))
    assert word == sum(bit << i for i, bit in enumerate(bits))
    assert unpack_bits(word, len(bits)).tolist() == bits


def test_passes_come_back_from_their_updates():
    """Also where several groups of fields change at once, and where nothing changes."""
    machine = MACHINES["3x24"]
    names = [name for name, _ in pass_layout(machine)]
    given = [dict.fromkeys(names, value) for value in (1, 0, 0, 1)]
    assert passes(machine, program_words(machine, given)) == given


def test_settings_come_back_from_their_words():
    layout = settings_layout(SMALLEST)
    given = {name: (1 << field.width) - 1 - number % 2 for number, (name, field) in enumerate(layout)}
    words = packed_settings(SMALLEST, given)
    assert len(words) == -(-layout.size // SETTINGS_WORD) > 1
    assert max(words) < 1 << SETTINGS_WORD
    assert unpack(layout, sum(word << SETTINGS_WORD * i for i, word in enumerate(words))) == given


@pytest.mark.parametrize("theta", [1, 3, 5])
def test_the_taps_of_a_local_convolution_are_in_the_middle_of_those_of_the_machine(theta):
    machine = MACHINES["6x18"]
    assert machine.theta == 5
    model = GoldenModel.blank(preset("digits").with_(stages="/1 a6x1", theta=theta))
    taps = unpack_bits(settings(model, machine)["taps"], 25).reshape(5, 5)
    assert taps.sum() == theta**2
    assert taps[2 - theta // 2 : 3 + theta // 2, 2 - theta // 2 : 3 + theta // 2].all()


def test_the_tables_of_the_embedding_have_every_weight_and_position():
    """Also where the last group of channels is not full, and where positions are negative."""
    machine = MACHINES["4x16"]
    assert machine.macs == 3
    config = preset("digits").with_(stages="p2 c4x1", image=(4, 4), classes=("a", "b"))
    model = freeze(random_model(config, seed=0))
    words = compile_model(model, machine, check=False).words
    weight, position = (model.constants[f"embedding.{name}"] for name in ("weight", "position"))
    loaded = np.array([list(word.to_bytes(3, "little")) for word in words["patch weights"]], np.uint8)
    groups = loaded.view(np.int8).reshape(2, weight.shape[1], 3)  # of channels, taps, channels of a group
    padded = np.pad(weight, ((0, 2), (0, 0)))
    assert (groups == padded.reshape(2, 3, -1).transpose(0, 2, 1)).all()
    bits = machine.widths.wide
    assert min(position.ravel()) < 0
    assert [word - (word >> bits - 1 << bits) for word in words["positions"]] == position.ravel().tolist()
