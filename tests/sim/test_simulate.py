"""The whole accelerator, Verilated, against the golden model: every tensor, logit, cycle and saturation."""

import itertools
from pathlib import Path

import pytest
import torch

from sim.simulate import Job, expect, faults_of, simulate, simulator
from sw.compiler import compile_model
from sw.compiler.resources import operations
from tests.small_machines import MACHINES, random_models

BUILD = Path(__file__).resolve().parents[2] / "build" / "sim"
"""Where `make sim` builds too."""


def job(model, machine, images, seed=0):
    config, generator = model.config, torch.Generator().manual_seed(seed)
    shape = images, *config.image, config.channels
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return Job(compile_model(model, machine, check=False), pixels, expect(model, pixels))


def assert_exact(jobs, outcomes):
    for number, (one, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
        where = f"job {number}, {one.program.lowered.model.config}"
        assert len(outcome.results) == len(one.pixels), where
        for image, (expected, result) in enumerate(zip(one.expected, outcome.results, strict=True)):
            assert not faults_of(one.program, expected, result), f"{where}, image {image}"
        for operation in operations(one.program.lowered):
            spent = outcome.counters[operation.name]
            assert spent == len(one.pixels) * operation.cycles, f"{where}, {operation.name}"


@pytest.mark.parametrize(
    ("name", "gaps", "stalls"), [("4x16", 0, 0), ("6x18", 9, 0), ("8x8", 0, 12), ("48x96", 5, 9)]
)
def test_random_models_on_small_machines(name, gaps, stalls):
    """One after the other on one machine, which is never reset: 55 models, two images each."""
    machine = MACHINES[name]
    models = itertools.islice(random_models(machine, seed=len(name) + gaps), 55)
    jobs = [job(model, machine, images=2, seed=i) for i, model in enumerate(models)]
    assert_exact(jobs, simulate(simulator(machine, BUILD), jobs, gaps, stalls))
