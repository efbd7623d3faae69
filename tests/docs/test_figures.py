"""The tables of the pages have the figures of their sources."""

import json

import pytest

from docs import figures
from haarlequin.hw.boards import BOARDS
from haarlequin.hw.boards.board import SPI_HZ
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.ablation.networks import interval
from haarlequin.models.presets import PRESETS
from haarlequin.sim.report.networks import BASELINES
from haarlequin.sw import rates
from tests.docs.pages import ROOT, tables, text

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("place", figures.TABLES)
def test_a_page_has_the_table_that_its_source_makes(place):
    """If not: `python docs/figures.py` prints what must stand there."""
    page = ROOT / place.partition(",")[0]
    made = figures.TABLES[place]()
    assert len(made) > 2
    same_head = [table for table in tables(page) if table[0] == made[0]]
    assert same_head == [made]


def test_a_table_with_a_wrong_figure_is_noticed():
    made = figures.board_table()
    figure = made[2].split("|")[4].strip()
    altered = [made[0], made[1], made[2].replace(figure, f"{figure}1"), *made[3:]]
    assert altered != made
    assert altered not in tables(ROOT / "README.md")
    assert made in tables(ROOT / "README.md")


def test_recorded_boards_are_the_boards_of_the_project():
    """`make bitstream` would build the same today: another configuration, clock or rate would make other
    figures.
    """
    assert figures.routed().keys() == BOARDS.keys()
    for name, found in figures.routed().items():
        board = BOARDS[name]
        assert found["part"] == board.title
        assert found["config"] == board.config
        assert found["baud"] == board.baud
        assert found["clock_mhz"] * 1e6 == board.clock_hz
        assert found["available"] == dict(board.capacity)
        assert found["fmax_mhz"] >= found["clock_mhz"]
        for column, there in found["available"].items():
            assert 0 < found[column] <= there


def test_sentences_of_the_readme_have_the_same_figures():
    """Figures that are no cells of a table."""
    page = " ".join(text(ROOT / "README.md").split())
    said = json.loads((ROOT / "docs" / "result.json").read_text(encoding="utf-8"))
    (cycles,) = set(said["cycles"])
    right = sum(a == b for a, b in zip(said["labels"], said["predicted"], strict=True))
    assert right == 9
    assert f"{cycles:,} cycles each, nine of ten right here, {figures.top1('digits'):.1%} of all" in page
    assert figures.card("digits")["images"]["test"] == 360
    assert "of all 360." in page
    pixels = PRESETS["cifar10-nano"].image[0] * PRESETS["cifar10-nano"].image[1] * 3
    assert f"a CIFAR-10 image is {pixels:,} bytes and a byte takes ten bits" in page
    assert rates.BITS_OF_A_BYTE == 10
    large = figures.routed()["ulx3s-85f"]
    assert f"The {CONFIGS[large['config']].lanes} lanes of the ULX3S-85F are for" in page
    images = rates.spi_images_per_second(PRESETS["cifar10-nano"], SPI_HZ)
    assert f"whose wires carry up to {images:,.0f} images/s" in page
    images = rates.usb_images_per_second(PRESETS["cifar10-nano"])
    assert f"has a USB plug of its FPGA's own, which carries {images:,.0f} images/s" in page
    of_ecp5 = {name for name, board in BOARDS.items() if board.family == "ecp5"}
    assert of_ecp5 - {"ecpix5-85f"} == {
        name for name, board in BOARDS.items() if board.usb_plug == ("usb", 0)
    }
    images = rates.udp_images_per_second(PRESETS["cifar10-nano"])
    assert f"carries\n{images:,.0f} CIFAR-10 images a second" in text(ROOT / "docs" / "boards.md")
    assert "not yet run on hardware" in page
    assert page.count("not yet run on hardware") == 1


def test_what_was_measured_by_hand_agrees_with_what_can_be_computed():
    """Rows of the last table of docs/figures.md, by the command that prints them."""
    (table,) = [table for table in tables(ROOT / "docs" / "figures.md") if table[0].endswith("| command |")]
    said = {row.split("|")[3].strip(): row.split("|")[2].strip() for row in table[2:]}
    assert said["`haarlequin infer --check`"] == f"360, {figures.top1('digits'):.1%} right"
    for command, row in said.items():
        if "gatesim" in command:
            board = next(name for name in BOARDS if name in command)
            took = rates.cycles(BOARDS[board].model, BOARDS[board].config)
            assert row == f"equal, {took:,} cycles as predicted"
    (planned,) = [row for row in figures.plan_table() if "| `cifar10-tiny` | 32x128 |" in row]
    assert planned.split("|")[5].strip() in said["`make sim MODEL=cifar10-tiny`"]


def test_the_baselines_of_the_page_are_the_recorded_ones():
    """`make report` draws those that docs/ablations.md has."""
    known = json.loads(BASELINES.read_text(encoding="utf-8"))
    page = text(ROOT / "docs" / "ablations.md")
    for name, accuracy in known["float_phase"].items():
        (row,) = [line for line in page.splitlines() if f"`{PRESETS[name].structure}` |" in line]
        half = interval(accuracy, known["images"])
        assert row.endswith(f"| {100 * accuracy:.1f} ± {100 * half:.1f} |")
    assert known["command"] in page
