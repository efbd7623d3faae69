import json

import pytest

from haarlequin.hw.bitstream.floorplan import draw, sites


@pytest.fixture
def placed(tmp_path):
    """What nextpnr writes, as it names places on ECP5, iCE40 and Gowin, and a cell without one."""
    bels = {
        "accelerator.link.a": "X3/Y40/SLICEA.LUT0",
        "accelerator.link.b": "X4/Y40/lc2",
        "uart.c": "X12Y5/LUT3",
        "uart.d": None,
    }
    cells = {name: {"attributes": {"NEXTPNR_BEL": bel} if bel else {}} for name, bel in bels.items()}
    path = tmp_path / "placed.json"
    path.write_text(json.dumps({"modules": {"top": {"cells": cells}}}))
    return path


def test_cells_lie_where_nextpnr_says(placed):
    assert sites(placed) == {"accelerator.link": [(3, 40), (4, 40)], "uart": [(12, 5)]}


def test_a_picture_is_drawn(placed, tmp_path):
    draw(placed, "a board", tmp_path / "floorplan.png")
    assert (tmp_path / "floorplan.png").read_bytes().startswith(b"\x89PNG")
