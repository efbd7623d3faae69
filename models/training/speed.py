"""How fast a run trains here: measured with a run of its own, which is thrown away afterwards."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from haarlequin.models.training.run import Run


@dataclass(frozen=True)
class Speed:
    """Seconds that a phase takes for a step, and for the validation after an epoch."""

    step: float
    validation: float


def measure(run: Run, seconds: float) -> dict[str, Speed]:
    """The speed of the float phase and, if the recipe has one, of deploy mode. Each is measured for about
    ``seconds``, after what happens only once, such as compiling. ``run`` must be new, and is of no use later.
    """
    speeds = {"float": Speed(_seconds_of_a_step(run, seconds), _seconds_of(run.validate))}
    if run.recipe.deploy_epochs:
        run.enter("deploy")
        speeds["deploy"] = Speed(_seconds_of_a_step(run, seconds), _seconds_of(run.validate))
    return speeds


def _seconds_of_a_step(run: Run, seconds: float) -> float:
    indices = torch.arange(run.batch, device=run.device)
    run.model.train()
    run.advance(indices)
    run.synchronise()
    start, steps = time.perf_counter(), 0
    while steps < 2 or time.perf_counter() - start < seconds:
        run.advance(indices)
        steps += 1
        if steps % 10 == 0:
            run.synchronise()  # a GPU's queue of steps would not let the time pass
    run.synchronise()
    return (time.perf_counter() - start) / steps


def _seconds_of(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
