"""One way down: what may import what, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BELOW = {"models": (), "hw": ("models",), "sw": ("models", "hw"), "sim": ("models", "hw", "sw")}
"""What each of the four parts may use beside itself."""

OF_HW = (
    "models.arithmetic",
    "models.common",
    "models.golden",
    "models.presets",
    "models.widths",
)
"""What of `models` the RTL may use: configuration, integer arithmetic and what all share."""

HEAVY = {"hw": {"torch", "brevitas", "onnx", "onnxruntime"}, "sw": {"torch", "brevitas"}, "sim": {"brevitas"}}
"""Packages that a part never imports."""


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, package: str) -> set[str]:
    """Every module that a file names in an import, and what it takes out of it, by absolute name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{each.name}" for each in node.names)}
    return found


def graph(root: Path) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """(modules of ours, other names) that each module imports, by its name without ``haarlequin.``."""
    files = {name_of(path, root): path for part in BELOW for path in sorted((root / part).rglob("*.py"))}
    files = {name: path for name, path in files.items() if not name.startswith("sw.haarlequin")}
    ours, others = {}, {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        wanted = imports(path, f"haarlequin.{package}")
        inside = {each.removeprefix("haarlequin.") for each in wanted if each.startswith("haarlequin.")}
        ours[name] = {each for each in inside if each in files and each != name}
        others[name] = {each for each in wanted if not each.startswith("haarlequin")}
    return ours, others


def faults(root: Path) -> list[str]:
    """Upward imports, circles, and imports of what a part must not know."""
    ours, others = graph(root)
    found = []
    for name, wanted in ours.items():
        part = name.partition(".")[0]
        for other in sorted(wanted):
            above = other.partition(".")[0]
            if above not in (part, *BELOW[part]):
                found.append(f"{name} imports {other}, which is above it")
            if part == "hw" and above == "models" and other != "models" and not other.startswith(OF_HW):
                found.append(f"{name} imports {other}: hw uses no more of models than {', '.join(OF_HW)}")
    for name, wanted in others.items():
        heavy = HEAVY.get(name.partition(".")[0], set()) & {each.partition(".")[0] for each in wanted}
        found += [f"{name} imports {each}" for each in sorted(heavy)]
        found += [
            f"{name} imports {each}: say haarlequin.{each}"
            for each in sorted(wanted)
            if each.partition(".")[0] in BELOW
        ]
    return found + [f"circle: {' → '.join(circle)}" for circle in circles(ours)]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Every module that leads back to itself, with the way."""
    done: set[str] = set()
    found: list[list[str]] = []

    def visit(name: str, way: list[str]) -> None:
        if name in way:
            found.append([*way[way.index(name) :], name])
        elif name not in done:
            for other in sorted(edges[name]):
                visit(other, [*way, name])
            done.add(name)

    for name in sorted(edges):
        visit(name, [])
    return found


def test_nothing_imports_upwards_and_there_is_no_circle():
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("planted", "line", "fault"),
    [
        ("hw/a.py", "from haarlequin.sw import b", "hw.a imports sw.b, which is above it"),
        ("hw/a.py", "def late():\n    import haarlequin.sim.c", "hw.a imports sim.c, which is above it"),
        ("models/d.py", "from ..hw.a import thing", "models.d imports hw.a, which is above it"),
        ("hw/a.py", "from haarlequin.models.data import e", "hw.a imports models.data.e: hw uses no more"),
        ("hw/a.py", "import torch.nn", "hw.a imports torch"),
        ("sw/b.py", "from hw import a", "sw.b imports hw: say haarlequin.hw"),
        ("sw/b.py", "import haarlequin.sw.f", "circle: sw.b → sw.f → sw.b"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, planted, line, fault):
    for file in ("hw/a.py", "sw/b.py", "sim/c.py", "models/d.py", "models/data/e.py", "sw/f.py"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "from haarlequin.sw.b import x\n" if file == "sw/f.py" else "x = 1\n", encoding="utf-8"
        )
    assert faults(tmp_path) == []
    (tmp_path / planted).write_text(line, encoding="utf-8")
    assert any(each.startswith(fault) for each in faults(tmp_path)), faults(tmp_path)


TESTS = sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_test_makes_a_second_copy_of_a_module(path):
    """`import hw` works in the checkout, and gives classes that are none of `haarlequin.hw`."""
    wanted = {each.partition(".")[0] for each in imports(path, "tests")}
    assert wanted.isdisjoint(BELOW), f"say haarlequin.{min(wanted & {*BELOW})}"
