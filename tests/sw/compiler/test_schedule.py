"""The schedule: nothing collides, nothing is early, and little is late."""

from collections import Counter

import pytest

from haarlequin.hw.codes import Activation, Operand, SignMemory
from haarlequin.hw.config import CONFIGS
from haarlequin.hw.timing import timing
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.encode import changed_groups
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.resources import embedding_cycles, ideal_cycles
from haarlequin.sw.compiler.schedule import schedule


@pytest.mark.parametrize(
    ("model", "machine", "cycles"),
    [
        ("digits", "2x64", 44_197),
        ("digits", "4x64", 22_030),
        ("digits", "16x64", 5482),
        ("cifar10-nano", "8x64", 38_030),
        ("cifar10-nano", "16x64", 18_829),
        ("cifar10-tiny", "32x128", 38_179),
        ("cifar10-tiny", "64x128", 18_750),
    ],
)
def test_cycles_of_the_presets(model, machine, cycles):
    """What docs and README say; `make sim` compares them with the machine's own count."""
    lowered = lower(GoldenModel.blank(preset(model)), CONFIGS[machine])
    starts = schedule(lowered)
    assert starts[-1] + lowered.passes[-1]["cycles"] == cycles
    assert sum(item["cycles"] for item in lowered.passes) == cycles


def test_tiny_uses_70_percent_of_64_lanes():
    model, machine = preset("cifar10-tiny"), CONFIGS["64x128"]
    lowered = lower(GoldenModel.blank(model), machine)
    schedule(lowered)
    cycles = sum(item["cycles"] for item in lowered.passes)
    assert embedding_cycles(model, machine) <= cycles
    assert ideal_cycles(model, machine) / cycles > 0.70


def writes(item, start, stages):
    """(cycle, memory, word) of a pass's results, from its fields alone."""
    interval = 1 + item["double"]
    for token in range(item["skip"], item["stop"]):
        cycle = start + token * interval + stages.write
        for memory in SignMemory:
            if item[memory.writes]:
                yield cycle, memory, item["bits_base"] + token
        if item["write_a"]:
            yield cycle, "bank A", item["base_a"] + token
        if item["write_b"]:
            yield cycle, "bank B", item["base_b"] + token


def reads(item, start, stages):
    """(cycle, memory, word) of a pass's operands."""
    interval = 1 + item["double"]
    for token in range(item["skip"], item["stop"]):
        cycle = start + token * interval
        if item["activation"] == Activation.SIGNS_0 or item["row_mask"]:
            yield cycle, SignMemory.SIGNS_0, item["signs_0"] + token
        if item["activation"] == Activation.SIGNS_1:
            yield cycle, SignMemory.SIGNS_1, item["signs_1"] + token
        if item["partial"]:
            yield cycle + stages.partial, "bank A", item["partial_base"] + token
        if item["shortcut"] != Operand.NONE:
            bank = {Operand.BANK_A: "bank A", Operand.BANK_B: "bank B"}[item["shortcut"]]
            yield cycle + stages.shortcut, bank, item["shortcut_base"] + token
        if item["residual"]:
            yield cycle + stages.residual, "bank B", item["residual_base"] + token


@pytest.mark.parametrize("change", [{}, {"hfsc": False}, {"dim": 96, "heads": 3}, {"mlp_ratio": 1}])
def test_ports_and_order(change):
    """Told once more, without the softmax: a port serves one access a cycle, in the order of the passes."""
    machine = CONFIGS["16x64"]
    model = preset("digits").with_(layers=2, **change)
    if model.dim > machine.max_channels:
        machine = CONFIGS["32x128"]
    lowered, stages = lower(GoldenModel.blank(model), machine), timing(machine)
    starts = schedule(lowered)
    taken, written = Counter(), {}
    for number, (item, start) in enumerate(zip(lowered.passes, starts, strict=True)):
        assert item["cycles"] >= item["tokens"] * (1 + item["double"])
        # The next pass is read meanwhile, one update per cycle. After the last pass comes the first, all new.
        last = number == len(lowered.passes) - 1
        before, after = (None, 0) if last else (item.fields, number + 1)
        updates = changed_groups(machine, before, lowered.passes[after].fields)
        assert item["cycles"] > len(updates)
        for cycle, memory, word in reads(item, start, stages):
            taken[memory, "read", cycle] += 1
            # Written by the pass that the order of passes says, and early enough.
            assert written.get((memory, word), (-1, -1))[1] <= cycle, f"pass {number} reads {memory} early"
        for cycle, memory, word in writes(item, start, stages):
            taken[memory, "write", cycle] += 1
            assert written.get((memory, word), (-1, -1))[1] < cycle
            written[memory, word] = number, cycle
    assert max(taken.values()) == 1
