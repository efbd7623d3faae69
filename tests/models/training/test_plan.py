"""Schedules that end in time."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haarlequin.models.common.errors import UsageError
from haarlequin.models.training.plan import EPOCHS, RESERVE, Deadline, plan, shortened
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.speed import Speed

RECIPE = Recipe(epochs=20, deploy_epochs=2)


def duration(recipe, speeds):
    steps = recipe.steps
    parts = {"float": recipe.epochs, "deploy": recipe.deploy_epochs}
    return sum(n * (steps * speeds[name].step + speeds[name].validation) for name, n in parts.items() if n)


def speeds(step=0.1, validation=1.0, deploy=2.0):
    return {"float": Speed(step, validation), "deploy": Speed(deploy * step, deploy * validation)}


times = st.floats(1e-3, 10)


@settings(max_examples=50)
@given(
    seconds=st.floats(10, 1e5),
    step=times,
    validation=times,
    deploy=st.floats(0.5, 5),
    most=st.integers(10, 400),
    stages=st.sampled_from([1, 2]),
    deploy_epochs=st.integers(0, 30),
)
def test_a_plan_uses_the_time_and_no_more(seconds, step, validation, deploy, most, stages, deploy_epochs):
    recipe = replace(RECIPE, stages=stages, deploy_epochs=deploy_epochs)
    speed = speeds(step, validation, deploy)
    try:
        planned = plan(recipe, seconds, speed, most)
    except UsageError:
        proportion = stages * deploy_epochs / recipe.epochs
        deployed = deploy_epochs and max(1, round(proportion))
        shortest = replace(recipe, epochs=stages, deploy_epochs=deployed, steps=1)
        assert duration(shortest, speed) > seconds * (1 - RESERVE)
        return
    assert planned.steps <= most
    assert bool(planned.deploy_epochs) == bool(deploy_epochs)
    available = seconds * (1 - RESERVE)
    taken = duration(planned, speed)
    assert taken <= available * (1 + 1e-9)
    # One step more in each epoch, or one epoch more, would be too much.
    more = replace(planned, steps=planned.steps + 1)
    assert duration(more, speed) >= available or planned.steps == most


def test_a_long_plan_has_whole_epochs_in_the_recipes_proportion():
    planned = plan(RECIPE, 3600, speeds(step=0.01), steps=400)
    assert planned.epochs > 100
    assert planned.steps > 390
    assert planned.deploy_epochs == round(planned.epochs / 10)


def test_a_short_plan_has_epochs_of_fewer_steps():
    planned = plan(RECIPE, 600, speeds(), steps=10_000)
    assert (planned.epochs, planned.deploy_epochs) == (EPOCHS, 1)
    assert 400 < planned.steps < 600


def test_where_validation_takes_long_there_is_less_of_it():
    assert plan(RECIPE, 600, speeds(validation=20), steps=10_000).epochs == 1


def test_a_time_that_is_too_short_is_an_error():
    with pytest.raises(
        UsageError, match=r"0\.05 minutes are left after measuring: too few for an epoch of one step"
    ):
        plan(RECIPE, 3, speeds(), steps=400)


DURATIONS = {"float": 10.0, "deploy": 20.0}


@pytest.mark.parametrize(
    ("epoch", "seconds", "expected"),
    [
        (5, 190, (20, 2)),  # 15 · 10 + 2 · 20 are left
        (5, 189, (19, 2)),
        (5, 51, (6, 2)),  # one more of the float phase
        (5, 31, (6, 1)),
        (5, 0, (6, 1)),
        (20, 40, (20, 2)),
        (20, 39, (20, 1)),
        (21, 0, (20, 2)),  # the last one is as short as it can be
    ],
)
def test_a_run_that_is_late_has_fewer_epochs(epoch, seconds, expected):
    recipe = shortened(RECIPE, epoch, seconds, DURATIONS)
    assert (recipe.epochs, recipe.deploy_epochs) == expected


def test_the_first_of_two_stages_keeps_its_length():
    recipe = replace(RECIPE, stages=2)
    late = shortened(recipe, 2, 10, DURATIONS)
    assert late.phases()[:2] == recipe.phases()[:2]
    assert late.deploy_epochs == 1


def test_a_deadline_counts_with_how_slow_the_last_epoch_was():
    speed = speeds(step=0.1, validation=0.0)
    run = SimpleNamespace(recipe=RECIPE, epoch=10, steps=100, phase="float", seconds=[10.0])
    in_time = Deadline(end=1140, speeds=speed, clock=lambda: 1000)
    assert in_time(run) == RECIPE  # 10 · 10 + 2 · 20 are left
    run.seconds = [20.0]  # twice as slow: time for 70
    assert in_time(run).epochs == 13
