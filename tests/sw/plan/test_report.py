import pytest

from haarlequin.sw.plan.machine import machine_of
from haarlequin.sw.plan.report import report
from tests.sw.plan.rows import network


def lines(stages, machine, **changes):
    return report(network(stages, **changes), machine_of(machine)).splitlines()


def test_the_report_has_memories_operations_and_what_it_fits():
    text = lines("/2 c32x4 a128x5", "32x128")
    assert text[0] == "/2 c32x4 a128x5 on the next 32x128 (32 lanes × 128 bits)"
    assert "weights          10112   128     75      72  binary weights" in text
    assert ["total", "162", "151"] in [line.split() for line in text]
    assert "feed-forward           180    11768     248   43.6%   97.9%" in text
    assert "array                  357    26967    1611  100.0%   87.8%" in text
    assert "stem: 13852 cycles with 16 multipliers, hidden beside the array" in text
    assert "1.29 Mbit of binary weights, 97.0 M bit-MACs, 83 multipliers" in text
    assert "26967 cycles an image: 87.8% of the array used" in text
    assert text[-2:] == [
        "25F: DOES NOT FIT, 162 of 56 block RAMs (151 if narrow) and 83 of 28 multipliers",
        "85F: fits",
    ]


def test_a_small_network_fits_both():
    assert lines("/2 c16x1", "8x64")[-2:] == ["25F: fits", "85F: fits"]


@pytest.mark.parametrize(
    ("stages", "machine", "expected"),
    [
        ("p4 t128x2", "32x128", "stem: 24604 cycles with 16 multipliers, LONGER than the array: "),
        ("/1 c16x1", "32x128", "stem: 27676 cycles with 16 multipliers, LONGER than the array: no number"),
        ("/1 c16x2 c32x4 a64x3", "8x64", "stem: 55316 cycles with 8 multipliers, hidden"),
    ],
)
def test_a_stem_that_does_not_hide(stages, machine, expected):
    (stem,) = (line for line in lines(stages, machine) if line.startswith("stem:"))
    assert stem.startswith(expected)


def test_a_longer_stem_sets_the_rate():
    text = lines("p4 t128x2", "32x128")
    (rate,) = (line for line in text if line.endswith("of the array used"))
    assert rate.startswith("24604 cycles an image")
