"""Golden models as firmware: every tensor, logit and saturation, on the emulated core."""

from itertools import islice

import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.scalar.isa import memories
from haarlequin.models.config import vit
from haarlequin.models.golden import GoldenModel
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import PRESETS
from haarlequin.sw.compiler import CompilerError
from haarlequin.sw.compiler.resources import DoesNotFit
from haarlequin.sw.scalar.firmware import firmware
from haarlequin.sw.scalar.program import ScalarProgram, compare_run, compile_model, random_image, run
from haarlequin.sw.targets import fits
from tests.sw.scalar.models import random_models

pytestmark = pytest.mark.slow

SCALAR = CONFIGS["scalar"]

WHOLE = vit(
    name="random",
    image=(2, 3),
    channels=1,
    mean=(128.0,),
    patch=1,
    dim=32,
    heads=2,
    layers=2,
    classes=("a", "b"),
    mlp_ratio=2,
    theta=3,
)
"""A small network with everything in it."""


def again(program: ScalarProgram, seed: int, **words: list[int]) -> None:
    """Another image through the program, with some of its words replaced."""
    pixels = random_image(program.model.config, seed)
    compare_run(program, run(program.words | words, pixels), pixels)


@pytest.mark.parametrize("seed", range(8))
def test_random_models(seed):
    for model in islice(random_models(seed), 4):
        program = compile_model(model, SCALAR)
        again(program, seed=1)


@pytest.fixture(scope="module")
def program() -> ScalarProgram:
    return compile_model(freeze(random_model(WHOLE, 5)), SCALAR)


def changed(words: list[int], place: int, bit: int) -> list[int]:
    return [*words[:place], words[place] ^ 1 << bit, *words[place + 1 :]]


def test_a_constant_that_is_wrong_is_seen_where_it_is_used(program):
    first = SCALAR.pixels // 2  # the first channel's bias, of the embedding
    with pytest.raises(CompilerError, match=r"embedding\.x, token 0, channel 0: expected"):
        again(program, 1, data=changed(program.words["data"], first, 13))


@pytest.mark.parametrize("tensor", ["x_lo", "query.lo", "value", "attention", "expand", "reduce"])
def test_a_difference_names_its_tensor(program, tensor):
    """What is stored in its place is looked at, in the last layer too."""
    pixels, made = random_image(program.model.config, 0), program.firmware
    emulator = run(program.words, pixels)
    stores, name = emulator.stores, f"layers.{{layer}}.{tensor}"
    number, address = next(
        (number, buffer.address)
        for number, buffers in enumerate(made.milestones)
        for buffer in buffers
        if buffer.tensor == name
    )
    complete = max(i for i, store in enumerate(stores) if store == (made.milestone_address, number))
    place = max(i for i, (where, _) in enumerate(stores[:complete]) if where == address)
    stores[place] = address, stores[place][1] ^ 1
    with pytest.raises(CompilerError, match=rf"layers\.1\.{tensor}.* 0, .* 0: expected"):
        compare_run(program, emulator, pixels)


def test_an_instruction_that_is_wrong_is_seen(program):
    code = program.words["code"]
    rounding = next(place for place, word in enumerate(code) if word & 0x3F == 7 | 3 << 4)
    with pytest.raises(CompilerError):
        again(program, 1, code=changed(code, rounding, 0))


def test_what_the_host_gets(program):
    tables = program.compiled()
    assert tables.memories == memories(SCALAR.data, SCALAR.pixels)
    assert tables.words["settings"] == [6, 2]
    assert tables.operations == {"firmware": program.cycles}
    assert tables.digest == SCALAR.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": 24}, "channels 24, no multiple of 16; channels of a head 12, no multiple of 16"),
        ({"image": (5, 4)}, "tokens 20, 16 at most"),
        ({"mlp_ratio": 16}, "channels of the MLP 512, 256 at most"),
        ({"image": (2, 2), "dim": 256, "mlp_ratio": 1, "layers": 12}, "more than 65,535 words"),
    ],
)
def test_what_does_not_fit(changes, message):
    with pytest.raises(DoesNotFit, match=f"random does not fit scalar: .*{message}"):
        firmware(GoldenModel.blank(WHOLE.with_(**changes)), SCALAR)


def test_which_presets_fit():
    for machine in (SCALAR, CONFIGS["scalar-43k"]):
        assert [name for name, model in PRESETS.items() if fits(GoldenModel.blank(model), machine)] == [
            "digits"
        ]


@pytest.mark.parametrize("check", [True, False])
def test_it_is_checked_unless_the_caller_does_not_want_to(monkeypatch, check):
    checked = []
    monkeypatch.setattr("haarlequin.sw.scalar.program.compare_run", lambda *given: checked.append(given[0]))
    program = compile_model(freeze(random_model(WHOLE.with_(layers=1), 5)), SCALAR, check=check)
    assert checked == [program] * check
