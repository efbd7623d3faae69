"""The table and the plot of networks, from made-up results and costs."""

import pytest
from PIL import Image

from haarlequin.models.ablation.grid import Cell
from haarlequin.models.ablation.networks import Cost, interval, markdown, plot
from haarlequin.models.ablation.table import rows
from haarlequin.models.presets import preset

CELLS = [
    Cell("full", "full", preset("cifar10-nano")),
    Cell("c", "p4 a64x1", preset("cifar10-nano").with_(stages="p4 a64x1")),
]
RESULTS = [
    {"cell": "full", "seed": 0, "accuracy": {"float": 0.5}},
    {"cell": "full", "seed": 1, "accuracy": {"float": 0.6}},
    {"cell": "c", "seed": 0, "accuracy": {"float": 0.75}},
]


def cost_of(config):
    if config.structure == "p4 t64x3":
        return Cost(1_500_000, 2_340_000, "8x64, 25F", 55, 12_345)
    return Cost(10_000, 500_000)


def test_the_table():
    assert markdown(rows(CELLS, RESULTS), cost_of, 5000).splitlines() == [
        "| network | weights, Mbit | bit-MACs, M | machine | block RAMs | cycles | float phase, % | seeds |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
        "| full: `p4 t64x3` | 1.50 | 2.3 | 8x64, 25F | 55 | 12,345 | 55.0 ± 1.4 | 2 |",
        "| `p4 a64x1` | 0.01 | 0.5 | – | – | – | 75.0 ± 1.2 | 1 |",
    ]


@pytest.mark.parametrize(("accuracy", "images", "half"), [(0.5, 100, 0.098), (0, 10, 0), (0.9, 1000, 0.0186)])
def test_the_interval_of_a_proportion(accuracy, images, half):
    assert interval(accuracy, images) == pytest.approx(half, rel=0.01)


def test_the_plot(tmp_path):
    plot(rows(CELLS, RESULTS), cost_of, tmp_path / "costs.png")
    with Image.open(tmp_path / "costs.png") as image:
        assert image.size[0] > 1000
