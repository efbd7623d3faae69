"""The whole accelerator, Verilated, against the golden model: every tensor, logit, cycle and saturation."""

import importlib
import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from haarlequin.hw.codes import Activation
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.places import build_folder
from haarlequin.models.stages import ATTENTION, MLP
from haarlequin.sim.simulate import Job, expect, faults_of, faults_of_job, simulate, simulator
from haarlequin.sim.workload import workload
from haarlequin.sw.targets import compile_model
from tests.small_machines import MACHINES, SIMULATED, random_programs, simulated_programs
from tests.sw.scalar.models import random_models as scalar_models

pytestmark = pytest.mark.slow


def job(program, pixels):
    return Job(program, pixels, expect(program.model, pixels))


def random_job(program, images, seed):
    config = program.model.config
    shape = images, *config.image, config.channels
    return job(program, np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def small_jobs(name):
    """The models of a small machine, two images each."""
    return [random_job(program, images=2, seed=i) for i, program in enumerate(simulated_programs(name))]


def scalar_jobs(seed):
    """Models of the scalar machine, three images each, the next one coming while one is computed."""
    models = itertools.islice(scalar_models(seed), 6)
    programs = [compile_model(model, CONFIGS["scalar"], check=False) for model in models]
    return [random_job(program, images=3, seed=i) for i, program in enumerate(programs)]


def assert_exact(jobs, outcomes):
    for number, (one, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
        where = f"job {number}, {one.program.model.config}"
        assert not faults_of_job(one, outcome), where


def shapes_of(program):
    """Names of the special cases in a program: of sizes, switches and operations."""
    config, machine, found = program.model.config, program.machine, set()
    for place in config.places:
        c, stage = place.config, place.config.stage
        found |= {f"stage of {stage.kind}", f"token offsets {c.irprelu:d}"}
        if stage.kind == ATTENTION:
            head = c.head_dim
            words = [
                (h * head // machine.width, ((h + 1) * head - 1) // machine.width) for h in range(c.heads)
            ]
            tokens = c.window_alone().tokens
            found |= {
                "tokens beyond a word" if tokens > machine.width else "",
                "tokens beyond the lanes" if tokens > machine.lanes else "",
                "a head in two words" if any(first != last for first, last in words) else "",
                f"feed-forward {stage.feed_forward}",
                f"switches {c.hfsc:d}{c.diba:d}",
            }
        if stage.feed_forward == MLP:
            found.add(f"r = {c.mlp_ratio}")
        if stage.window and stage.window**2 < c.tokens:
            found.add("windows")
        if c.dim > machine.width:
            found.add("channels beyond a word")
        if c.dim % machine.lanes:
            found.add("a tile that is not full")
        if place.merged:
            found.add(f"merge to {c.dim / place.merged.dim:g}")
    for item in program.lowered.passes:
        if item["activation"] == Activation.PAIRS:
            found.add("pairs of taps")
        if item["window"] and item["bits_0"]:
            twice = ", two in a word" if item["pairs"] and item["bits_1"] else ""
            found.add(f"windows of {item['window']} chunks{twice}")
    found |= {f"stem {config.stem}", f"segmentation {config.segmentation}"}
    return found | ({"several stages"} if len(config.stages) > 1 else set())


WANTED = {f"switches {i:02b}" for i in range(4)} | {f"stem {stem}" for stem in ("p1", "p2", "p3", "/1", "/2")}
WANTED |= {"token offsets 0", "token offsets 1"}
WANTED |= {"r = 1", "r = 2", "r = 4", "r = 8", "a tile that is not full", "windows", "merge to 1"}
WANTED |= {"stage of convolution", "feed-forward mlp", "feed-forward convolution", "segmentation True"}
WIDE = {"tokens beyond a word", "tokens beyond the lanes", "channels beyond a word", "a head in two words"}
WIDE |= {"merge to 2", "merge to 4"}
SEEN = {
    "4x16": WANTED | WIDE | {"pairs of taps", "merge to 8"},
    "3x24": WANTED | WIDE | {"pairs of taps", "windows of 1 chunks", "windows of 2 chunks", "merge to 8"},
    "6x18": WANTED | WIDE,
    "8x8": WANTED | WIDE,
    "6x36": WANTED | {"tokens beyond the lanes", "windows of 2 chunks", "windows of 1 chunks, two in a word"},
}


@pytest.mark.parametrize("name", SIMULATED)
def test_random_models_on_small_machines(name):
    """One after the other on a machine that is never reset."""
    jobs = small_jobs(name)
    seen = Counter(shape for one in jobs for shape in shapes_of(one.program))
    assert not SEEN[name] - seen.keys()
    assert seen["several stages"] >= 20
    assert_exact(jobs, simulate(simulator(MACHINES[name], build_folder("sim")), jobs, *SIMULATED[name]))


def test_weights_that_come_from_outside():
    """From a store that is slower than the lanes: passes wait, and nothing else changes."""
    machine = replace(MACHINES["4x16"], name="4x16-outside", weight_interval=3)
    programs = itertools.islice(random_programs(machine, seed=5), 20)
    jobs = [random_job(program, images=2, seed=i) for i, program in enumerate(programs)]
    outcomes = simulate(simulator(machine, build_folder("sim")), jobs, gaps=3, stalls=2)
    assert_exact(jobs, outcomes)
    # A model of 13 passes may have its first weights before the image is there, and needs few others.
    assert sum(outcome.late > 0 for outcome in outcomes) >= 18


@pytest.mark.parametrize(("gaps", "stalls"), [(0, 0), (7, 11)])
def test_random_models_on_the_scalar_machine(gaps, stalls):
    jobs = scalar_jobs(gaps)
    assert_exact(jobs, simulate(simulator(CONFIGS["scalar"], build_folder("sim")), jobs, gaps, stalls))


def test_a_wrong_word_shows_where_it_is_used():
    """In the data of a scalar machine, the first channel's bias of the embedding."""
    machine = CONFIGS["scalar"]
    one = random_job(compile_model(next(scalar_models(1)), machine, check=False), images=1, seed=0)
    data, place = list(one.program.words["data"]), machine.pixels // 2
    data[place] ^= 1 << 13
    broken = replace(one, program=replace(one.program, words=one.program.words | {"data": data}))
    (outcome,) = simulate(simulator(machine, build_folder("sim")), [broken])
    (found,) = faults_of(one.program, one.expected[0], outcome.results[0])[:1]
    assert found.startswith("embedding.x, token 0, channel 0: expected")


def test_digits(tmp_path):
    """96 test images, and once the pipeline is full, one in as many cycles as its layers take."""
    what, machine = workload("digits", [], 96), CONFIGS["16x64"]
    one = job(compile_model(what.model, machine, check=False), what.pixels)
    outcomes = simulate(simulator(machine, build_folder("sim")), [one])
    assert_exact([one], outcomes)
    done = [result.done for result in outcomes[0].results]
    # A refused image's answer may come between; it is sent again.
    assert np.median(np.diff(done)) == one.program.cycles


def first_difference(model, pixels, monkeypatch):
    """The first tensor that is another where IRPReLU wraps around instead of saturating."""

    def wrapped(value, bits):
        return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)

    trace, other = {}, {}
    model(pixels, trace)
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("haarlequin.models.arithmetic.irprelu"), "sat", wrapped)
        model(pixels, other)
    return next((name for name in trace if not np.array_equal(trace[name], other[name])), None)


def test_lanes_that_wrap_around_are_seen_where_they_do(monkeypatch):
    """Hardware without saturation: the fault that no table can hold."""
    machine, jobs, expected = MACHINES["4x16"], [], []
    for program in itertools.islice(random_programs(machine, seed=8), 12):
        one = random_job(program, images=1, seed=0)
        jobs.append(one)
        expected.append(first_difference(program.model, one.pixels, monkeypatch))
    outcomes = simulate(simulator(machine, build_folder("sim"), "saturation"), jobs)
    found = [outcome.results[0].difference for outcome in outcomes]
    assert sum(name is not None for name in expected) >= 6
    for name, difference in zip(expected, found, strict=True):
        if name:
            assert difference is not None
            assert difference.tensor.split(".")[:2] == name.split(".")[:2]
