import csv

import pytest
from PIL import Image

from haarlequin.models.ablation.grid import grid
from haarlequin.models.ablation.plot import plot
from haarlequin.models.ablation.table import Estimate, markdown, pooled_deviation, rows, write_csv
from haarlequin.models.presets import preset

CELLS = grid(preset("digits"))


def result(cell, seed, *accuracy):
    return {"cell": cell, "seed": seed, "accuracy": dict(zip(("float", "deploy"), accuracy, strict=False))}


RESULTS = [
    result("no-diba", 1, 0.91, 0.88),
    result("no-diba", 0, 0.92, 0.90),
    result("no-diba", 2, 0.90, 0.86),
    result("full", 0, 0.94, 0.90),
    result("full", 1, 0.96, 0.92),
    result("full", 2, 0.95, 0.91),
    result("theta-1", 1, 0.97, 0.90),
    result("pre-norm", 0, 0.95),
    result("pre-norm", 2, 0.92),
]


def test_an_estimate_is_mean_deviation_and_error():
    estimate = Estimate.of([0.02, 0.05, 0.02])
    assert estimate.mean == pytest.approx(0.03)
    assert estimate.deviation == pytest.approx(0.0173205)
    assert estimate.error == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("values", "pooled", "shows"),
    [
        ([0.02, 0.05, 0.02], 0.01, True),  # 0.03 ± 0.01
        ([-0.02, -0.05, -0.02], 0.01, True),
        ([0.01, 0.04, 0.01], 0.01, False),  # 0.02 ± 0.01
        ([0.03, 0.03, 0.03], 0.02, True),  # 0.03 ± 0; all together make it ± 0.0115
        ([0.03, 0.03, 0.03], 0.03, False),
        ([0.5], 0.01, False),
        ([0.0, 0.0], 0.0, False),
    ],
)
def test_what_shows_lies_beyond_two_errors(values, pooled, shows):
    assert Estimate.of(values).shows(pooled) is shows


def test_all_cells_together_say_how_far_differences_spread():
    """−2, −5, −5 and 1, −3 points: squares 6 and 8 about their means, 3 degrees of freedom."""
    assert pooled_deviation(rows(CELLS, RESULTS), "float") == pytest.approx(0.01 * (14 / 3) ** 0.5)
    assert pooled_deviation(rows(CELLS, RESULTS[:3]), "float") is None


def test_nothing_has_no_estimate():
    assert Estimate.of([]) is None


def test_differences_are_taken_seed_by_seed():
    """−2, −5, −5 points: whatever the seeds have in common is gone."""
    full, without = rows(CELLS, RESULTS)[:2]
    difference = without.difference(full, "float")
    assert difference.mean == pytest.approx(-0.04)
    assert difference.error == pytest.approx(0.01)
    assert full.difference(full, "float") is None


def test_the_table_for_a_page():
    assert markdown(rows(CELLS, RESULTS)).splitlines() == [
        "|  | float phase, % | against full | deploy mode, % | against full | seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| full | 95.0 ± 1.0 | – | 91.0 ± 1.0 | – | 3 |",
        "| −DIBA | 91.0 ± 1.0 | **−4.0 ± 1.0** | 88.0 ± 2.0 | −3.0 ± 1.5 | 3 |",
        "| θ = 1 | 97.0 | +1.0 | 90.0 | −2.0 | 1 |",
        "| pre-norms | 93.5 ± 2.1 | −1.0 ± 2.0 | – | – | 2 |",
    ]


def test_next_to_nothing_is_not_less_than_nothing():
    table = rows(CELLS, [result("full", 0, 0.9, 0.9), result("none", 0, 0.8999, 0.9001)])
    assert markdown(table).endswith("| none of the three | 90.0 | +0.0 | 90.0 | +0.0 | 1 |\n")


def test_without_full_there_is_nothing_to_compare_with():
    table = rows(CELLS, [r for r in RESULTS if r["cell"] != "full"])
    assert "| −DIBA | 91.0 ± 1.0 | – | 88.0 ± 2.0 | – | 3 |" in markdown(table)


def test_the_table_as_numbers(tmp_path):
    write_csv(rows(CELLS, RESULTS), tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        full, without, theta, norms = csv.DictReader(file)
    assert [line["cell"] for line in (full, without, theta, norms)] == [
        "full",
        "no-diba",
        "theta-1",
        "pre-norm",
    ]
    assert float(without["float_difference"]) == pytest.approx(-0.04)
    assert float(without["float_difference_error"]) == pytest.approx(0.01)
    assert float(without["deploy_deviation"]) == pytest.approx(0.02)
    assert full["deploy_difference"] == ""
    assert theta["float_deviation"] == ""
    assert norms["deploy_mean"] == ""


def test_the_plot_is_a_picture_that_grows_with_the_table(tmp_path):
    heights = []
    for results in (RESULTS[:3], RESULTS):
        plot(rows(CELLS, results), tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            heights.append(picture.height)
            assert picture.width > 600
    assert heights[0] < heights[1]
