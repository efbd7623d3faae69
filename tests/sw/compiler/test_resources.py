from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Fragment, Module, Signal

from haarlequin.hw.bitstream.tools import call
from haarlequin.hw.codes import OperationCode, SignMemory
from haarlequin.hw.common.sliced_memory import SlicedMemory, sized_memory
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.gowin import GOWIN
from haarlequin.hw.families.ice40 import ICE40
from haarlequin.hw.lanes.sign_memories import sign_parts
from haarlequin.hw.link.protocol import COUNTERS_MEMORY, SETTINGS_MEMORY
from haarlequin.hw.machine import memories as host_memories
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import PRESETS, preset
from haarlequin.models.widths import Widths
from haarlequin.sw.compiler import compile_model
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.resources import (
    DoesNotFit,
    Operation,
    Plain,
    Table,
    bit_macs,
    check_memories,
    check_shapes,
    ideal_cycles,
    memories,
    multipliers,
    operations,
)
from tests.small_machines import MACHINES

pytestmark = pytest.mark.slow


def test_the_ideal_cycles_of_tiny_are_its_binary_products():
    """N·C²·(6 + 2r) of the linears, two bands of N²·C scores, N²·C of context, over 64 × 128 bits a cycle."""
    products = 64 * 128 * 128 * 14 + 3 * 64 * 64 * 128
    assert ideal_cycles(preset("cifar10-tiny"), CONFIGS["64x128"]) == 7 * products / (64 * 128) == 13888


def test_a_convolution_has_nine_products_for_each_two_channels():
    config = preset("digits").with_(stages="/1 c16x2")
    assert bit_macs(config) == {OperationCode.CONVOLUTION: 2 * 64 * 9 * 16**2}


@pytest.mark.parametrize(
    ("words", "width", "family", "blocks"),
    [
        (512, 36, ECP5, 1),
        (513, 36, ECP5, 2),
        (512, 37, ECP5, 2),
        (12_800, 128, ECP5, 100),  # 25 × 4 of 512 × 36
        (8192, 12, ECP5, 6),
        (16_384, 1, ECP5, 1),
        (256, 12, ECP5, 0),  # 16 × 3 distributed RAMs
        (256, 13, ECP5, 1),
        (256, 16, ICE40, 1),
        (1024, 64, ICE40, 16),
        (64, 8, ICE40, 1),  # it has no distributed RAM
    ],
)
def test_block_rams_at_their_best_shape(words, width, family, blocks):
    assert Plain("m", "", 0, words, width).blocks(family) == blocks


@pytest.mark.parametrize(
    ("width", "written", "blocks"),
    [
        (128, 32, 4),  # 4 parts of 4 enables, 4 to a block RAM
        (64, 8, 2),
        (64, 2, 8),  # 32 parts of one enable, of whose 9 bits 7 are left
    ],
)
def test_bits_that_are_written_alone_have_enables_of_their_own(width, written, blocks):
    assert Plain("m", "", 0, 512, width, written).blocks() == blocks


class Only(Elaboratable):
    """The memories of a plan, made as the machine makes them, with all their ports for pins."""

    def __init__(self, memories):
        self.memories, self.pins = memories, []

    def elaborate(self, platform):
        m = Module()
        for memory in self.memories:
            if isinstance(memory, Table):
                made = SlicedMemory(memory.width, memory.words, memory.spare)
                write, reads = made.write, [made.read]
            else:
                made = sized_memory(memory.width, memory.words)
                write = made.write_port(granularity=memory.written)
                reads = [
                    made.read_port(transparent_for=[write] * (memory.reads > 1)) for _ in range(memory.reads)
                ]
            m.submodules[memory.name.replace(" ", "_")] = made
            for port in (write, *reads):
                for name in port.signature.members:
                    inside = getattr(port, name)
                    pin = Signal.like(inside, name=f"pin_{len(self.pins)}")
                    self.pins.append(pin)
                    out = port is not write and name == "data"
                    m.d.comb += pin.eq(inside) if out else inside.eq(pin)
        return m


@pytest.mark.parametrize(
    ("model", "machine", "family"),
    [
        ("digits", "2x64", ECP5),
        ("cifar10-nano", "8x64", ECP5),
        ("cifar10-tiny", "32x128", ECP5),
        ("cifar10-nano", "8x64", GOWIN),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_plan_has_the_block_rams_that_yosys_makes(model, machine, family, tmp_path):
    """Memory by memory. The rest of a machine takes none."""
    planned = memories(lower(GoldenModel.blank(preset(model)), CONFIGS[machine]))
    only = Only(planned)
    fragment = Fragment.get(only, None)
    (tmp_path / "top.il").write_text(rtlil.convert(fragment, ports=only.pins), encoding="utf-8")
    kinds = " ".join(f"t:{kind}" for kind in family.cells["bram"])
    script = f"read_rtlil top.il\n{family.prepare}\n{family.synth} -top top -run :map_ffram\n"
    (tmp_path / "top.ys").write_text(f"{script}select -write cells.txt {kinds}\n", encoding="utf-8")
    call("yosys", ["-q", "-s", "top.ys"], tmp_path)
    cells = (tmp_path / "cells.txt").read_text().split()
    counted = Counter(cell.removeprefix("top/").partition(".")[0].replace("_", " ") for cell in cells)
    assert counted == Counter({memory.name: memory.blocks(family) for memory in planned})


@pytest.mark.parametrize("machine", ["2x64", "8x64", "64x128-large"])
def test_the_plan_has_every_memory_that_the_host_fills(machine):
    """As large as the machine makes it."""
    config = CONFIGS[machine]
    planned = {
        memory.name: (memory.width, memory.words)
        for memory in memories(lower(GoldenModel.blank(preset("digits")), config))
    }
    filled = {memory.name: (memory.width, memory.depth) for memory in host_memories(config)}
    for name in (SETTINGS_MEMORY, COUNTERS_MEMORY):  # registers, distributed RAM
        del filled[name]
    assert filled.items() <= planned.items()
    assert planned.keys() - filled.keys() - {"bank C"} == {"signs 0", "signs 1", "bank A", "bank B", "rows"}


@pytest.mark.parametrize(
    ("model", "machine", "blocks"),
    [
        ("cifar10-nano", "8x64", 56),  # all that an ECP5-25F has
    ],
)
def test_plans_of_machines_that_were_routed(model, machine, blocks):
    assert (
        sum(memory.blocks() for memory in memories(lower(GoldenModel.blank(preset(model)), CONFIGS[machine])))
        == blocks
    )


@pytest.mark.parametrize(("rows", "blocks"), [(128, 0), (1024, 2), (4096, 6)])
def test_maxima_of_scores_are_read_twice(rows, blocks):
    """By the next tile of a row and by its softmax: each has block RAMs of its own, of 12 bits a word."""
    lowered = lower(GoldenModel.blank(preset("digits")), replace(CONFIGS["16x64"], rows=rows))
    (made,) = (memory for memory in memories(lowered) if memory.name == "rows")
    assert made.blocks() == blocks


def test_chunks_of_windows_are_memories_of_their_own():
    """A block RAM for each chunk of 8 bits; chunks of 4 bits are made of distributed RAMs. In memory 1 the
    lower half of a word is one memory.
    """
    found = {}
    for lanes, width in ((4, 96), (8, 96), (48, 96), (16, 384)):
        machine = replace(CONFIGS["2x64"], lanes=lanes, width=width, signs=512, windows=2)
        for which in SignMemory:
            parts = tuple(lanes * len(chunks) for chunks in sign_parts(machine, which))
            found[lanes, which] = Plain("signs", "", 0, 512, width, lanes, parts=parts).blocks()
    assert found == {
        (4, 0): 0,
        (4, 1): 3,
        (8, 0): 12,
        (8, 1): 8,
        (48, 0): 4,
        (48, 1): 4,
        (16, 0): 24,
        (16, 1): 18,
    }


@pytest.mark.parametrize(("machine", "blocks"), [("32x128", 201), ("64x128", 224)])
def test_seven_layers_of_tiny_on_an_85f(machine, blocks):
    """It has 208 block RAMs: 32 lanes fit, 64 do not, and an eighth layer fits neither."""
    config, model = CONFIGS[machine], preset("cifar10-tiny")
    assert sum(memory.blocks() for memory in memories(lower(GoldenModel.blank(model), config))) == blocks
    with pytest.raises(DoesNotFit, match=r"weights by 1536 of 12800 words; constants by "):
        check_memories(lower(GoldenModel.blank(model.with_(layers=8)), config))


@pytest.mark.parametrize(
    ("machine", "count"), [("2x64", 9), ("8x64", 27), ("16x128", 43), ("32x128", 90), ("64x128", 157)]
)
def test_multipliers(machine, count):
    """What docs/architecture.md says; an ECP5-85F has 156."""
    assert multipliers(CONFIGS[machine]) == count


def test_bank_b_has_x_of_two_images():
    model, machine = GoldenModel.blank(preset("cifar10-tiny")), CONFIGS["32x128"]
    used = {memory.name: memory.used for memory in memories(lower(model, machine))}
    assert used["bank B"] == 2 * 128 // 32 * 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": (8, 68)}, "columns of the token grid 17, 16 at most"),
        ({"image": (36, 32)}, "tokens of an attention 72, 64 at most"),
        ({"image": (80, 64)}, "tokens 320, 256 at most; values of an embedded image 40960, 16384 at most"),
        ({"stages": "p2 c96x1"}, "tokens 256|values of an embedded image 24576, 16384 at most"),
        ({"segmentation": True, "classes": tuple("ab")}, "words of answers 16, 0 at most"),
        ({"dim": 130}, "channels 130, 128 at most"),
        ({"patch": 8}, "values of a patch 192, 48 at most"),
        ({"classes": tuple("abcdefghijk")}, "classes 11, 10 at most"),
        ({"theta": 5}, "taps a side of the local convolution 5, 3 at most"),
        ({"image": (128, 128), "diba": False}, "signs of a sum 2048, 2047 at most"),
        ({"mlp_ratio": 16}, "repeats of the MLP 16, 8 at most; signs of a sum 2048, 2047 at most"),
        ({"heads": 1, "dim": 128}, "half of a score's largest value 4032|the score's shift 6, 5 at most"),
        ({"widths": Widths(wide=16)}, "cifar10-tiny: its widths differ from those of 32x128"),
    ],
)
def test_what_is_too_large_is_named(changes, message):
    layers = {} if "stages" in changes else {"layers": 1}
    model = preset("cifar10-tiny").with_(**layers, **changes)
    with pytest.raises(DoesNotFit, match=message):
        check_shapes(GoldenModel.blank(model), CONFIGS["32x128"])


@pytest.mark.parametrize(
    ("stages", "inputs", "outputs"),
    [
        ("/1 c6x1 c24x1", 6, 24),  # a tile that is not full
        ("/1 c3x1 c12x1", 3, 12),
        ("/1 c2x1 c4x1", 2, 4),
        ("/1 c8x1 c4x1", 8, 4),  # fewer than those of a token
        ("/1 c4x1 c8x1 c4x1", 8, 4),  # the second one
    ],
)
def test_a_merge_that_no_machine_has_is_refused_in_one_line(stages, inputs, outputs):
    said = "network: 4x16 merges multiples of 4 channels, its lanes, into as many or more, not {} into {}"
    model = GoldenModel.blank(preset("digits").with_(name="network", stages=stages))
    with pytest.raises(DoesNotFit) as caught:
        check_shapes(model, MACHINES["4x16"])
    assert str(caught.value) == said.format(inputs, outputs)


@pytest.mark.parametrize("layer", [0, 1])
def test_scores_of_every_layer_are_within_a_wide_word(layer):
    """Each layer has weights of its own."""
    model = GoldenModel.blank(preset("digits").with_(layers=2))
    config = model.config
    largest = 2 * 2047 // config.head_dim
    for name, weight in (("layers.0", largest), ("layers.1", largest)):
        model.constants[f"{name}.attention.score_weight"] = np.array([weight, 0])
    check_shapes(model, CONFIGS["16x64"])
    model.constants[f"layers.{layer}.attention.score_weight"] = np.array([largest + 1, 0])
    with pytest.raises(DoesNotFit, match="half of a score's largest value"):
        check_shapes(model, CONFIGS["16x64"])


def test_classes_of_tokens_leave_the_lanes_at_once():
    model = preset("camvid-16x12")
    check_shapes(GoldenModel.blank(model), CONFIGS["32x128-masks"])
    many = model.with_(classes=tuple(f"class {i}" for i in range(33)))
    with pytest.raises(DoesNotFit, match="classes, of a segmentation network, 33, 32 at most"):
        check_shapes(GoldenModel.blank(many), CONFIGS["32x128-masks"])


def test_scores_too_fine_for_the_softmax_are_refused():
    """Its index would be shifted by the wrong number of places."""
    widths = Widths(score_weight=4)
    machine = replace(CONFIGS["16x64"], widths=widths)
    model = preset("digits").with_(dim=8, heads=8, widths=widths)
    assert model.score_shift == 0
    with pytest.raises(DoesNotFit, match="digits is too fine for 16x64: the score's shift 0, 2 at least"):
        check_shapes(GoldenModel.blank(model), machine)


@pytest.mark.parametrize(
    ("memory", "machine", "changes"),
    [
        ("weights", "16x64", {"layers": 8}),
        ("program", "16x64", {"layers": 8}),
        ("bank A", "2x64", {"heads": 8}),
        ("rows", "2x64", {"heads": 8}),
    ],
)
def test_a_memory_too_small_is_named_with_the_excess(memory, machine, changes):
    model = GoldenModel.blank(preset("digits").with_(**changes))
    used = {m.name: m.used - m.words for m in memories(lower(model, CONFIGS[machine]))}[memory]
    assert used > 0
    with pytest.raises(
        DoesNotFit, match=rf"digits is too large for {machine}: .*{memory} by {used} of \d+ words"
    ):
        compile_model(model, CONFIGS[machine])


@pytest.mark.parametrize("changes", [{}, {"hfsc": False}, {"diba": False}, {"mlp_ratio": 1}])
@pytest.mark.parametrize(("model", "machine"), [("digits", "16x64"), ("cifar10-tiny", "64x128")])
def test_no_operation_does_more_than_the_array_can(model, machine, changes):
    config = CONFIGS[machine]
    program = compile_model(GoldenModel.blank(PRESETS[model].with_(**changes)), config, check=False)
    counted = operations(program.lowered)
    assert sum(operation.bit_macs for operation in counted) == sum(
        bit_macs(program.lowered.model.config).values()
    )
    for operation in counted:
        assert operation.bit_macs <= operation.cycles * config.lanes * config.width, operation.name


def test_an_operation_that_a_network_lacks_keeps_no_lane_busy():
    """It is in the table of operations as well, with no cycle."""
    assert Operation("Merge", 0, 0, 0).busy(CONFIGS["2x64"]) == 0
