"""Where area goes: the treemap adds up to the netlist, the floorplan has every cell where nextpnr put it."""

import pytest

from haarlequin.hw.boards import BOARDS
from haarlequin.sim.report import area
from tests.sim.report.boards import CELLS, NETLIST, PATH, routed

BOARD = BOARDS["ulx3s-25f"]


@pytest.fixture
def panels(tmp_path, monkeypatch):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    routed(tmp_path / "boards" / BOARD.name)
    return {panel.name: panel for panel in area.section(BOARD).panels}


def test_the_treemap_adds_up(panels):
    (lut4, ff) = panels["modules"].figures
    (trace,) = lut4.data
    sizes = dict(zip(trace.ids, trace.values, strict=True))
    assert sizes["accelerator"] == sum(kind == "LUT4" for kind, _ in CELLS.values()) == 4
    assert sizes["accelerator.machine.layers.array"] == 2
    for name, size in sizes.items():
        inside = [
            sizes[each] for each, parent in zip(trace.ids, trace.parents, strict=True) if parent == name
        ]
        assert sum(inside) <= size
    assert dict(zip(ff.data[0].ids, ff.data[0].values, strict=True))["accelerator.machine.bus"] == 1
    assert "The largest module of 8x64-hybrid is layers.array: 2 of the netlist's 4 LUT4, 50%" in (
        panels["modules"].says
    )


def test_every_cell_is_where_nextpnr_put_it(panels):
    (floorplan,) = panels["floorplan"].figures
    *modules, _, path = floorplan.data
    drawn = {
        (x, y): (trace.name, text)
        for trace in modules
        for x, y, text in zip(trace.x, trace.y, trace.hovertext, strict=True)
    }
    assert {*drawn} == {(3, 4), (5, 4), (5, 9), (0, 1)}
    name, text = drawn[3, 4]
    assert name == "layers.array"
    assert "layers.array: 2 cells" in text
    assert (*path.x,) == (4, 4, 5)
    assert PATH[1].removeprefix("accelerator.machine.") in path.hovertext[-1]
    says = panels["floorplan"].says
    assert "takes 4.0 ns, so that the clock can be 250.0 MHz; 75% of it are wires." in says
    assert "It is from layers.haar to layers.array." in says


def test_a_module_has_one_colour_everywhere(panels):
    (trace,) = panels["modules"].figures[0].data
    colours = dict(zip(trace.ids, trace.marker.colors, strict=True))
    for each in panels["floorplan"].figures[0].data[:-2]:
        name = f"accelerator.machine.{each.name}"
        if name in colours:
            assert each.marker.color == colours[name]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("lost", [NETLIST, "placed.json", "report.json", "top.bit", "summary.json"])
def test_what_is_not_there_whole_has_its_command(tmp_path, monkeypatch, lost, cut):
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path))
    folder = tmp_path / "boards" / BOARD.name
    routed(folder)
    path = folder / lost
    if cut:
        path.write_bytes(path.read_bytes()[:-2])
    else:
        path.unlink()
    panels = area.section(BOARD).panels
    assert all(panel.missing and panel.command == "make bitstream BOARD=ulx3s-25f" for panel in panels)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("accelerator.machine.layers.array.lane", "accelerator.machine.layers.array"),
        ("accelerator.machine.images.embedding", "accelerator.machine.images"),
        ("accelerator.link.receiver", "accelerator.link"),
        ("accelerator", "accelerator"),
        ("spi.crossing", "spi"),
    ],
)
def test_head(name, head):
    assert area.head(name) == head
