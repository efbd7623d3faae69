"""Where the cycles of an image go, as `make sim` writes it: the program's and the machine's own."""

import itertools
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.ends.images import Images
from haarlequin.hw.link.protocol import Frame, FrameType, encode
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.timing import timing
from haarlequin.models.common.places import build_folder
from haarlequin.sim.compare_trace import Events
from haarlequin.sim.simulate import Job, expect, faults_of_job, simulate, simulator
from haarlequin.sim.timeline import UNITS, Activity, TraceError, faults_of, shown_image, timeline
from haarlequin.sim.workload import workload
from haarlequin.sw.compiler.resources import embedding_cycles
from haarlequin.sw.targets import compile_model
from tests.small_machines import MACHINES, SIMULATED, random_programs

pytestmark = pytest.mark.slow


def simulated(program, images, gaps=0, stalls=0):
    job = Job(program, images, expect(program.model, images))
    (outcome,) = simulate(simulator(program.machine, build_folder("sim")), [job], gaps, stalls)
    assert not faults_of_job(job, outcome)
    return program, outcome


@pytest.fixture(scope="module")
def digits():
    """Seven test digits on 16 lanes."""
    what = workload("digits", [], 7)
    return simulated(compile_model(what.model, CONFIGS["16x64"], check=False), what.pixels)


def images_of(program, count):
    config = program.model.config
    shape = count, *config.image, config.channels
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def row(made, unit):
    return [span for span in made["spans"] if span["unit"] == unit]


def due(program):
    """The first cycle of each pass, where no pass waits for weights."""
    cycles = [item["cycles"] for item in program.lowered.passes]
    return [0, *itertools.accumulate(cycles)][: len(cycles)]


def assert_as_scheduled(program, made):
    """Every pass is there once, in order, in the very cycles that the compiler has planned."""
    stages, passes = timing(program.machine), program.lowered.passes
    starts = due(program)
    expected = [
        {"pass": i, "name": item.name, "start": start, "stop": start + item["cycles"]}
        for i, (item, start) in enumerate(zip(passes, starts, strict=True))
    ]
    shown = [{key: one[key] for key in ("pass", "name", "start", "stop")} for one in made["passes"]]
    assert shown == expected
    for unit, stage in (("array", stages.acc), ("post-processing", stages.write)):
        places = [
            (
                i,
                item.name,
                start + stage + item["skip"] * (item["interval"] + 1),
                start + stage + (item["stop"] - 1) * (item["interval"] + 1) + 1,
                item["stop"] - item["skip"],
            )
            for i, (item, start) in enumerate(zip(passes, starts, strict=True))
            if item["stop"] > item["skip"]  # the results of the others count for nothing
        ]
        keys = ("pass", "name", "start", "stop", "tokens")
        assert [tuple(span[key] for key in keys) for span in row(made, unit)] == places
    loads = [
        (i, start + stages.load, start + stages.load + program.machine.lanes)
        for i, (item, start) in enumerate(zip(passes, starts, strict=True))
        if any(item[f"load_{kind}"] for kind in ("weights", "keys", "constants", "local"))
    ]
    assert [(span["pass"], span["start"], span["stop"]) for span in row(made, "loading")] == loads
    split = [i for i, item in enumerate(passes) if item["haar"]]
    assert [span["pass"] for span in row(made, "Haar")] == split
    assert [span["pass"] for span in row(made, "softmax")] == [
        i for i, item in enumerate(passes) if item["softmax"]
    ]


def test_digits(digits):
    program, outcome = digits
    made = timeline(program, outcome, "digits")
    assert json.loads(json.dumps(made)) == made
    assert not faults_of(made, program, outcome)
    head = {key: value for key, value in made.items() if key not in ("spans", "passes", "begin", "end")}
    assert head == {
        "model": "digits",
        "machine": "16x64",
        "lanes": 16,
        "width": 64,
        "image": 3,
        "cycles": 4918,
        "units": list(UNITS),
    }
    assert {span["unit"] for span in made["spans"]} == set(UNITS)
    assert_as_scheduled(program, made)
    layers = {span["layer"] for span in row(made, "array")}
    assert layers == {0, 1, 2, 3}
    assert {span["name"] for span in row(made, "softmax")} == {f"layers.{i}.attention" for i in range(4)}


def test_cycles_of_operations_are_the_machines_own(digits):
    """Counted a second time here, from the passes as they were issued."""
    program, outcome = digits
    made, cycles = timeline(program, outcome, "digits"), Counter()
    for one in made["passes"]:
        cycles[one["operation"]] += one["stop"] - one["start"]
    images = len(outcome.results)
    assert {name: spent / images for name, spent in outcome.counters.items() if spent} == cycles
    assert sum(cycles.values()) == program.cycles == outcome.results[3].cycles


def test_neighbours(digits):
    """Beside image 3, image 6 comes, image 4 is embedded, and the result of image 2 leaves."""
    program, outcome = digits
    made = timeline(program, outcome, "digits")
    margin = made["cycles"] // 20
    assert all(-margin <= span["start"] < span["stop"] <= made["cycles"] + margin for span in made["spans"])
    sent = row(made, "link in")
    assert {span["image"] for span in sent} == {6}
    assert [span["name"] for span in sent] == ["refused image"] * (len(sent) - 1) + ["image"]
    assert [span["image"] for span in row(made, "embedding")] == [4, 5]
    assert [span["image"] for span in row(made, "head")] == [2, 3]
    assert [span["image"] for span in row(made, "link out")] == [2, 3]


def test_an_embedding_takes_as_long_as_the_compiler_says(digits):
    """Of the first image, for which every word can be written at once."""
    program, outcome = digits
    activity = Activity(program, outcome)
    first = next(span for span in activity.spans([0]) if span.unit == "embedding")
    cycles = embedding_cycles(program.model.config, program.machine)
    assert cycles <= first.stop - first.start <= cycles + Images.LATENCY


def test_bytes_of_the_link(digits):
    """Those of an image are as many as its frame has, and none is lost between bursts."""
    program, outcome = digits
    activity = Activity(program, outcome)
    frame = len(encode(Frame(FrameType.IMAGE, 0, payload=bytes(64))))
    assert {sent.stop - sent.first for sent in outcome.sent} == {frame}
    assert len({answer.stop - answer.first for answer in outcome.answered}) == 1
    assert [answer.image for answer in outcome.answered] == list(range(7))
    assert sorted({sent.image for sent in outcome.sent}) == list(range(7))
    for way, transfers in (("rx", outcome.sent), ("tx", outcome.answered)):
        cycles = activity.byte_cycles(way)
        assert np.diff(cycles).min() >= 1
        assert transfers[-1].stop <= len(cycles)
    out = [span for span in activity.spans(range(7)) if span.unit == "link out"]
    assert [span.image for span in out] == list(range(7))
    # The bench may see the last byte together with later ones.
    assert all(span.stop - 1 <= result.done for span, result in zip(out, outcome.results, strict=True))
    assert out[-1].stop - 1 == outcome.results[-1].done


@pytest.mark.parametrize("name", ["4x16", "3x24", "6x36"])
def test_random_models_on_small_machines(name):
    """Stages, merges, windows and segmentation, with a link that pauses on some machines."""
    programs = list(itertools.islice(random_programs(MACHINES[name], seed=3), 12))
    jobs = [
        Job(program, pixels, expect(program.model, pixels))
        for program in programs
        for pixels in [images_of(program, 3)]
    ]
    outcomes = simulate(simulator(MACHINES[name], build_folder("sim")), jobs, *SIMULATED[name])
    for program, outcome in zip(programs, outcomes, strict=True):
        made = timeline(program, outcome, "random")
        assert not faults_of(made, program, outcome)
        assert made["image"] == 1
        assert_as_scheduled(program, made)
    held = {item["interval"] for program in programs for item in program.lowered.passes if item["tokens"]}
    assert max(held) > 0  # tokens that take several cycles are among them


def test_passes_that_wait_for_weights():
    """Cycles in which they wait belong to the pass before, and are counted as late."""
    machine = replace(MACHINES["4x16"], name="4x16-outside", weight_interval=3)
    program = next(random_programs(machine, seed=5))
    program, outcome = simulated(program, images_of(program, 3))
    made = timeline(program, outcome, "random")
    assert not faults_of(made, program, outcome)
    assert outcome.late > 0
    assert Activity(program, outcome).counted()[OperationCode.LATE.title] == outcome.late


@pytest.mark.parametrize(("images", "shown"), [(1, 0), (2, 1), (3, 1), (4, 2), (16, 8)])
def test_the_image_in_the_middle_is_shown(images, shown):
    assert shown_image(images) == shown


def spoilt_events(outcome, change):
    """The outcome with a change in its trace."""
    events = outcome.events
    packed, cycles = events.events.copy(), events.cycles.copy()
    change(events, packed, cycles)
    return replace(outcome, events=Events(events.layout, packed, cycles))


def later(part, number, image=3):
    """One event of a pass of the image that is shown is a cycle late."""

    def change(events, packed, cycles):
        of_pass = (events.bits(f"{part}_valid")[:, 0] == 1) & (events[f"{part}_pass"] == number)
        cycles[np.flatnonzero(of_pass).reshape(7, -1)[image, -1]] += 1

    return change


def dropped(part, number):
    """All events of a pass in a part are missing."""

    def change(events, packed, cycles):
        of_pass = (events.bits(f"{part}_valid")[:, 0] == 1) & (events[f"{part}_pass"] == number)
        place = dict(events.layout)[f"{part}_valid"].offset
        packed[of_pass, place // 8] &= 0xFF ^ 1 << place % 8

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (later("issue", 30), "cycles of .*, and the machine counted"),
        (later("acc", 30), "array does two things in cycle"),
        (dropped("issue", 30), "timeline: 267 passes, not the 268 of the program in order"),
        (dropped("issue", 0), "0 images began in the trace, not 7"),
        (dropped("acc", 30), r"\d+ events of acc, not \d+ for each of 7 images"),
        (dropped("load", 30), r"\d+ events of load, not 267 for each of 7 images"),
    ],
)
def test_a_spoilt_trace_is_seen(digits, change, said):
    program, outcome = digits
    spoilt = spoilt_events(outcome, change)
    try:
        found = faults_of(timeline(program, spoilt, "digits"), program, spoilt)
    except TraceError as error:
        found = [str(error)]
    assert found
    assert any(re.search(said, one) for one in found), found


def test_a_spoilt_timeline_is_seen(digits):
    program, outcome = digits

    def spoil(change):
        made = json.loads(json.dumps(timeline(program, outcome, "digits")))
        change(made)
        return faults_of(made, program, outcome)

    def without(unit):
        return lambda made: made["spans"].remove(row(made, unit)[5])

    def longer(made):
        row(made, "array")[5]["stop"] += 100

    def swapped(made):
        one, other = row(made, "array")[4:6]
        one["pass"], other["pass"] = other["pass"], one["pass"]

    def more(made):
        made["cycles"] += 1

    assert not spoil(lambda made: None)
    assert "array differs from the program from its span 5 on" in spoil(without("array"))[0]
    assert "post-processing differs" in spoil(without("post-processing"))[0]
    assert "array does two things in cycle" in spoil(longer)[0]
    assert "array differs from the program from its span 4 on" in spoil(swapped)[0]
    assert "4919 cycles, and the machine counted 4918" in spoil(more)[0]


def test_other_counters_are_seen(digits):
    program, outcome = digits
    counters = outcome.counters | {"values": outcome.counters["values"] + 1}
    found = faults_of(timeline(program, outcome, "digits"), program, replace(outcome, counters=counters))
    assert found == ["timeline: 3472 cycles of values, and the machine counted 3473"]
