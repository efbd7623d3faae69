"""Figures of boards, from summaries and compiled tables, against figures counted by hand."""

import pytest

from haarlequin.hw.boards import board
from haarlequin.models.common.errors import UsageError
from haarlequin.sim.benchmark.boards import figures_of, usable_facts
from tests.sim.benchmark import summaries

pytestmark = pytest.mark.slow

TARGET = board("ulx3s-25f")


@pytest.fixture
def build(tmp_path, monkeypatch):
    """A build folder of the test's own, but with the tables that earlier runs have compiled."""
    from haarlequin.models.common.places import build_folder

    (tmp_path / "cache").symlink_to(build_folder("cache").absolute(), target_is_directory=True)
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    return tmp_path


def values(found):
    return {each.key: each.value for each in found.figures}


def marks(found):
    return {each.key: each.mark.limit for each in found.figures if each.mark}


def test_figures_counted_by_hand(build):
    """38,300 cycles of `cifar10-hybrid` on 8x64-hybrid; its 17,006,592 products; 3,086 and 62 bytes."""
    summaries.write(build, TARGET.name)
    found = figures_of(TARGET, usable_facts(TARGET), TARGET.model)
    got = values(found)
    images = 75e6 / 38_300
    gops = 2e-9 * 17_006_592 * images
    assert (got["lut4"], got["dsp"], got["cycles"]) == (10_000, 4, 38_300)
    assert (got["fmax_mhz"], got["clock_mhz"]) == (pytest.approx(75.75), 75.0)
    assert got["array_images_per_second"] == found.array == pytest.approx(images)
    assert got["cable_images_per_second"] == pytest.approx(3_000_000 / 10 / 3086)
    assert got["spi_images_per_second"] == pytest.approx(min(got["array_images_per_second"], 50e6 / 8 / 3086))
    assert got["usb_images_per_second"] == 380  # 19,000 packets for 49 of an image and one of its result
    assert got["gops"] == pytest.approx(gops)
    assert got["gops_per_klut4"] == pytest.approx(gops / 10)
    assert got["gops_per_klut4_at_fmax"] == pytest.approx(1.01 * gops / 10)
    assert got["busy"] == pytest.approx(17_006_592 / (8 * 64) / 38_300)
    assert got["cable_latency_s"] - got["array_latency_s"] == pytest.approx((3086 + 62) * 10 / 3e6)
    assert got["array_latency_s"] > 38_300 / 75e6
    assert sum(count for count, _ in found.operations.values()) == 38_300
    assert marks(found) == {"busy": 0.9, "gops_per_klut4_at_fmax": 20.0}


def test_the_text_has_every_figure_and_every_operation(build):
    summaries.write(build, TARGET.name)
    found = figures_of(TARGET, usable_facts(TARGET), TARGET.model)
    head, *lines = str(found).splitlines()
    assert head == "ulx3s-25f: ULX3S, LFE5U-25F, 8x64-hybrid at 75 MHz, cifar10-hybrid"
    for each in found.figures:
        assert any(each.name in line and each.text in line for line in lines)
    for name, (count, _) in found.operations.items():
        assert any(line.split()[-2:-1] == [f"{count:,}"] and name in line for line in lines)
    assert found.as_json()["figures"]["lut4"] == {"value": 10_000, "of": 24_288}


def test_the_mark_of_images_is_for_the_larger_part_and_for_as_many_products(build):
    """4,000 images/s of `cifar10-tiny`, 113,770,496 products; `cifar10-hybrid-large` has 77,266,944."""
    target = board("ulx3s-85f")
    summaries.write(build, target.name, config="32x128")  # which holds both
    facts = usable_facts(target)
    limits = {model: marks(figures_of(target, facts, model)) for model in ("cifar10-tiny", target.model)}
    for name in ("array_images_per_second", "cable_images_per_second"):
        assert limits["cifar10-tiny"][name] == pytest.approx(4000)
        assert limits["cifar10-hybrid-large"][name] == pytest.approx(4000 * 113_770_496 / 77_266_944)


def test_a_scalar_machine_has_no_marks(build):
    target = board("icebreaker")
    summaries.write(build, target.name)
    found = figures_of(target, usable_facts(target), target.model)
    assert marks(found) == {}
    assert values(found)["array_latency_s"] == pytest.approx(3_178_122 / 18e6)


def test_a_missed_clock_is_said(build):
    summaries.write(build, TARGET.name, met=False, fmax_mhz=50.0)
    found = figures_of(TARGET, usable_facts(TARGET), TARGET.model)
    assert "MISSES its clock: make bitstream BOARD=ulx3s-25f" in str(found).splitlines()[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"lut4": 0},
        {"lut4": 10**400},
        {"clock_mhz": 0.0},
        {"clock_mhz": 10**400},
        {"fmax_mhz": -1.0},
        {"baud": 0},
        {"baud": 10**400},
    ],
)
def test_facts_that_no_figure_could_be_made_of(build, changed):
    summaries.write(build, TARGET.name, **changed)
    assert usable_facts(TARGET) is None


@pytest.mark.parametrize("changed", [{"baud": "9600"}, {"met": None}])
def test_facts_of_other_types_are_named(build, changed, capsys):
    summaries.write(build, TARGET.name, **changed)
    assert usable_facts(TARGET) is None
    assert "make bitstream BOARD=ulx3s-25f" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"config": "8x64"}, "cifar10-hybrid is too large for 8x64"),
        ({"config": "7x7"}, "unknown accelerator"),
    ],
)
def test_an_accelerator_that_does_not_run_the_model(build, changed, error):
    summaries.write(build, TARGET.name, **changed)
    with pytest.raises(UsageError, match=error):
        figures_of(TARGET, usable_facts(TARGET), TARGET.model)
