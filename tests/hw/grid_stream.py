"""Images through a block that takes tokens row by row: gaps, filler, several grids without a reset."""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

from amaranth.hdl import Value
from amaranth.lib import wiring

from tests.hw.bench import simulate

GRIDS = [(1, 1), (1, 7), (7, 1), (2, 2), (1, 2), (2, 1), (3, 5), (5, 3), (2, 13), (5, 7)]
"""Rows and columns: one, a line either way, the smallest square, primes."""

Image = tuple[tuple[int, int], list]


def stream(
    design: wiring.Component,
    port: str,
    images: list[Image],
    outputs: dict[str, int],
    lead: Callable[[int], int],
    filler: Callable[[], object],
    generator: random.Random,
    gaps: float,
    held: Mapping[str, object] = MappingProxyType({}),
) -> list[dict[str, list[int]]]:
    """The bits of each of ``outputs`` (name to latency) that belong to each token of each of ``images``.

    An image is its grid and the values of ``port`` for its tokens. Images of one grid follow each other at
    once or behind filler; ``gaps`` is the chance that a cycle brings nothing but noise; ``held`` are the
    values of inputs that do not move. That an output stays until the next one comes is asserted here, through
    gaps and for a while after the end.
    """
    tokens, completed = [], []
    for i, (grid, words) in enumerate(images):
        completed.append(len(tokens) + lead(grid[1]))
        at_once = i + 1 < len(images) and images[i + 1][0] == grid and generator.random() < 0.7
        behind = 0 if at_once else lead(grid[1]) + generator.randrange(3)
        again = generator.choice([len(words), behind + 1])  # `first` once or at every N tokens of the filler
        tokens += [(grid[1], j == 0, word) for j, word in enumerate(words)]
        tokens += [(grid[1], j % again == 0, filler()) for j in range(behind)]

    trace: dict[str, list[int]] = {name: [] for name in outputs}
    taken = []

    async def testbench(context):
        for name, value in held.items():
            context.set(getattr(design, name), value)

        async def cycle(enable, word, next_first):
            context.set(design.enable, enable)
            context.set(design.first, next_first)
            context.set(getattr(design, port), word)
            for name, values in trace.items():
                values.append(context.get(Value.cast(getattr(design, name))))
            await context.tick()

        async def noise(next_first=None):
            await cycle(0, filler(), generator.getrandbits(1) if next_first is None else next_first)

        firsts = [first for _, first, _ in tokens]
        following = [columns for columns, _, _ in tokens[1:]] + [0]  # they come a cycle before the token
        context.set(design.columns, tokens[0][0])
        await noise(firsts[0])
        for (_, _, word), columns, next_first in zip(tokens, following, [*firsts[1:], 0], strict=True):
            pause = 0
            while generator.random() < gaps:
                pause += 1
            context.set(design.columns, columns)
            taken.append(len(next(iter(trace.values()))))
            await cycle(1, word, generator.getrandbits(1) if pause else next_first)
            for left in reversed(range(pause)):
                await noise(None if left else next_first)
        for _ in range(max(outputs.values()) + 10):
            await noise()

    simulate(design, testbench)

    for name, latency in outputs.items():
        ends = [cycle + latency for cycle in taken[1:]] + [len(trace[name])]
        for cycle, end in zip(taken, ends, strict=True):
            held = trace[name][cycle + latency : end]
            assert latency == 0 or held == held[:1] * len(held), f"{name} moved between two tokens"
    return [
        {
            name: [trace[name][taken[start + i] + latency] for i in range(len(words))]
            for name, latency in outputs.items()
        }
        for start, (_, words) in zip(completed, images, strict=True)
    ]
