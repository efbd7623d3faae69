"""Which files are broken, how many of their mutants are drawn, and which tests are asked.

Folders are found, not listed: a block that is added to one of them takes part without a change here.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]

PARTS = ("models/arithmetic", "hw", "sw/compiler", "sw/devices", "sw/scalar")
"""Folders whose files, and those of the folders below, are broken."""

LEFT_OUT = {
    "hw/area.py": "a report on what the blocks cost",
    "hw/presets.py": "sizes, chosen for boards; the tables of docs/ would change with them",
    "hw/verilog.py": "a tool; Icarus runs what it writes",
    "hw/bitstream": "runs tools, and computes nothing",
    "hw/link/usb_ids.py": "numbers and names that both ends take from there",
    "hw/boards": "pins, of which every one is in a test that has the same table",
    "sw/compiler/report.py": "text for a person",
}

DRAWN = {"hw/lanes": 100, "hw/link": 100, "sw/compiler": 100, "sw/devices": 100}
"""Mutants that are drawn from a folder; from another one `OTHERS`."""
OTHERS = 40

SIMULATION = "tests/sim/test_simulate.py"
LANES = (SIMULATION, "-k", "small_machines and (3x24 or 4x16)")
SCALAR = (SIMULATION, "-k", "scalar_machine")
COMPILED = ("tests/sw/compiler/test_compile_model.py", "-k", "not random_models or 3x24 or 4x16")

IN_LINK = ("frames", "judgement", "ports", "receiver", "repeat", "sender", "words")
"""Parts of the link, which are tested within it."""

OWN: dict[str, tuple[str, ...]] = {
    "hw/accelerator.py": ("tests/hw/test_accelerator.py", "tests/hw/test_machine.py"),
    "hw/timing.py": ("tests/hw/test_timing.py", "tests/sw/compiler/test_schedule.py"),
    **dict.fromkeys(
        (f"hw/lanes/{name}.py" for name in ("layers", "blocks", "fetch", "write_back")),
        ("tests/hw/test_machine.py",),
    ),
    "hw/lanes/program_reader.py": ("tests/hw/lanes/test_sequencer.py",),
    **dict.fromkeys(
        (f"hw/{name}.py" for name in ("program", "pass_fields", "settings")),
        ("tests/hw/test_config.py", "tests/hw/test_machine.py"),
    ),
    "hw/attention/tiles.py": ("tests/hw/attention/test_row_maximum.py", "tests/hw/attention/test_softmax.py"),
    "hw/ends/patch_walk.py": ("tests/hw/ends/test_embedding.py",),
    "hw/ends/results.py": ("tests/hw/test_machine.py",),
    "hw/scalar/step.py": ("tests/hw/scalar/test_core.py",),
    "hw/common/sizes.py": ("tests/hw/lanes/test_popcount.py", "tests/hw/common/test_counters.py"),
    **dict.fromkeys(
        (
            f"hw/link/{name}.py"
            for name in ("frames", "judgement", "ports", "receiver", "repeat", "sender", "words")
        ),
        ("tests/hw/link/test_link.py",),
    ),
    "hw/link/identity.py": ("tests/hw/link/test_protocol.py",),
    "hw/families/carry.py": ("tests/hw/lanes/test_hamming.py",),
    "hw/families/": ("tests/hw/families",),
    "sw/compiler/": COMPILED,
    "sw/devices/link.py": ("tests/sw/devices/test_link_device.py", "tests/sw/devices/test_unplugged.py"),
    "sw/devices/": ("tests/sw/devices",),
    "sw/scalar/": ("tests/sw/scalar",),
}
"""By the beginning of a path, the tests of files without one of their name, or with further ones."""

WHOLE: dict[str, tuple[tuple[str, ...], ...]] = {
    "models/arithmetic": (("tests/models/test_golden.py",), ("tests/models/test_golden_stages.py",)),
    "hw/scalar": (SCALAR,),
    "hw/families": (("tests/hw/families",), ("tests/sw/verilated/test_cells.py",)),
    "sw/scalar": (("tests/sw/scalar",), SCALAR),
    "sw/compiler": (COMPILED, LANES),
    "sw/devices": (("tests/sw/devices",),),
    "hw": (LANES,),
}
"""By the beginning of a path, the tests of the whole that are asked after a file's own, in this order."""


def files() -> list[str]:
    """The files that take part, as paths from `ROOT`."""
    found = sorted(
        path.relative_to(ROOT).as_posix() for part in PARTS for path in (ROOT / part).rglob("*.py")
    )
    return [
        path for path in found if not any(path == each or path.startswith(f"{each}/") for each in LEFT_OUT)
    ]


def folder_of(path: str) -> str:
    """The folder of a file, by which mutants are drawn and counted."""
    return path.rpartition("/")[0]


def own_bench(path: str) -> tuple[str, ...]:
    """Arguments for pytest that name a file's own tests; none where it has none."""
    bench = f"tests/{folder_of(path)}/test_{Path(path).stem}.py"
    if (ROOT / bench).exists() and path not in OWN:
        return (bench,)
    return next((tests for prefix, tests in OWN.items() if path.startswith(prefix)), ())


def benches(path: str) -> list[tuple[str, ...]]:
    """Arguments for pytest that name a file's own tests, then those of the whole; no test is asked twice."""
    own = own_bench(path)
    known = next(prefix for prefix in WHOLE if path.startswith(f"{prefix}/"))
    return [bench for bench in (own, *(each for each in WHOLE[known] if each != own)) if bench]


def rank(seed: int, path: str, mutant: Mutant) -> str:
    """The mutants that come first by this text are drawn. It depends on the mutant alone, so that
    a change of one file leaves the draw from all others as it was, and no campaign is lost.
    """
    return sha256(f"{seed} {path} {mutant}".encode()).hexdigest()


def drawn(seed: int) -> Iterator[tuple[str, Mutant]]:
    """(file, mutant) of each folder in turn, as many as `DRAWN` says; every file gives at least one."""
    by_folder: dict[str, list[tuple[bool, str, str, Mutant]]] = {}
    for path in files():
        some = mutants((ROOT / path).read_text(encoding="utf-8"))
        ranked = sorted(((rank(seed, path, mutant), mutant) for mutant in some), key=lambda item: item[0])
        places = by_folder.setdefault(folder_of(path), [])
        places += ((i > 0, order, path, mutant) for i, (order, mutant) in enumerate(ranked))
    for folder, places in by_folder.items():
        places.sort(key=lambda item: item[:2])
        for _, _, path, mutant in places[: DRAWN.get(folder, OTHERS)]:
            yield path, mutant
