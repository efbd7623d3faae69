"""The schedule: nothing collides, nothing is early, and little is late."""

from collections import Counter
from dataclasses import replace

import pytest

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import CONTEXTS
from haarlequin.hw.timing import NEXT, READ_BEFORE_WRITE, timing
from haarlequin.models.golden import GoldenModel
from haarlequin.models.presets import preset
from haarlequin.sw.compiler.encode import changed_groups
from haarlequin.sw.compiler.lower import lower
from haarlequin.sw.compiler.passes import Pass
from haarlequin.sw.compiler.resources import embedding_cycles, ideal_cycles
from haarlequin.sw.compiler.schedule import _Scheduler, schedule
from tests.small_machines import MACHINES


@pytest.mark.parametrize(
    ("model", "machine", "cycles"),
    [
        ("digits", "2x64", 43_774),
        ("digits", "4x64", 21_875),
        ("digits", "16x64", 4918),
        ("cifar10-nano", "8x64", 36_681),
        ("cifar10-nano", "16x64", 16_652),
        ("cifar10-tiny", "32x128", 33_444),
        ("cifar10-tiny", "64x128", 17_009),
    ],
)
def test_cycles_of_the_presets(model, machine, cycles):
    """What docs and README say; `make sim` compares them with the machine's own count."""
    lowered = lower(GoldenModel.blank(preset(model)), CONFIGS[machine])
    starts = schedule(lowered)
    assert starts[-1] + lowered.passes[-1]["cycles"] == cycles
    assert sum(item["cycles"] for item in lowered.passes) == cycles


@pytest.mark.parametrize(
    ("stages", "image", "cycles"),
    [
        ("/1 a6x2", (2, 2), 681),  # signs for the convolution lie right after those that are being read
        ("/1 c3x3", (1, 2), 146),  # a word of three tokens is complete once the next one has been written
        ("/1 c6x3", (2, 1), 290),
    ],
)
def test_cycles_where_words_have_three_tokens(stages, image, cycles):
    """On grids so small that passes wait for words."""
    lowered = lower(GoldenModel.blank(preset("digits").with_(stages=stages, image=image)), MACHINES["3x24"])
    schedule(lowered)
    assert sum(item["cycles"] for item in lowered.passes) == cycles


def test_tiny_uses_81_percent_of_64_lanes():
    model, machine = preset("cifar10-tiny"), CONFIGS["64x128"]
    lowered = lower(GoldenModel.blank(model), machine)
    schedule(lowered)
    cycles = sum(item["cycles"] for item in lowered.passes)
    assert embedding_cycles(model, machine) <= cycles
    assert ideal_cycles(model, machine) / cycles > 0.81


def grid_place(item, token):
    """Of a token of a window, on the whole grid."""
    return token + token // item["columns"] * item["jump"] if item["columns"] else token


def result_place(item, token):
    """Where a token's results go among those of its pass."""
    if item["merge"]:
        row, column = divmod(token, item["columns"])
        among = row // 2 * (item["columns"] // 2) + column // 2
        return among + row % 2 * item["odd_row"] + column % 2 * item["odd_column"]
    return grid_place(item, token) if item["place_out"] else token


def haar_writes(item, start, stages):
    """The same of the bands that the Haar unit makes, a token in two cycles, when its window is complete."""
    for token in range(item["keys"]):
        cycle = start + stages.haar + 2 * (token + item["columns"] + 1) + HaarUnit.WRITTEN
        for band in range(2):
            yield cycle + band, "bank A", item["haar_low"] + band * item["haar_apart"] + token, True
            for memory in SignMemory:
                word = item["haar_signs"] + band * item["haar_signs_apart"] + token
                yield cycle + band, memory, word, True


def writes(item, start, stages, machine):
    """(cycle, memory, word, whether it takes the port) of a pass's results, from its fields alone."""
    interval, sums = 1 + item["interval"], "bank C" if machine.bank_c else "bank A"
    if item["haar"]:
        yield from haar_writes(item, start, stages)
    for token in range(item["skip"], item["stop"]):
        cycle, place = start + token * interval + stages.write, result_place(item, token)
        for memory in SignMemory:
            if item[memory.writes]:
                yield cycle, memory, item["bits_base"] + place, True
                if item["window"] and memory == SignMemory.SIGNS_0:
                    # Each neighbour has the token in another chunk, in the same cycle.
                    if token > item["skip"]:
                        yield cycle, memory, item["bits_base"] + place - 1, False
                    if token < item["stop"] - 1:
                        yield cycle, memory, item["bits_base"] + place + 1, False
        if item["write_a"]:
            yield cycle, "bank A", item["base_a"] + place, True
        if item["write_c"]:
            yield cycle, sums, item["base_a"] + token, True
        if item["write_b"]:
            at = grid_place(item, token) if item["place_b"] else token
            yield cycle, "bank B", item["base_b"] + at, True


def seen(item, token, chunks, machine):
    """Whether a token sees something of these chunks of its word."""
    row, column = divmod(token, max(1, item["columns"]))
    edges = {
        "above": row == 0,
        "below": token >= item["stop"] - item["columns"],
        "left": column == 0,
        "right": column == item["columns"] - 1,
    }

    def beyond(chunk):
        half = int(chunk >= machine.chunks // 2)
        bits = {"above": half, "below": half} | dict.fromkeys(("left", "right"), half)
        if machine.windows:
            bits |= dict.fromkeys(("left", "right"), chunk)
        return any(edge and item[name] >> bits[name] & 1 for name, edge in edges.items())

    return not all(beyond(chunk) for chunk in chunks)


def reads(item, start, stages, machine):
    """(cycle, memory, word, whether anything of it counts) of a pass's operands."""
    interval, half = 1 + item["interval"], machine.chunks // 2
    sums = "bank C" if machine.bank_c else "bank A"
    if item["load_keys"]:
        for lane in range(machine.lanes):
            word = min(item["weights_base"] + lane, machine.signs - 1)
            yield start + stages.load + lane, SignMemory.SIGNS_1, word, True
    for token in range(item["keys"] + item["columns"] + 1 if item["haar"] else 0):
        counts = token < item["keys"]
        word = item["haar_x"] + grid_place(item, token)
        yield start + stages.haar + 2 * token, "bank B", word, counts
    for token in range(item["stop"] - item["skip"] if item["differential"] or item["local"] else 0):
        yield start + token * interval, SignMemory.SIGNS_1, item["signs_1"] + token, True
    pairs = item["activation"] == Activation.PAIRS
    for token in range(item["skip"], item["stop"]):
        cycle, place = start + token * interval, grid_place(item, token)
        in_signs, in_b = (place if item[name] else token for name in ("place_in", "place_b"))
        if item["activation"] in (Activation.SIGNS_0, Activation.PAIRS):
            chunks = range(half if pairs else machine.chunks)
            yield cycle, SignMemory.SIGNS_0, item["signs_0"] + in_signs, seen(item, token, chunks, machine)
        if item["activation"] in (Activation.SIGNS_1, Activation.PAIRS):
            chunks = range(half if pairs else 0, machine.chunks)
            yield cycle, SignMemory.SIGNS_1, item["signs_1"] + in_signs, seen(item, token, chunks, machine)
        if item["partial"]:
            yield cycle + stages.partial, sums, item["partial_base"] + token, True
        if item["shortcut"] != Operand.NONE:
            bank = {Operand.BANK_A: "bank A", Operand.BANK_B: "bank B"}[item["shortcut"]]
            at = in_b if bank == "bank B" else token
            yield cycle + stages.shortcut, bank, item["shortcut_base"] + at, True
        if item["residual"]:
            yield cycle + stages.residual, "bank B", item["residual_base"] + in_b, True
        if item["accumulate"] and not (item["merge"] and token // item["columns"] % 2 == 0):
            yield cycle + stages.mean, "bank A", item["base_a"] + result_place(item, token), True


def check(lowered, machine):
    """A port serves one access a cycle. Words are read after they are written, and overwritten after they are
    read, in the order of the passes.
    """
    starts, stages = schedule(lowered), timing(machine)
    taken, written, last_read = Counter(), {}, {}
    for number, (item, start) in enumerate(zip(lowered.passes, starts, strict=True)):
        assert item["cycles"] >= item["tokens"] * (1 + item["interval"])
        # The next pass is read meanwhile, one update per cycle. After the last pass comes the first, all new.
        last = number == len(lowered.passes) - 1
        before, after = (None, 0) if last else (item.fields, number + 1)
        updates = changed_groups(machine, before, lowered.passes[after].fields)
        assert item["cycles"] > len(updates)
        where = f"pass {number}, {item.name},"
        own_reads = {}
        for cycle, memory, word, counts in reads(item, start, stages, machine):
            taken[memory, "read", cycle] += 1
            if counts:
                # Written by the pass that the order of passes says, and early enough.
                assert written.get((memory, word), -1) <= cycle, (
                    f"{where} reads word {word} of {memory} early"
                )
                own_reads[memory, word] = max(cycle, own_reads.get((memory, word), -1))
        own_writes = {}
        for cycle, memory, word, alone in writes(item, start, stages, machine):
            taken[memory, "write", cycle] += alone
            assert written.get((memory, word), -1) < cycle
            early = last_read.get((memory, word), -READ_BEFORE_WRITE) + READ_BEFORE_WRITE > cycle
            assert not early, f"{where} overwrites word {word} of {memory} early"
            own_writes.setdefault((memory, word), cycle)
            written[memory, word] = cycle
        for place, cycle in own_reads.items():
            last_read[place] = max(cycle, last_read.get(place, -1))
        if item["merge"] and item["accumulate"]:
            # Rows that are added to the one above read what that one has written.
            again = [
                (cycle, word)
                for cycle, memory, word, _ in reads(item, start, stages, machine)
                if memory == "bank A"
            ]
            assert len(again) == item["stop"] // 2
            for cycle, word in again:
                assert own_writes["bank A", word] <= cycle, f"{where} adds to word {word} early"
    assert max(taken.values()) == 1


@pytest.mark.parametrize("change", [{}, {"hfsc": False}, {"dim": 96, "heads": 3}, {"mlp_ratio": 1}])
def test_ports_and_order(change):
    """Told once more, without the softmax."""
    machine = CONFIGS["16x64"]
    model = preset("digits").with_(layers=2, **change)
    if model.dim > machine.max_channels:
        machine = CONFIGS["32x128"]
    check(lower(GoldenModel.blank(model), machine), machine)


@pytest.mark.parametrize(
    ("stages", "machine"),
    [
        ("/1 c3x2 a12x1w2", "3x24"),  # words of three tokens, pairs of taps, windows; tokens repeated
        ("/1 c6x3 c6x2 a6x1", "3x24"),  # windows of two tiles; four tokens summed
        ("/1 c6x2 c12x2", "3x24"),  # two tokens summed
        ("/2 c6x1 c6x1 c6x1", "3x24"),  # rows so short that sums have to wait
        ("/2 c24x1 c24x1 c48x1", "3x24"),
        ("/2 t4x1w1 c4x1 c16x1", "4x16"),
        ("/2 c8x2 =a8x1 t16x1", "4x16"),
        ("p1 c20x2 t40x1w2", "4x16"),
        ("p1 c8x2 t32x2w4n", "4x16"),
        ("/1 c8x2 t8x1h2 c8x1", "8x8"),
        ("/2 c32x2 a128x1", "32x128"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"hfsc": False, "segmentation": True}])
def test_ports_and_order_of_stages(stages, machine, changes):
    machine = MACHINES.get(machine) or CONFIGS[machine]
    config = preset("digits").with_(stages=stages, mlp_ratio=2, classes=("a", "b", "c"), **changes)
    check(lower(GoldenModel.blank(config), machine), machine)


@pytest.mark.parametrize(
    ("stages", "image", "machine"),
    [
        ("/1 c8x3", (2, 2), "4x16"),  # pairs of taps
        ("/1 c8x3", (4, 1), "4x16"),
        ("/1 c3x3", (2, 2), "3x24"),  # words of three tokens
        ("/1 c16x3", (2, 2), "4x16"),
    ],
)
def test_ports_and_order_where_passes_wait_for_words(stages, image, machine):
    """On grids so small that a word is not yet written when a pass could read it."""
    config = preset("digits").with_(stages=stages, image=image)
    check(lower(GoldenModel.blank(config), MACHINES[machine]), MACHINES[machine])


@pytest.mark.parametrize(
    ("stages", "machine"), [("/1 c8x1", "4x16"), ("/1 c3x1", "3x24"), ("/1 c24x1", "3x24")]
)
@pytest.mark.parametrize("image", [(2, 1), (1, 3), (3, 4)])
def test_a_pass_waits_for_no_word_that_its_tokens_do_not_see(stages, machine, image):
    """Of a pair of taps, the one of sign memory 0 is in the lower half of a word, the other in the upper."""
    machine = MACHINES[machine]
    lowered = lower(GoldenModel.blank(preset("digits").with_(stages=stages, image=image)), machine)
    half = machine.chunks // 2
    for item in lowered.passes:
        pairs = item["activation"] == Activation.PAIRS
        for memory, chunks in (
            (SignMemory.SIGNS_0, range(half if pairs else machine.chunks)),
            (SignMemory.SIGNS_1, range(half if pairs else 0, machine.chunks)),
        ):
            if item["operation"] == OperationCode.CONVOLUTION:
                wanted = [token for token in range(item["stop"]) if seen(item, token, chunks, machine)]
                assert _Scheduler(machine)._seen(item, memory).tolist() == wanted


@pytest.mark.parametrize("image", [(1, 3), (3, 3)])
def test_lanes_without_a_key_load_the_last_word_where_the_memory_ends(image):
    model, large = GoldenModel.blank(preset("digits").with_(stages="/1 t4x1", image=image)), MACHINES["4x16"]
    machine = replace(large, signs=lower(model, large).uses.signs_1)
    lowered = lower(model, machine)
    assert max(item["weights_base"] for item in lowered.passes if item["load_keys"]) > machine.signs - 4
    check(lowered, machine)


@pytest.mark.parametrize("name", ["6x18", "8x8"])
def test_values_wait_for_all_tokens_that_are_shifted_in(name):
    """There are four tokens here, and as many more as make a word of V full."""
    config = preset("digits").with_(image=(4, 4), dim=16, layers=1)
    passes = lower(GoldenModel.blank(config), MACHINES[name]).passes
    values = [item for item in passes if item["shift_values"]]
    assert all(item["tokens"] > item["stop"] == config.tokens for item in values)
    for item in values:
        (signs,) = (each for each in _Scheduler(MACHINES[name])._reads(item) if each.memory in (*SignMemory,))
        assert len(signs.words) == item["tokens"]
    assert values


@pytest.mark.parametrize("tile", range(4))
def test_scores_are_overwritten_once_the_softmax_has_read_them(tile):
    """No model overwrites them so early. Here the pass is as short as a tile, and the softmax reads four."""
    machine, keys, base = MACHINES["4x16"], 13, 60
    scheduler, stages = _Scheduler(machine), timing(machine)
    softmax = {"softmax": 1, "keys": keys, "key_tiles": 4, "scores_base": base}
    scores = {"tokens": keys, "stop": keys, "columns": keys, "write_a": 1, "base_a": base + tile * keys}
    begun, start = (scheduler.place(Pass("", fields)) for fields in (softmax, scores))
    reads = [begun + stages.softmax + row * 4 + tile for row in range(keys)]
    writes = [start + row + stages.write for row in range(keys)]
    assert min(write - read for read, write in zip(reads, writes, strict=True)) == READ_BEFORE_WRITE


def test_a_pass_waits_until_a_context_is_free():
    """The results of a pass need its fields until the last one is written."""
    machine, tokens = MACHINES["4x16"], 6  # as many as a pass has cycles at the least
    scheduler = _Scheduler(machine)
    fields = {"tokens": tokens, "columns": tokens}
    starts = [scheduler.place(Pass("", fields)) for _ in range(3 * CONTEXTS)]
    last = tokens - 1 + timing(machine).write
    assert {after - before for before, after in zip(starts, starts[CONTEXTS:], strict=False)} == {last + NEXT}


def test_local_weights_are_loaded_before_they_are_taken():
    """That is earlier in a pass than weights are. The pass of a first head, which loads them, is short."""
    machine = CONFIGS["16x64"]
    lowered = lower(GoldenModel.blank(preset("digits").with_(stages="/1 t4x1h2", image=(2, 2))), machine)
    starts, stages = schedule(lowered), timing(machine)
    loaded = [
        (begun + stages.swap + machine.lanes, start + stages.local)
        for item, begun, start in zip(lowered.passes, starts, starts[1:], strict=False)
        if item["load_local"]
    ]
    assert min(taken - end for end, taken in loaded) == 0
