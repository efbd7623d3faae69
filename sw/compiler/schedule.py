"""Decide when each pass begins.

No memory port may be used twice in one cycle, and nothing may be read before it is written. The machine
checks none of this. `schedule` goes through the passes in order, and lets each begin as early as every word,
port and register allows.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from haarlequin.hw.codes import Activation, Operand, SignMemory
from haarlequin.hw.common.pipeline import SPREAD
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.haar import HaarSplit
from haarlequin.hw.lanes.haar_unit import HaarUnit
from haarlequin.hw.program import CONTEXTS, pass_groups
from haarlequin.hw.timing import (
    HAAR_TOKEN,
    HIGH_AFTER_LOW,
    MAXIMUM_READ,
    NEXT,
    READ_BEFORE_WRITE,
    WRITE_BEFORE_READ,
    WRITE_BEFORE_WRITE,
    attention_written,
    clips_counted,
    maximum_written,
    pooled,
    timing,
    updates_read,
)
from haarlequin.sw.compiler.encode import changed_groups
from haarlequin.sw.compiler.grid import accumulated, inside, merged_places, outside, window_places
from haarlequin.sw.compiler.passes import Lowered, Pass


def schedule(lowered: Lowered) -> list[int]:
    """Set every pass's ``cycles``; returns the cycles in which the passes begin."""
    scheduler = _Scheduler(lowered.machine)
    starts = [scheduler.place(item) for item in lowered.passes]
    ends = [*starts[1:], scheduler.end]
    for item, start, end in zip(lowered.passes, starts, ends, strict=True):
        item.fields["cycles"] = end - start
    return starts


BANK_A, BANK_B, BANK_C, MAXIMUM = "bank A", "bank B", "bank C", "maximum"

_Name = str | SignMemory
"""A memory is called by one of these, or is a sign memory."""


def lead(item: Pass) -> int:
    """By how many tokens the Haar unit is ahead of the one whose window it completes."""
    return HaarSplit.lead(item["columns"])


class _Access(NamedTuple):
    """The accesses of a pass to one memory. Cycles are counted from the beginning of the pass.

    ``cycles`` says when each of ``words`` is accessed, and ``port`` in which cycles the port is taken.
    """

    memory: _Name
    words: np.ndarray
    cycles: np.ndarray
    port: np.ndarray


class _Port:
    """The cycles in which a memory port is taken."""

    def __init__(self):
        self.busy = np.zeros(1 << 12, bool)

    def _grow(self, cycle: int) -> None:
        while cycle >= len(self.busy):
            self.busy = np.concatenate([self.busy, np.zeros_like(self.busy)])

    @property
    def last(self) -> int:
        """The last cycle in which it is taken, or −1."""
        (cycles,) = self.busy.nonzero()
        return int(cycles[-1]) if len(cycles) else -1

    def free(self, cycles: np.ndarray) -> bool:
        self._grow(int(cycles.max()))
        return not self.busy[cycles].any()

    def take(self, cycles: np.ndarray) -> None:
        assert self.free(cycles), "two users of one port"
        self.busy[cycles] = True


class _Memory:
    """When each word of a memory was last written and last read."""

    def __init__(self, depth: int):
        self.written = np.zeros(depth, int)
        self.read = np.zeros(depth, int)


class _Scheduler:
    def __init__(self, machine: AcceleratorConfig):
        self.machine = machine
        self.stages = timing(machine)
        depths = {BANK_A: machine.bank_a, BANK_B: machine.bank_b // 2, MAXIMUM: machine.rows}
        depths |= dict.fromkeys(SignMemory, machine.signs)
        self.sums = BANK_C if machine.bank_c else BANK_A  # where partial sums lie
        depths[self.sums] = machine.partial_sums
        self.memories: dict[_Name, _Memory] = {name: _Memory(depth) for name, depth in depths.items()}
        self.ports: dict[tuple[_Name, str], _Port] = {}
        self.waits = machine.weight_interval > 0  # whether passes may begin later than the schedule says
        # All of these are cycles, except the pass before.
        self.in_flight: list[int] = []  # last cycle of each pass before
        self.next = 0  # earliest beginning of the next pass
        self.before: Pass | None = None  # the pass before
        self.begun = 0  # when the pass before began
        self.loaded = 0  # end of the last load
        self.local_loaded = 0  # the same for a pass that takes local weights, which it does early
        self.shifted = 0  # when the last bit of V has been shifted in
        self.attended = 0  # last result of the last softmax
        self.split = 0  # when the Haar unit may begin a tile
        self.pooled = 0  # when the sums of the last pooled tile have left
        self.end = 0  # end of the image

    def place(self, item: Pass) -> int:
        """Begin a pass as early as possible; returns the cycle in which it begins."""
        reads, writes = list(self._reads(item)), list(self._writes(item))
        start = max(self._registers(item), self._words(reads, writes))
        taken = [
            ((access.memory, way), access)
            for way, some in (("read", reads), ("write", writes))
            for access in some
        ]
        ports = [
            (self.ports.setdefault(name, _Port()), access.port) for name, access in taken if len(access.port)
        ]
        self.waits = self.waits or bool(item["wait_head"])
        if self.waits:
            # A pass that may begin later, and all that come after it, must not come into what is before.
            start = max([start, *(port.last + 1 - int(cycles.min()) for port, cycles in ports)])
        while not all(port.free(start + cycles) for port, cycles in ports):
            start += 1
        for port, cycles in ports:
            port.take(start + cycles)
        for access in reads:
            np.maximum.at(self.memories[access.memory].read, access.words, start + access.cycles)
        for access in writes:
            np.maximum.at(self.memories[access.memory].written, access.words, start + access.cycles)
        self._advance(item, start)
        return start

    def _words(self, reads: list[_Access], writes: list[_Access]) -> int:
        """The earliest beginning for which every word is read and overwritten in the order of the passes."""
        bounds = [np.zeros(1, int)]
        for access in reads:
            memory = self.memories[access.memory]
            bounds.append(memory.written[access.words] + WRITE_BEFORE_READ - access.cycles)
        for access in writes:
            memory = self.memories[access.memory]
            read = memory.read[access.words] + READ_BEFORE_WRITE
            written = memory.written[access.words] + WRITE_BEFORE_WRITE
            bounds.append(np.maximum(read, written) - access.cycles)
        return int(np.concatenate(bounds).max())

    def _registers(self, item: Pass) -> int:
        """The earliest beginning for which the registers that the pass needs or changes are free."""
        s, bounds = self.stages, [self.next]
        if self.before is not None:
            # The updates are read from the beginning of the pass before. That pass's own number of cycles,
            # which is decided here, may need one more update.
            updates = len(changed_groups(self.machine, self.before.fields, item.fields)) + 1
            bounds.append(self.begun + updates_read(updates))
        if len(self.in_flight) >= CONTEXTS:
            bounds.append(self.in_flight[-CONTEXTS] + NEXT)
        if item.needs is not None or self._loads(item):
            bounds += [self.loaded, self.local_loaded]
        if item["swap"]:
            bounds.append(self.shifted + NEXT - s.swap - SPREAD)
        if item["softmax"]:
            bounds.append(self.attended + NEXT - s.softmax)
        if item["haar"]:
            bounds.append(self.split - s.haar)
        if item["pool"]:
            bounds.append(self.pooled + NEXT - s.write)
        return int(max(bounds))

    @staticmethod
    def _loads(item: Pass) -> bool:
        return any(item[f"load_{part}"] for part in ("weights", "keys", "constants", "local"))

    def _advance(self, item: Pass, start: int) -> None:
        self.before, self.begun = item, start
        s, interval, tokens = self.stages, 1 + item["interval"], item["tokens"]
        last = start + tokens * interval - 1  # the last cycle that issues a token
        # The next pass begins only after the loads of this pass have begun.
        self.next = max(start + s.load + NEXT, last + NEXT)
        done = last + s.write if tokens else start
        self.in_flight.append(done)
        # The first pass of the next image updates every group.
        updates = updates_read(len(pass_groups(self.machine)))
        self.end = max(self.end, self.next, done + clips_counted(self.machine.lanes), start + updates)
        if self._loads(item):
            self.loaded = start + self.machine.lanes
            self.end = max(self.end, self.loaded)
        if item["load_local"]:
            self.local_loaded = self.loaded + s.swap - s.local
        if item["shift_values"]:
            self.shifted = last + s.result
        if item["softmax"]:
            self.attended = start + int(self._attention_writes(item).cycles.max())
            self.end = max(self.end, self.attended + NEXT)
        if item["haar"]:
            # It keeps its fields until it begins.
            self.split = start + s.haar + max(s.haar, HAAR_TOKEN * (item["keys"] + lead(item)))
        if item["pool"]:
            self.pooled = done + pooled(self.machine.lanes)

    # What a pass reads and writes

    def _access(
        self,
        item: Pass,
        memory: _Name,
        base: int,
        stage: int,
        tokens: Iterable[int] | None = None,
        places: np.ndarray | None = None,
    ) -> _Access:
        """One access per token of the pass; the words matter for ``tokens``, by default for the live ones.

        ``places`` are those of the tokens in the memory, by default their numbers.
        """
        interval = 1 + item["interval"]
        wanted = np.array(range(item["skip"], item["stop"]) if tokens is None else tokens, int)
        words = base + (wanted if places is None else places[wanted])
        inside = (words >= 0) & (words < len(self.memories[memory].read))
        every = np.arange(item["tokens"]) * interval + stage
        return _Access(memory, words[inside], (wanted * interval + stage)[inside], every)

    def _reads(self, item: Pass) -> Iterator[_Access]:
        s, lanes = self.stages, self.machine.lanes
        if item["load_keys"]:
            lane = np.arange(lanes)
            words = np.minimum(item["weights_base"] + lane, self.machine.signs - 1)
            yield _Access(SignMemory.SIGNS_1, words, s.load + lane, s.load + lane)
        if item["softmax"]:
            keys, tiles = item["keys"], item["key_tiles"]
            row, tile = (v.ravel() for v in np.mgrid[:keys, :tiles])
            cycle = s.softmax + row * tiles + tile
            yield _Access(BANK_A, item["scores_base"] + tile * keys + row, cycle, cycle)
            yield _Access(MAXIMUM, item["softmax_row"] + row, cycle + MAXIMUM_READ, cycle[:0])
        if item["haar"]:
            # Behind the last token the unit goes on until its window is complete.
            tokens = np.arange(item["keys"])
            words = item["haar_x"] + window_places(item.fields, len(tokens))
            port = s.haar + HAAR_TOKEN * np.arange(len(tokens) + lead(item))
            yield _Access(BANK_B, words, port[tokens], port)
        if not item["tokens"]:
            return
        # A window of the grid needs all tokens of the grid. Values need all tokens that are shifted in.
        grid = range(item["stop"] - item["skip"])
        live = range(item["tokens"]) if item["shift_values"] else None
        of_grid = window_places(item.fields, item["tokens"])
        in_b, in_signs = (of_grid if item[name] else None for name in ("place_b", "place_in"))
        if item["activation"] in (Activation.SIGNS_0, Activation.PAIRS):
            wanted = self._seen(item, SignMemory.SIGNS_0) if outside(item.fields) else live
            yield self._access(item, SignMemory.SIGNS_0, item["signs_0"], s.SIGNS, wanted, in_signs)
        if item["activation"] in (Activation.SIGNS_1, Activation.PAIRS):
            wanted = self._seen(item, SignMemory.SIGNS_1) if outside(item.fields) else live
            yield self._access(item, SignMemory.SIGNS_1, item["signs_1"], s.SIGNS, wanted, in_signs)
        if item["differential"] or item["local"]:
            yield self._access(item, SignMemory.SIGNS_1, item["signs_1"], s.SIGNS, grid)
        if item["partial"]:
            yield self._access(item, self.sums, item["partial_base"], s.partial, live)
        if item["shortcut"] != Operand.NONE:
            bank = {Operand.BANK_A: BANK_A, Operand.BANK_B: BANK_B}[Operand(item["shortcut"])]
            places = in_b if bank == BANK_B else None
            yield self._access(item, bank, item["shortcut_base"], s.shortcut, live, places)
        if item["residual"]:
            yield self._access(item, BANK_B, item["residual_base"], s.residual, live, in_b)
        if item["accumulate"]:
            tokens, places = None, None
            if item["merge"]:
                tokens, places = accumulated(item.fields), merged_places(item.fields)
            yield self._access(item, BANK_A, item["base_a"], s.mean, tokens, places)

    def _seen(self, item: Pass, memory: SignMemory) -> np.ndarray:
        """The tokens that see something of their word of a sign memory."""
        chunks = self.machine.chunks
        halves = {SignMemory.SIGNS_0: slice(chunks // 2), SignMemory.SIGNS_1: slice(chunks // 2, None)}
        paired = item["activation"] == Activation.PAIRS
        return inside(item.fields, self.machine, halves[memory] if paired else slice(None))

    def _attention_writes(self, item: Pass) -> _Access:
        chunks, keys, kt = self.machine.chunks, item["keys"], item["key_tiles"]
        row, tile = (v.ravel() for v in np.mgrid[:keys, :kt])
        words = -(-kt // chunks)
        first = words * chunks - kt  # unused chunks of the first word
        last = self.stages.softmax + row * kt + kt - 1  # the cycle in which the row's last tile is looked up
        cycle = last + attention_written(self.machine.lanes) + tile
        word = item["attention_base"] + (tile + first) // chunks * keys + row
        return _Access(SignMemory.SIGNS_0, word, cycle, cycle)

    def _haar_writes(self, item: Pass) -> Iterator[_Access]:
        tokens = np.arange(item["keys"])
        first = self.stages.haar + HaarUnit.WRITTEN + HAAR_TOKEN * (tokens + lead(item))
        for band in range(2):
            cycle = first + band * HIGH_AFTER_LOW
            yield _Access(BANK_A, item["haar_low"] + band * item["haar_apart"] + tokens, cycle, cycle)
            for memory in SignMemory:
                word = item["haar_signs"] + band * item["haar_signs_apart"] + tokens
                yield _Access(memory, word, cycle, cycle)

    def _writes(self, item: Pass) -> Iterator[_Access]:
        s = self.stages
        if item["softmax"]:
            yield self._attention_writes(item)
        if item["haar"]:
            yield from self._haar_writes(item)
        if not item["tokens"]:
            return
        of_grid = window_places(item.fields, item["tokens"])
        places = merged_places(item.fields) if item["merge"] else of_grid if item["place_out"] else None
        if item["write_a"]:
            yield self._access(item, BANK_A, item["base_a"], s.write, places=places)
        if item["write_c"]:
            yield self._access(item, self.sums, item["base_a"], s.write)
        if item["write_b"]:
            in_b = of_grid if item["place_b"] else None
            yield self._access(item, BANK_B, item["base_b"], s.write, places=in_b)
        for memory in SignMemory:
            if item[memory.writes]:
                yield self._access(item, memory, item["bits_base"], s.write, places=places)
                wide = item["window"] and (memory == SignMemory.SIGNS_0 or item["pairs"])
                for beside in (-1, 1) if wide else ():
                    first, end = item["skip"] + max(-beside, 0), item["stop"] - max(beside, 0)
                    base = item["bits_base"] + beside
                    access = self._access(item, memory, base, s.write, range(first, end), places)
                    yield access._replace(port=access.port[:0])  # other chunks of the same cycle
        if item["maximum"]:
            yield self._access(item, MAXIMUM, item["row_base"], maximum_written(s, self.machine.lanes))
