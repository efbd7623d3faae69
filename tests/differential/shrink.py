"""Shrink a case that fails to one that is as small and as simple as can be, greedily."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.config import ModelConfig
from haarlequin.models.stages import ATTENTION, CONVOLUTION, Stage, Stem
from haarlequin.models.widths import Widths
from tests.differential.case import BLACK, KNOWN, WHITE, Case, Pair
from tests.differential.compare import Comparisons
from tests.small_machines import MACHINES

AT_ONCE = 12
"""Cases that are tried together: to start a simulation takes longer than a small case."""

Fails = Callable[[Sequence[Case]], Iterable[bool]]
"""Which of the cases fail as the original one does: one after another, or all at once."""


def failing(compare: Comparisons, name: str) -> Fails:
    """The cases whose last pair fails in the comparison of that name."""

    def fails(cases: Sequence[Case]) -> Iterator[bool]:
        if name == "RTL" and all(len(case.pairs) == 1 for case in cases):
            for _, alike in groupby(cases, lambda case: replace(case, pairs=())):
                first, *others = alike
                together = first.with_(first.pairs[0], *(case.pairs[0] for case in others))
                yield from map(bool, compare(together, [name])[name])
        else:
            for case in cases:
                yield bool(compare(case, [name])[name][-1])

    return fails


def shrink(case: Case, fails: Fails) -> Case:
    """The smallest case that is found and still fails; ``case`` itself fails by its last pair.

    After a case that fails, the search goes on with the next thing to make smaller, and does not begin again.
    """
    place, failed_all = 0, False
    while not failed_all:
        candidates = list(_smaller(case))
        place %= max(1, len(candidates))
        around = [*range(place, len(candidates)), *range(place)]
        failed_all = True
        for some in (around[i : i + AT_ONCE] for i in range(0, len(around), AT_ONCE)):
            failed = zip(some, fails([candidates[i] for i in some]), strict=False)
            if (found := next((i for i, yes in failed if yes), None)) is not None:
                case, place, failed_all = candidates[found], found, False
                break
    return _with_zeros(case, [name for name, _ in case.pairs[-1].network.named_parameters()], fails)


def _with_zeros(case: Case, names: list[str], fails: Fails) -> Case:
    """The case with as many of these parameters of the last network at zero as possible: all, or else as many
    of one half and of the other one.
    """
    *before, last = case.pairs
    zero = case.with_(*before, replace(last, plain=last.plain.union(names)))
    if any(fails([zero])):
        return zero
    if len(names) > 1:
        for half in (names[len(names) // 2 :], names[: len(names) // 2]):
            case = _with_zeros(case, half, fails)
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Cases that are smaller or simpler in one thing, the boldest first."""
    *before, last = case.pairs
    if before:
        yield case.with_(last)
        for size in (len(before) // 2, len(before) // 4, 1):
            for start in range(0, len(before), max(1, size)) if size else ():
                yield case.with_(*before[:start], *before[start + size :], last)
    for pair in _smaller_pairs(last):
        yield case.with_(*before, pair)
    for name in ("gaps", "stalls"):
        if getattr(case, name):
            yield replace(case, **{name: 0})
    if case.machine and case.machine.name not in KNOWN:
        yield from (replace(case, machine=machine) for machine in MACHINES.values())


def _smaller_pairs(pair: Pair) -> Iterator[Pair]:
    if len(pair.images) > 1:
        yield from (replace(pair, images=(number,)) for number in dict.fromkeys(pair.images))
    elif pair.images[0] not in (BLACK, WHITE):
        yield from (replace(pair, images=(number,)) for number in (BLACK, WHITE))
    for changes in _simpler(pair.config):
        try:
            config = pair.config.with_(**changes)
        except ConfigError:
            continue
        if config != pair.config:
            yield replace(pair, config=config)


def _simpler(config: ModelConfig) -> Iterator[dict[str, Any]]:
    """Changes that make a model smaller or simpler. Not all of them are legal."""
    stages, stem, (height, width) = config.stages, config.stem, config.image
    if len(stages) > 1:
        yield {"stages": stages[:-1]}
        (rows, columns), step = config.grids[1], stem.step
        yield {"stages": stages[1:], "image": (rows * step, columns * step)}
    for i, stage in enumerate(stages):
        for simpler in _simpler_stages(stage):
            yield {"stages": (*stages[:i], simpler, *stages[i + 1 :])}
    unit = stem.step << sum(stage.merge for stage in stages)
    for rows in dict.fromkeys((unit, height // 2 // unit * unit, height - unit)):
        yield from [{"image": (rows, width)}] if unit <= rows < height else []
    for columns in dict.fromkeys((unit, width // 2 // unit * unit, width - unit)):
        yield from [{"image": (height, columns)}] if unit <= columns < width else []
    for dims in ([stage.dim // 2 for stage in stages], [stage.heads for stage in stages]):
        parts = list(zip(stages, dims, strict=True))
        if all(0 < dim < stage.dim and dim % stage.heads == 0 for stage, dim in parts):
            yield {"stages": tuple(replace(stage, dim=dim) for stage, dim in parts)}
    if stem != Stem(1):
        yield {"stem": Stem(1), "image": config.grids[0]}
    for name, value in {
        "segmentation": False,
        "classes": config.classes[:2],
        "mlp_ratio": 1,
        "theta": 1,
        "hfsc": False,
        "diba": False,
        "irprelu": False,
        "own": "fixed",
        "widths": Widths(),
    }.items():
        yield {name: value}
    if config.channels > 1:
        yield {"channels": 1, "mean": config.mean[:1]}


def _simpler_stages(stage: Stage) -> Iterator[Stage]:
    if stage.layers > 1:
        yield from (replace(stage, layers=layers) for layers in dict.fromkeys((1, stage.layers - 1)))
    if stage.kind == ATTENTION:
        yield Stage(CONVOLUTION, stage.dim, stage.layers, merge=stage.merge)
        yield from [replace(stage, heads=1)] if stage.heads > 1 else []
        yield from [replace(stage, window=0, shifted=False)] if stage.window else []
        yield from [replace(stage, shifted=False)] if stage.shifted else []
    if stage.merge:
        yield replace(stage, merge=False)
    if stage.token_offsets:
        yield replace(stage, token_offsets=False)
