"""Fields that do not matter."""

import random
from dataclasses import replace

import pytest

from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import pass_layout
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.presets import preset
from haarlequin.sw.compiler import check_words, compile_model
from haarlequin.sw.compiler.dont_care import USED, keep_idle
from haarlequin.sw.compiler.encode import program_words
from haarlequin.sw.compiler.passes import Pass
from tests.small_machines import MACHINES


def idle(item: Pass) -> list[str]:
    """Of a pass."""
    return [name for name, reasons in USED.items() if not any(item[reason] for reason in reasons)]


def test_they_keep_what_they_were():
    loads = Pass(
        "a", {"load_constants": 1, "constants_base": 7, "local_base": 3, "load_local": 1, "shortcut_base": 9}
    )
    passes = [loads, Pass("b", {"constants_base": 4}), Pass("c", {"load_local": 1, "local_base": 5})]
    keep_idle(passes)
    assert [item["constants_base"] for item in passes] == [7, 7, 7]
    assert [item["local_base"] for item in passes] == [3, 3, 5]
    assert [item["shortcut_base"] for item in passes] == [0, 0, 0]


@pytest.mark.parametrize(
    ("changes", "machine"),
    [
        ({"layers": 1}, "16x64"),
        ({"stages": "p2 t30x1h1w2", "hfsc": False}, "3x24"),  # signs of a window, in two steps
        (
            {"stages": "/1 c3x2 a12x1w2"},
            "3x24",
        ),  # words of three tokens, pairs of taps, four tokens in a word
        ({"stages": "/2 c8x1 =a8x1 t16x1"}, "4x16"),
        ({"stages": "p2 c4x1 a8x1h2", "segmentation": True}, "4x16"),
    ],
)
def test_whatever_they_are_the_results_are_the_same(changes, machine):
    machine = MACHINES.get(machine) or CONFIGS[machine]
    generator, layout = random.Random(0), pass_layout(machine)
    changes = {"classes": ("a", "b", "c")} | changes
    model = freeze(random_model(preset("digits").with_(**changes), seed=0))
    program = compile_model(model, machine, check=False)
    scrambled = [
        item.fields | {name: generator.getrandbits(layout[name].width) for name in idle(item)}
        for item in program.lowered.passes
    ]
    words = program.words | {"program": program_words(machine, scrambled)}
    check_words(replace(program, words=words))
