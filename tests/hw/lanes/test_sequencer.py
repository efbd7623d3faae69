import random
from collections import Counter
from dataclasses import replace

import pytest

from haarlequin.hw.codes import OperationCode
from haarlequin.hw.lanes.sequencer import Sequencer
from haarlequin.hw.presets import CONFIGS
from haarlequin.hw.program import CONTEXTS, pass_groups, pass_layout
from haarlequin.hw.timing import updates_read
from haarlequin.sw.compiler.encode import program_words
from tests.hw.bench import simulate

pytestmark = pytest.mark.slow

OPERATIONS = [code for code in OperationCode if code < OperationCode.WAITING]
"""What a pass may be of."""
UPDATES = len(pass_groups(CONFIGS["2x64"]))
"""Of a pass, at most."""
STROBES = ("begin", "done", "holds_head", "fresh", "operation")
TOKEN = (
    "enable",
    "starts",
    "live",
    "first",
    "begins",
    "ends",
    "number",
    "edges",
    "place",
    "moved",
    "summed",
)


def machine(program):
    """Of room for so many passes."""
    return replace(CONFIGS["2x64"], program=program * UPDATES, max_tokens=24, max_columns=6)


def drawn_pass(generator, tokens):
    """A pass of a whole grid, some of them merges; or of some of so many tokens, at times of none, at times
    of filler beyond them, of a window or not.
    """
    interval = generator.choice([0, 0, 1, 3, 5])
    columns = generator.randint(1, 6)
    skip, moves = 0, {}
    if generator.random() < 0.6:
        rows = generator.randint(1, 24 // columns)
        if merge := int(rows % 2 == columns % 2 == 0):
            moves = {name: generator.randrange(99) for name in ("odd_row", "odd_column")}
            moves |= {name: generator.randrange(16) for name in ("chunk_row", "chunk_column")}
        issued = stop = rows * columns
        moves["merge"] = merge
    else:
        issued = generator.choice([0, 1, tokens, tokens + generator.randrange(4)])
        skip = generator.randrange(issued + 1)
        stop = generator.randint(skip, issued)
        columns = min(columns, max(1, stop))
    busy = issued * (1 + interval)
    return {
        "cycles": max(updates_read(UPDATES), busy + generator.choice([0, 0, 1, 5])),
        "operation": generator.choice(OPERATIONS),
        "wait_head": int(generator.random() < 0.2),
        "load_weights": int(generator.random() < 0.5),
        "tokens": issued,
        "skip": skip,
        "stop": stop,
        "interval": interval,
        "columns": columns,
        "jump": generator.randrange(6),
        **moves,
        "bits_base": generator.randrange(16),  # any other field
        "threshold": generator.getrandbits(16),
        "end": 0,
    }


def drawn_program(generator, length, tokens):
    program = [drawn_pass(generator, tokens) for _ in range(length)]
    program[0]["wait_head"] = 1  # for nothing: it does not wait
    program[-1]["end"] = 1
    return program


def issued(fields, slot):
    """The token of a pass's cycle, None where there is none or nothing uses it, and its place before a merge
    moves it.
    """
    number, cycle = divmod(slot, 1 + fields["interval"])
    skip, stop = fields["skip"], fields["stop"]
    if number >= fields["tokens"] or cycle > 0:
        return None
    live = skip <= number < stop
    starts, first, begins, ends = slot == 0, number in (0, stop - skip), number == skip, number == stop - 1
    row, column = divmod(number, fields["columns"])
    edges = (row == 0, number >= stop - fields["columns"], column == 0, column == fields["columns"] - 1)
    place, moved, summed = number + row * fields["jump"], 0, 1
    here = place
    if fields.get("merge"):
        here = row // 2 * (fields["columns"] // 2) + column // 2
        place = here + row % 2 * fields["odd_row"] + column % 2 * fields["odd_column"]
        moved = row % 2 * fields["chunk_row"] + column % 2 * fields["chunk_column"]
        summed = row % 2
    bits = sum(edge << i for i, edge in enumerate(edges)) if live and not skip else 0
    return tuple(
        map(
            int,
            (True, starts, live, first, begins, ends, number, bits, place, moved, summed, here),
        )
    )


def golden(program, inputs):
    """The strobes, pass and token of each cycle, given its (start, head_free, tile_ready)."""
    seen, number, slot = [], None, 0
    for start, head_free, tile_ready in inputs:
        running = number is not None
        fields = program[number] if running else None
        last = running and slot >= fields["cycles"] - 1
        final = not running or (last and fields["end"])
        following = 0 if final else number + 1
        waits = last and not final and program[following]["wait_head"]
        known = final or last  # before that, what comes next is of no matter
        has_tile = not known or tile_ready or not program[following]["load_weights"]
        goes = has_tile and (start if final else last and (head_free or not waits))
        late = running and last and not final and (head_free or not waits) and not has_tile
        spent = running and (goes or final or not last)
        strobes = (final and goes, running and final, waits and goes, running and slot == 0)
        operation = OperationCode.LATE if late else OperationCode.WAITING
        operation = fields["operation"] if spent else operation
        token = issued(fields, slot) if running else None
        seen.append((*map(int, strobes), operation, number, token))
        if goes:
            number, slot = following, 0
        elif final:
            number = None
        else:
            slot += 1
    return seen


def shown(token, fields):
    """The members of a token. Edges matter only where its results count, and in passes without a lead."""
    members = {name: token[name] for name in TOKEN}
    if fields["skip"]:
        members["edges"] = 0
    return tuple((members | {"edges": members["edges"] * members["live"]}).values())


def rtl(block, config, program, inputs, read_back=True):
    """The like of the block. That passes in flight differ in their contexts is asserted here."""
    layout, seen, contexts = pass_layout(config), [], []
    passes = [layout.const(fields).as_value().value for fields in program]
    words = program_words(config, program)

    async def testbench(context):
        get = context.get
        context.set(block.program.en, 1)
        for address, word in enumerate(words):
            context.set(block.program.addr, address)
            context.set(block.program.data.as_value(), word)
            await context.tick()
        context.set(block.program.en, 0)
        # The host reads it back while its first pass is on its way, or leaves it to what it has written.
        context.set(block.program.addr, len(words) - 1)
        context.set(block.program.read, read_back)
        await context.tick().repeat(3)
        context.set(block.program.read, 0)
        await context.tick().repeat(updates_read(UPDATES) + 2)
        begun = False
        for start, head_free, tile_ready in inputs:
            context.set(block.start, start)
            context.set(block.head_free, head_free)
            context.set(block.tile_ready, tile_ready)
            loads = get(block.next_loads)
            if loads:
                follows = number_after(program, get(block.index) if begun else None)
                assert get(block.next_base) == program[follows].get("weights_base", 0)
                assert program[follows]["load_weights"]
            strobes = tuple(get(getattr(block, name)) for name in STROBES)
            number = get(block.index) if begun else None
            if begun:
                assert get(block.current.as_value()) == passes[number]
            token = get(block.token)
            issues = token.enable or token.live
            assert begun or not issues
            seen.append(
                (*strobes, number, (*shown(token, program[number]), get(block.place)) if issues else None)
            )
            if strobes[3]:
                contexts.append(token.context)
            elif begun:
                assert token.context == contexts[-1]
            begun = strobes[0] or (begun and not strobes[1])
            await context.tick()

    simulate(block, testbench)
    assert all(len(set(contexts[i : i + CONTEXTS])) == CONTEXTS for i in range(len(contexts) - CONTEXTS + 1))
    return seen


def number_after(program, number):
    """The number of the pass after one; the program's first one is after the last, and after none."""
    return 0 if number is None or program[number]["end"] else number + 1


def drawn_inputs(generator, cycles, starts, frees, tiles=1):
    """``starts``, ``frees`` and ``tiles`` are the chances that an image waits, that the head is free, and
    that the next pass's weights are there.
    """
    chances = starts, frees, tiles
    return [tuple(generator.random() < chance for chance in chances) for _ in range(cycles)]


@pytest.mark.parametrize(
    ("starts", "frees", "tiles"),
    [(1, 1, 1), (1, 0.1, 1), (0.1, 1, 1), (0.3, 0.3, 1), (1, 1, 0.1), (0.5, 0.4, 0.3)],
)
@pytest.mark.parametrize(("length", "tokens"), [(1, 1), (2, 5), (3, 7), (13, 6), (17, 7)])
def test_images_one_behind_the_other(length, tokens, starts, frees, tiles):
    """Passes of one token a cycle and of one every other, of none and of filler; waits for image, head and
    weights.
    """
    generator = random.Random(length)
    config = machine(max(length, 2))
    program = drawn_program(generator, length, tokens)
    inputs = drawn_inputs(generator, 600 + 40 * length, starts, frees, tiles)
    expected = golden(program, inputs)
    assert sum(strobes[1] for strobes in expected) > 1, "fewer than two images"
    assert rtl(Sequencer(config), config, program, inputs) == expected


def test_operations_count_the_cycles_of_their_passes():
    """Three images at once, then one that finds the head taken for eleven cycles, then none."""
    generator = random.Random(3)
    config = machine(16)
    program = drawn_program(generator, 11, 7)
    for number, fields in enumerate(program):
        fields["wait_head"] = int(number == 8)
    image = sum(fields["cycles"] for fields in program)
    before = sum(fields["cycles"] for fields in program[:8])
    last = 1 + 3 * image + before - 1  # cycle in which the last image asks for the head
    inputs = [(cycle <= 3 * image, not last <= cycle < last + 11, 1) for cycle in range(4 * image + 40)]
    seen = rtl(Sequencer(config), config, program, inputs, read_back=False)
    wanted = Counter()
    for fields in program:
        wanted[fields["operation"]] += 4 * fields["cycles"]
    wanted[OperationCode.WAITING] = len(inputs) - 4 * image
    assert Counter(cycle[4] for cycle in seen) == wanted
    begins, ends = ([i for i, cycle in enumerate(seen) if cycle[strobe]] for strobe in (0, 1))
    assert begins == [image * i for i in range(4)]
    assert ends == [image * (i + 1) for i in range(3)] + [4 * image + 11]


def test_a_pass_of_as_many_cycles_and_tokens_as_there_can_be():
    config = machine(2)
    layout = pass_layout(config)
    limits = {name: (1 << layout[name].width) - 1 for name in ("cycles", "tokens")}
    fields = drawn_pass(random.Random(0), 7) | {"end": 1, "wait_head": 0, "interval": 1} | limits
    fields |= {"skip": 3, "stop": limits["tokens"], "merge": 0}
    inputs = [(1, 1, 1)] * (limits["cycles"] + 20)
    expected = golden([fields], inputs)
    assert rtl(Sequencer(config), config, [fields], inputs) == expected
