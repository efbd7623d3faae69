import pytest

from haarlequin.models.training.recipe import Recipe, RecipeError, learning_rate


def test_learning_rate_rises_to_its_peak_and_falls_to_zero():
    rates = [learning_rate(step, 100, 1.0, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0)


def test_each_phase_has_its_own_cosine():
    recipe = Recipe(epochs=5, deploy_epochs=3, stages=2, lr=1.0, deploy_lr=0.1, warmup=0)
    assert recipe.phases() == [("real", 2), ("float", 3), ("deploy", 3)]
    assert [recipe.phase(epoch)[0] for epoch in range(8)] == ["real"] * 2 + ["float"] * 3 + ["deploy"] * 3
    assert [recipe.learning_rate(epoch, 0, 10) for epoch in (0, 2, 5)] == [1.0, 1.0, 0.1]
    assert recipe.learning_rate(4, 9, 10) < 0.01
    with pytest.raises(IndexError, match="there is no epoch 8"):
        recipe.phase(8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must lie within 1 to 1e.06, not 0"),
        ({"stages": 3}, "stages must lie within 1 to 2, not 3"),
        ({"mixup": -1}, "mixup must lie within 0 to 100, not -1"),
        ({"distillation": 1.5}, "distillation must lie within 0 to 1, not 1.5"),
        ({"stages": 2, "epochs": 1}, "two stages need two epochs"),
        ({"epochs": 1.5}, "epochs must be of type int, not 1.5"),
        ({"flip": 1}, "flip must be of type bool, not 1"),
        ({"seed": None}, "seed must be of type int, not None"),
        ({"lr": "1"}, "lr must be of type float, not '1'"),
    ],
)
def test_an_illegal_recipe(changes, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(**changes)
