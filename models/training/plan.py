"""A schedule that ends in time, for `haarlequin train --within MINUTES`."""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import replace

from haarlequin.models.common.errors import UsageError
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run
from haarlequin.models.training.speed import Speed

RESERVE = 0.07
"""Proportion of the time that is not planned, for saving and for what is slower than it was measured."""

EPOCHS = 10
"""Float epochs that a short schedule is divided into, so that its progress can be seen."""

VALIDATION = 0.1
"""Proportion of the time that validation may take at most, for as many epochs as that."""

_MOST_EPOCHS = 1_000_000


def plan(recipe: Recipe, seconds: float, speeds: Mapping[str, Speed], steps: int) -> Recipe:
    """``recipe`` with so many epochs, deploy epochs and steps of an epoch that it ends within ``seconds``.

    Deploy mode keeps its proportion of the epochs, and has one at least. An epoch has up to ``steps`` steps.
    Raises `UsageError` if the time is too short for one step in each phase.
    """
    available = seconds * (1 - RESERVE)
    fewest = recipe.stages
    epochs = EPOCHS
    while epochs > fewest and (
        _validation(recipe, epochs, speeds) > VALIDATION * available
        or _steps(recipe, epochs, available, speeds) < 1
    ):
        epochs -= 1
    more = range(epochs, _MOST_EPOCHS)
    epochs += bisect_left(more, -steps, key=lambda n: -_steps(recipe, n, available, speeds))
    found = min(steps, _steps(recipe, epochs, available, speeds))
    if found < 1:
        left = f"{max(0, seconds) / 60:.2g} minutes are left after measuring"
        raise UsageError(f"{left}: too few for an epoch of one step in each phase, and its validation")
    return replace(recipe, epochs=epochs, deploy_epochs=_deploy_epochs(recipe, epochs), steps=found)


class Deadline:
    """Called after each epoch of a run, returns its recipe: with fewer epochs where it is slower than planned
    and would end after ``end``, in seconds of `time.monotonic`. The present phase and deploy mode keep one
    epoch, because a phase ends with more than a step. Two stages stay as they are.
    """

    def __init__(self, end: float, speeds: Mapping[str, Speed], clock: Callable[[], float] = time.monotonic):
        self.end, self.speeds, self.clock = end, speeds, clock

    def __call__(self, run: Run) -> Recipe:
        planned = {name: run.steps * speed.step + speed.validation for name, speed in self.speeds.items()}
        now = "deploy" if run.phase == "deploy" else "float"
        slower = run.seconds[-1] / planned[now]
        return shortened(run.recipe, run.epoch, (self.end - self.clock()) / slower, planned)


def shortened(recipe: Recipe, epoch: int, seconds: float, durations: Mapping[str, float]) -> Recipe:
    """See `Deadline`. ``epoch`` epochs are over, ``seconds`` are left, and ``durations`` has an epoch's
    in "float" and "deploy".
    """
    while _left(recipe, epoch, durations) > seconds:
        if recipe.stages == 1 and recipe.epochs > epoch + 1:
            recipe = replace(recipe, epochs=recipe.epochs - 1)
        elif recipe.deploy_epochs > 1 and recipe.total > epoch + 1:
            recipe = replace(recipe, deploy_epochs=recipe.deploy_epochs - 1)
        else:
            break
    return recipe


def _left(recipe: Recipe, epoch: int, durations: Mapping[str, float]) -> float:
    whole = max(0, recipe.epochs - epoch), min(recipe.deploy_epochs, recipe.total - epoch)
    return sum(
        count * durations[name] for count, name in zip(whole, ("float", "deploy"), strict=True) if count
    )


def _deploy_epochs(recipe: Recipe, epochs: int) -> int:
    proportion = recipe.deploy_epochs / recipe.epochs
    return max(1, round(epochs * proportion)) if recipe.deploy_epochs else 0


def _validation(recipe: Recipe, epochs: int, speeds: Mapping[str, Speed]) -> float:
    deploy = _deploy_epochs(recipe, epochs)
    return epochs * speeds["float"].validation + (deploy and deploy * speeds["deploy"].validation)


def _steps(recipe: Recipe, epochs: int, seconds: float, speeds: Mapping[str, Speed]) -> int:
    """Steps of an epoch with which ``epochs`` float epochs, and deploy mode after them, take ``seconds``."""
    deploy = _deploy_epochs(recipe, epochs)
    steps = epochs * speeds["float"].step + (deploy and deploy * speeds["deploy"].step)
    return int((seconds - _validation(recipe, epochs, speeds)) / steps)
