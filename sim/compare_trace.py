"""Compare the trace of a simulated machine with the golden model, value by value."""

from collections.abc import Iterator

import numpy as np
from amaranth.lib import data

from haarlequin.models.golden import Trace
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.check import Checker, Difference
from haarlequin.sw.scalar import check as scalar
from haarlequin.sw.targets import AnyProgram

PORTS = ("acc", "y", "stored", "bits_0", "bits_1", "haar", "haar_bits_0", "haar_bits_1")
"""The ports of a pass, in the order in which a difference would spread."""


class Events:
    """A trace by its fields: ``trace[name]`` of every event, and ``cycles``, in which each event was.

    Arguments:
        layout: the layout of ``trace``.
        events: uint8 (events, ⌈layout.size / 8⌉), as `read_trace` returns them.
        cycles: int64 (events,), ascending.
    """

    def __init__(self, layout: data.StructLayout, events: np.ndarray, cycles: np.ndarray):
        self.layout, self.events, self.cycles = layout, events, cycles
        self._fields = dict(layout)

    def __len__(self) -> int:
        return len(self.events)

    def __getitem__(self, name: str) -> np.ndarray:
        """One number per event; for an array, one row of numbers per event."""
        shape, bits = self._fields[name].shape, self.bits(name)
        if isinstance(shape, data.ArrayLayout):
            element = shape.elem_shape
            return _numbers(bits.reshape(len(bits), shape.length, element.width), element.signed)
        return _numbers(bits, getattr(shape, "signed", False))

    def bits(self, name: str) -> np.ndarray:
        """One row of bits per event."""
        first, width = self._fields[name].offset, self._fields[name].width
        around = self.events[:, first // 8 : -(-(first + width) // 8)]
        return np.unpackbits(around, axis=1, bitorder="little")[:, first % 8 : first % 8 + width]

    def where(self, name: str) -> "Events":
        """The events that have something in this part."""
        return self.rows(self.bits(f"{name}_valid")[:, 0] == 1)

    def rows(self, chosen: slice | np.ndarray) -> "Events":
        """Some of the events: by a slice, their numbers, or a flag for each."""
        return Events(self.layout, self.events[chosen], self.cycles[chosen])


def _numbers(bits: np.ndarray, signed: bool) -> np.ndarray:
    weights = 1 << np.arange(bits.shape[-1])
    if signed:
        weights[-1] = -weights[-1]
    return bits @ weights


def compare(program: AnyProgram, events: Events, traces: list[Trace]) -> Iterator[Difference | None]:
    """For each image in turn, the first difference from its golden trace, or None."""
    if isinstance(program, Program):
        yield from _passes(program, events, traces)
        return
    stored = events.where("store")
    stores = list(zip(stored["store_address"].tolist(), stored["store"].tolist(), strict=True))
    for number, trace in enumerate(traces):
        image = stores[number * program.stores : (number + 1) * program.stores]
        yield scalar.compare(program.firmware, image, trace)


def _passes(program: Program, events: Events, traces: list[Trace]) -> Iterator[Difference | None]:
    acc, result, haar, attention = (events.where(name) for name in ("acc", "result", "haar", "attention"))
    shown = {
        "acc": (acc["acc_pass"], acc["acc_number"], np.zeros(len(acc["acc_pass"]), int), {"acc": acc["acc"]}),
        "result": (
            result["result_pass"],
            result["result_number"],
            np.zeros(len(result["result_pass"]), int),
            {
                "y": result["y"],
                "stored": result["stored"],
                "bits_0": result.bits("bits_0"),
                "bits_1": result.bits("bits_1"),
            },
        ),
        "haar": (
            haar["haar_pass"],
            haar["haar_number"],
            haar["haar_phase"],
            {"haar": haar["haar"], "haar_bits_0": haar.bits("bits_0"), "haar_bits_1": haar.bits("bits_1")},
        ),
        "attention": attention_rows(program, attention),
    }
    counts = event_counts(program)
    x, sums = events.where("x"), events.where("sum")["sum"]
    words = (x["x_address"], x["x"])
    for number, trace in enumerate(traces):
        checker = Checker(program.lowered, trace)
        found = [_embedding(program, words, number, trace), _pooled(program, sums, number, trace)]
        ranked = [(-1, 0, found[0]), (len(program.lowered.passes), 0, found[1])]
        for name, (index, tokens, phases, ports) in shown.items():
            part = slice(number * counts[name], (number + 1) * counts[name])
            for one, phase, rows in _groups(index, phases, part):
                for port, values in ports.items():
                    rank = PORTS.index(port) if port in PORTS else len(PORTS)
                    ranked.append((one, rank, checker.check(one, port, phase, tokens[rows], values[rows])))
        differences = [difference for _, _, difference in sorted(ranked, key=lambda r: r[:2]) if difference]
        if not differences and (missing := checker.missing()):
            differences = [Difference(missing[0], "nowhere in the trace", 1, 0)]
        yield differences[0] if differences else None


def event_counts(program: Program) -> dict[str, int]:
    """How many events an image has: every pass shows its live tokens once, the Haar unit shows both bands."""
    lowered = program.lowered
    live = [item["stop"] - item["skip"] for item in lowered.passes if item["tokens"]]
    split = [2 * item["keys"] for item in lowered.passes if item["haar"]]
    tiles = sum(item["keys"] * item["key_tiles"] for item in lowered.passes if item["softmax"])
    return {
        "acc": sum(live),
        "result": sum(live),
        "haar": sum(split),
        "attention": tiles,
    }


def _groups(index: np.ndarray, phases: np.ndarray, part: slice) -> Iterator[tuple[int, int, np.ndarray]]:
    """Group a part of the events by pass and phase: (pass, phase, the numbers of their events)."""
    rows = np.arange(len(index))[part]
    keys = index[rows] * (1 << 16) + phases[rows]
    order = np.argsort(keys, kind="stable")
    for group in np.split(rows[order], np.flatnonzero(np.diff(keys[order])) + 1):
        if len(group):
            yield int(index[group[0]]), int(phases[group[0]]), group


def attention_rows(
    program: Program, events: Events
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Rows of Â as (pass, token, phase, ports); the phase is the tile of keys."""
    lowered = program.lowered
    index = events["attention_pass"]
    names = "attention_base", "keys", "key_chunk"
    bases, keys, first = (np.array([item[name] for item in lowered.passes])[index] for name in names)
    word, row = np.divmod(events["attention_address"] - bases, np.maximum(keys, 1))
    tile = word * lowered.machine.chunks + events["attention_chunk"] - first
    return index, row, tile, {"attention": events.bits("attention")}


def _embedding(
    program: Program, words: tuple[np.ndarray, np.ndarray], number: int, trace: Trace
) -> Difference | None:
    """Compare x as the embedding has written it: ``words`` are (addresses, one row of lanes per word)."""
    lowered = program.lowered
    expected, lanes = trace["embedding.x"][0], lowered.machine.lanes
    n, dim = expected.shape
    tiles = -(-dim // lanes)
    part = slice(number * tiles * n, (number + 1) * tiles * n)
    addresses, rows = words[0][part] % (lowered.machine.bank_b // 2), words[1][part]
    if sorted(addresses) != list(range(tiles * n)):
        return Difference("embedding.x", "words", tiles * n, len(addresses))
    got = np.zeros((tiles * n, lanes), int)
    got[addresses] = rows
    got = got.reshape(tiles, n, lanes).transpose(1, 0, 2).reshape(n, -1)[:, :dim]
    wrong = np.argwhere(got != expected)
    if not len(wrong):
        return None
    token, channel = wrong[0]
    return Difference(
        "embedding.x",
        f"token {token}, channel {channel}",
        int(expected[token, channel]),
        int(got[token, channel]),
    )


def _pooled(program: Program, sums: np.ndarray, number: int, trace: Trace) -> Difference | None:
    expected = trace["pooled" if "pooled" in trace else "logits"][0].ravel()
    got = sums[number * len(expected) : (number + 1) * len(expected)]
    if len(got) != len(expected):
        return Difference("pooled", "channels", len(expected), len(got))
    wrong = np.flatnonzero(got != expected)
    if not len(wrong):
        return None
    channel = wrong[0]
    return Difference("pooled", f"channel {channel}", int(expected[channel]), int(got[channel]))
