import random
from dataclasses import replace

import pytest

from haarlequin.hw.common.pipeline import SPREAD
from haarlequin.hw.lanes.loader import Loader, balance, local_layout, pads
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import constants_layout
from haarlequin.hw.timing import FETCH, timing
from haarlequin.models.widths import Widths
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

SILENCE = 12
"""Cycles after the last load in which nothing more may come."""

FLAGS = ("keys", "load", "load_local", "load_constants", "load_moves")
WIDE = Widths(wide=16, offset=16, multiplier=12, bias=20, slope=8, affine_shift=(4, 8), slope_shift=(2, 6))


def machine(lanes, width, widths=None):
    """Depths that are no powers of two, room for five tiles in each table."""
    return replace(
        CONFIGS["2x64"],
        lanes=lanes,
        width=width,
        weights=5 * lanes,
        constants=5 * lanes,
        local=5 * lanes,
        signs=5 * lanes,
        widths=widths or Widths(),
    )


def tables_of(config, generator):
    """Words of every bit pattern, by the port they go to; and the sign memory, which is not the loader's."""
    shapes = {"weights_table": config.width, "constants_table": constants_layout(config).size}
    shapes |= {"local_table": local_layout(config).size, "signs": config.width}
    depths = (config.weights, config.constants, config.local, config.signs)
    return {
        name: [generator.getrandbits(bits) for _ in range(depth)]
        for (name, bits), depth in zip(shapes.items(), depths, strict=True)
    }


def drawn_load(config, generator, loads):
    """The parts of a pass that loads so much, the other fields drawn too."""
    bases = {name: generator.randint(0, 4 * config.lanes) for name in ("weights_base", "local_base")}
    widths = config.widths
    shifts = {
        f"{name}_shift": generator.choice([0, high - low, generator.randint(0, high - low)])
        for name, (low, high) in {"affine": widths.affine_shift, "slope": widths.slope_shift}.items()
    }
    flags = {name: int(name in loads) for name in LOADS}
    low, high = sorted(generator.sample(range(config.width + 1), 2))
    bases |= generator.choice([{"keys_low": low, "keys_high": high}, {"keys_low": 0, "keys_high": high}])
    same = generator.getrandbits(1)
    last = 5 * config.lanes - 1 if same else 4 * config.lanes
    bases["constants_base"] = generator.choice([last, generator.randint(0, last)])
    return bases | shifts | flags | {"same_constants": same}


LOADS = ("load_weights", "load_keys", "load_constants", "load_moves", "load_local")
COMBINATIONS = [
    (),
    ("load_weights",),
    ("load_keys",),
    ("load_constants",),
    ("load_local",),
    ("load_constants", "load_moves"),
    ("load_moves",),
    ("load_weights", "load_constants", "load_local"),
    ("load_keys", "load_constants"),
    ("load_weights", "load_constants", "load_moves"),
]


def padded(key, parts, width):
    """A key with what is not used of it replaced."""
    pad = pads(width)
    used = range(parts["keys_low"], parts["keys_high"])
    return sum((key >> i & 1 if i in used else pad[i]) << i for i in range(width))


@pytest.mark.parametrize("width", [2, 6, 64, 128])
def test_balance_is_what_the_pads_leave_over(width):
    for low in range(width + 1):
        for high in range(low, width + 1):
            unused = [bit for i, bit in enumerate(pads(width)) if not low <= i < high]
            assert sum(unused) - unused.count(0) == balance(low, high)


def golden(config, tables, loads):
    """What comes out in each cycle, by the name of its strobe, given (begin, parts) of each load."""
    events = {}

    def event(cycle, name, value):
        events.setdefault(cycle, {})[name] = value

    for begin, parts in loads:
        for lane in range(config.lanes):
            cycle, word = begin + lane + FETCH, parts["weights_base"] + lane
            if parts["load_keys"]:
                event(begin + lane + 1, "keys", word)
                event(cycle, "load", padded(tables["signs"][word], parts, config.width))
            elif parts["load_weights"]:
                event(cycle, "load", tables["weights_table"][word])
            if parts["load_local"]:
                event(cycle, "load_local", tables["local_table"][parts["local_base"] + lane])
            if not parts["load_constants"]:
                continue
            word = tables["constants_table"][
                parts["constants_base"] + (0 if parts["same_constants"] else lane)
            ]
            cycle += timing(config).acc - SPREAD - timing(config).swap
            if parts["load_moves"]:
                event(cycle, "load_moves", word % (1 << 4 * config.widths.offset))
                continue
            c = constants_layout(config).from_bits(word)
            slopes = (slope << parts["slope_shift"] for slope in (c.positive, c.negative))
            event(cycle, "load_constants", (c.a << parts["affine_shift"], c.b, *slopes, c.offset, c.move))
    return events


def rtl(block, config, tables, loads):
    """The like of the block: ``loads`` begin in the cycles given. Where weights come from outside, a load's
    words are there when it asks for them.
    """
    events, generator = {}, random.Random(0)
    begins, outside = dict(loads), config.weight_interval > 0
    tiles = [
        parts["weights_base"] for _, parts in sorted(loads, key=lambda load: load[0]) if parts["load_weights"]
    ]
    host = (
        ("constants_table", "local_table") if outside else ("weights_table", "constants_table", "local_table")
    )
    cycles = max(begins) + config.lanes + timing(config).acc + SILENCE

    async def testbench(context):
        for name in host:
            port = getattr(block, name)
            for address, word in enumerate(tables[name]):
                context.set(port.addr, address)
                context.set(port.data if name == "weights_table" else port.data.as_value(), word)
                context.set(port.en, 1)
                await context.tick()
            context.set(port.en, 0)
        (asked, wanted), fetched = (None, None), None
        for cycle in range(cycles):
            context.set(block.begin, cycle in begins)
            parts = begins.get(cycle) or drawn_load(config, generator, LOADS)
            context.set(block.parts, parts)
            if outside:
                context.set(
                    block.weights_word, generator.getrandbits(config.width) if fetched is None else fetched
                )
                lane, fetched = context.get(block.weights_lane), None
                if tiles and lane < config.lanes:
                    fetched = tables["weights_table"][tiles[0] + lane]
                if context.get(block.weights_loaded):
                    assert lane == config.lanes - 1
                    tiles.pop(0)
            context.set(block.key, generator.getrandbits(config.width) if asked is None else asked)
            strobes = {name for name in FLAGS if context.get(getattr(block, name))}
            if strobes:
                events[cycle] = {name: outputs(context, name) for name in strobes}
            word = context.get(block.key_address)
            asked, wanted = wanted, tables["signs"][word] if "keys" in strobes else None
            await context.tick()

    def outputs(context, name):
        if name == "keys":
            return context.get(block.key_address)
        if name == "load_constants":
            c = context.get(block.constants)
            return c.a, c.b, c.positive, c.negative, c.offset, c.move
        shown = {"load": block.weights, "load_local": block.local, "load_moves": block.moves}[name]
        return context.get(shown if name == "load" else shown.as_value())

    simulate(block, testbench)
    assert not (outside and tiles), "tiles that were not loaded"
    return events


@pytest.mark.parametrize(("gaps", "outside"), [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize(
    ("lanes", "width", "widths"),
    [(1, 2, None), (2, 64, None), (3, 6, WIDE), (7, 14, None), (16, 64, WIDE)],
)
def test_loads_one_behind_the_other(lanes, width, widths, gaps, outside):
    """Every combination, the next load beginning right behind the last lane of the one before, or later."""
    generator = random.Random(lanes)
    config = replace(machine(lanes, width, widths), weight_interval=outside)
    tables, loads, cycle = tables_of(config, generator), [], 3
    for _ in range(4):
        for combination in generator.sample(COMBINATIONS, len(COMBINATIONS)):
            loads.append((cycle, drawn_load(config, generator, combination)))
            cycle += lanes + gaps * generator.randrange(6)
    assert rtl(Loader(config), config, tables, loads) == golden(config, tables, loads)


def test_the_ends_of_every_table():
    config, generator = machine(4, 8), random.Random(1)
    tables, loads = tables_of(config, generator), []
    for i, base in enumerate((0, 16, 3, 16)):
        parts = drawn_load(
            config, generator, ("load_keys" if i % 2 else "load_weights", *LOADS[2:3], LOADS[4])
        )
        bases = {"weights_base": base, "constants_base": base, "local_base": base, "same_constants": 0}
        loads.append((2 + 4 * i, parts | bases))
    assert rtl(Loader(config), config, tables, loads) == golden(config, tables, loads)
