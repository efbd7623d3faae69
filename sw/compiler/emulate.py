"""Emulate the machine: run the encoded words pass by pass, as the machine does, but without its timing."""

from collections.abc import Callable

import numpy as np
from amaranth.lib import data

from haarlequin.hw.codes import Activation, Operand, SignMemory
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.hw.lanes.loader import balance, local_layout, pads
from haarlequin.hw.program import constants_layout, group_slices, pass_layout, update_layout
from haarlequin.hw.settings import SETTINGS_WORD, settings_layout
from haarlequin.models import arithmetic
from haarlequin.models.golden import GoldenModel, exp_table
from haarlequin.sw.compiler.encode import Words
from haarlequin.sw.compiler.grid import (
    accumulated,
    beyond,
    merged_chunks,
    merged_places,
    outside,
    window_places,
)

Observer = Callable[[int, str, int, np.ndarray, np.ndarray], None]
"""A function that is told what the machine's trace would show: number of the pass, port, phase, numbers of
the tokens, and one row of lanes per token."""


def unpack(layout: data.StructLayout, word: int) -> dict[str, int]:
    """Unpack the fields of a word."""
    values = {}
    for name, field in layout:
        value = word >> field.offset & (1 << field.width) - 1
        signed = getattr(field.shape, "signed", False)
        values[name] = value - (1 << field.width) if signed and value >> (field.width - 1) else value
    return values


def unpack_bits(word: int, size: int) -> np.ndarray:
    """The lowest ``size`` bits of a word, the lowest first."""
    octets = np.frombuffer(word.to_bytes(size, "little"), np.uint8)  # one for each bit is more than enough
    return np.unpackbits(octets, count=size, bitorder="little")


def passes(machine: AcceleratorConfig, program: list[int]) -> list[dict[str, int]]:
    """Unpack the fields of every pass from the updates of a program."""
    whole, update, parts = pass_layout(machine), update_layout(machine), group_slices(machine)
    bits, found = 0, []
    for word in program:
        new = unpack(update, word)
        part = parts[new["group"]]
        mask = (1 << part.stop) - (1 << part.start)
        bits = bits & ~mask | new["fields"] << part.start & mask
        if new["last"]:
            found.append(unpack(whole, bits))
    return found


class Emulator:
    """One machine with its memories loaded.

    The layers run from the words. Embedding and head have engines of their own in the machine; here the model
    computes them.
    """

    def __init__(self, machine: AcceleratorConfig, words: Words, model: GoldenModel):
        self.machine, self.model, self.words = machine, model, words
        bits = sum(word << SETTINGS_WORD * number for number, word in enumerate(words["settings"]))
        self.settings = unpack(settings_layout(machine), bits)
        self.passes = passes(machine, words["program"])
        self.weights = [unpack_bits(word, machine.width) for word in words["weights"]]
        self.table = exp_table(machine.widths)

    def run(self, pixels: np.ndarray, observe: Observer = lambda *_: None) -> tuple[np.ndarray, int]:
        """Run one image (1, H, W, channels); returns its logits, (1, classes) or of all tokens
        (1, N, classes), and its saturations.
        """
        with arithmetic.count_saturations() as before:
            x = self.model.embed(pixels)[0]
        sums = self._layers(x, observe)
        with arithmetic.count_saturations() as after:
            classify = not self.model.config.segmentation
            logits = self.model.classify(sums[None]) if classify else self._logits(sums)
        return logits, before.clipped + self.clipped + after.clipped

    def _logits(self, values: np.ndarray) -> np.ndarray:
        """The logits (1, N, classes) of all tokens."""
        return values.reshape(1, -1, len(self.model.config.classes))

    def _layers(self, x: np.ndarray, observe: Observer) -> np.ndarray:
        """The pooled sums (C,) of an embedded image x (N, C)."""
        machine = self.machine
        (n, dim), lanes = x.shape, machine.lanes
        self.a = np.zeros((machine.bank_a, lanes), np.int64)
        self.b = np.zeros((machine.bank_b // 2, lanes), np.int64)
        self.c = np.zeros((machine.bank_c, lanes), np.int64) if machine.bank_c else self.a
        for tile in range(-(-dim // lanes)):
            part = x[:, tile * lanes : (tile + 1) * lanes]
            self.b[tile * n : (tile + 1) * n, : part.shape[1]] = part
        self.signs = [np.zeros((machine.signs, machine.width), np.uint8) for _ in SignMemory]
        self.maximum = np.zeros(machine.rows, np.int64)
        self.current = np.zeros((lanes, machine.width), np.uint8)
        self.following = self.current.copy()
        self.ones = np.zeros(lanes, np.int64)
        self.constants: dict[str, np.ndarray] = {}
        self.moves, self.local_weights, self.local_shifts = (np.zeros(0, np.int64) for _ in range(3))
        self.pooled: list[np.ndarray] = []
        self.clipped = 0
        for index, fields in enumerate(self.passes):
            if fields["swap"]:
                self.current = self.following.copy()
            if fields["softmax"]:
                self._softmax(index, fields, observe)
            if fields["haar"]:
                self._haar(index, fields, observe)
            if fields["tokens"]:
                self._stream(index, fields, observe)
            self._load(fields)
        return np.concatenate(self.pooled)

    def _load(self, f: dict[str, int]) -> None:
        lanes, w = self.machine.lanes, self.machine.widths
        if f["load_weights"]:
            self.following = np.array(self.weights[f["weights_base"] : f["weights_base"] + lanes])
        if f["load_keys"]:
            rows = np.minimum(f["weights_base"] + np.arange(lanes), self.machine.signs - 1)
            places = np.arange(self.machine.width)
            used = (places >= f["keys_low"]) & (places < f["keys_high"])
            self.following = np.where(used, self.signs[SignMemory.SIGNS_1][rows], pads(len(places)))
        if f["load_constants"]:
            step = 0 if f["same_constants"] else 1
            words = [self.words["constants"][f["constants_base"] + step * lane] for lane in range(lanes)]
            if f["load_moves"]:
                layout = data.ArrayLayout(w.offset, 4)
                mask, half = (1 << w.offset) - 1, 1 << w.offset - 1
                rows = [[word >> layout[i].offset & mask for i in range(4)] for word in words]
                self.moves = (np.array(rows) ^ half) - half
            else:
                rows = [unpack(constants_layout(self.machine), word) for word in words]
                constants = {name: np.array([row[name] for row in rows]) for name in rows[0]}
                constants["a"] = constants["a"] << f["affine_shift"]
                for name in ("positive", "negative"):
                    constants[name] = constants[name] << f["slope_shift"]
                self.constants = constants
        if f["load_local"]:
            words = self.words["local"][f["local_base"] : f["local_base"] + lanes]
            rows = [unpack(local_layout(self.machine), word) for word in words]
            size = self.machine.theta**2
            self.local_weights = np.array([unpack_bits(row["weights"], size) for row in rows])
            self.local_shifts = np.array([row["shift"] for row in rows])

    def _at(self, memory: np.ndarray, base: int, numbers: np.ndarray) -> np.ndarray:
        """The words at base + number, where addresses wrap around as in the machine."""
        bits = (len(memory) - 1).bit_length()
        return memory[np.minimum((base + numbers) % (1 << bits), len(memory) - 1)]

    def _put(self, memory: np.ndarray, base: int, numbers: np.ndarray, rows: np.ndarray) -> None:
        bits = (len(memory) - 1).bit_length()
        memory[(base + numbers) % (1 << bits)] = rows

    def _put_signs(
        self, which: SignMemory, base: int, chunks: np.ndarray | int, numbers: np.ndarray, bits: np.ndarray
    ) -> None:
        lanes, memory = self.machine.lanes, self.signs[which]
        rows = (base + numbers) % (1 << (len(memory) - 1).bit_length())
        chunks = np.broadcast_to(chunks, len(rows))
        memory[rows[:, None], chunks[:, None] * lanes + np.arange(lanes)] = bits

    def _stream(self, index: int, f: dict[str, int], observe: Observer) -> None:
        machine, w = self.machine, self.machine.widths
        lanes, width, limit = machine.lanes, machine.width, 1 << machine.widths.wide - 1
        numbers = np.arange(f["tokens"])
        live = (numbers >= f["skip"]) & (numbers < f["stop"])
        on_grid = window_places(f, f["tokens"])
        in_b, in_signs, out = (
            on_grid if f[name] else numbers for name in ("place_b", "place_in", "place_out")
        )
        row, v = (self._at(self.signs[memory], f[memory.reads], in_signs) for memory in SignMemory)
        activation = {
            Activation.NONE: np.zeros_like(row),
            Activation.SIGNS_0: row,
            Activation.SIGNS_1: v,
            Activation.PAIRS: np.concatenate([row[:, : width // 2], v[:, width // 2 :]], axis=1),
        }[Activation(f["activation"])]
        if outside(f):
            activation = activation | beyond(f, machine).repeat(lanes, axis=1)
        places = np.arange(width)
        activation = np.where((places >= f["inputs_low"]) & (places < f["inputs_high"]), activation, 0)
        ones, weights = activation.astype(np.int64), self.current.astype(np.int64)
        distance = ones @ (1 - weights).T + (1 - ones) @ weights.T
        extra = np.zeros((len(numbers), lanes), np.int64)
        dot = width + balance(f["inputs_low"], f["inputs_high"]) - 2 * distance
        if f["context"]:
            dot = self.ones - distance
        if f["differential"] or f["local"]:
            centre, total = self._convolution(f, v)
            if f["differential"]:
                dot = dot - ones.sum(1)[:, None] * np.where(centre > 0, 1, -1)
            if f["local"]:
                extra = total + centre
        gate = (np.arange(lanes) >= f["gate_low"]) & (np.arange(lanes) < f["gate_high"])
        acc = np.where(gate, dot, 0) + extra
        if f["partial"]:
            acc = acc + self._at(self.c, f["partial_base"], numbers)
        acc = (acc + limit) % (2 * limit) - limit
        c = self.constants
        shortcut = 0
        if f["shortcut"] != Operand.NONE:
            bank = {Operand.BANK_A: self.a, Operand.BANK_B: self.b}[Operand(f["shortcut"])]
            shortcut = self._at(bank, f["shortcut_base"], in_b if bank is self.b else numbers)
        value = arithmetic.affine(acc, c["a"], c["b"], w.affine_shift[1]) + shortcut
        residual, token = np.zeros_like(value), np.zeros(len(numbers), np.int64)
        if f["residual"]:
            residual = self._at(self.b, f["residual_base"], in_b)
        if f["token"]:
            depth = 1 << (machine.tokens - 1).bit_length()
            half = 1 << w.offset - 1
            table = self.words["tokens"]
            words = [table[i] if i < len(table) else 0 for i in (f["token_base"] + numbers) % depth]
            token = (np.array(words) ^ half) - half

        def irprelu(rows: np.ndarray | slice, lanes: int) -> np.ndarray:
            positive, negative, offset = (c[name][:lanes] for name in ("positive", "negative", "offset"))
            values, added, shift = value[rows, :lanes], residual[rows, :lanes], w.slope_shift[1]
            return arithmetic.irprelu(values, positive, negative, offset, token[rows], shift, w.wide, added)

        y = irprelu(slice(None), lanes)
        if f["count"]:
            with arithmetic.count_saturations() as counter:
                irprelu(live, f["lanes"])
            self.clipped += counter.clipped
        bits = (arithmetic.sign(y, c["move"]) > 0).astype(np.uint8)
        stored = y >> f["mean_shift"]
        if f["merge"]:
            self._merge(f, stored, bits)
        elif f["accumulate"]:
            stored = stored + self._at(self.a, f["base_a"], numbers)
        if f["shift_values"]:
            self.following = np.zeros_like(self.following)
            values = self.following[:, -machine.value_bits :]
            for row in bits:
                values[:] = np.concatenate([values[:, 1:], row[:, None]], axis=1)
            self.ones = values.sum(1, dtype=np.int64)
        kept = numbers[live]
        if f["write_a"] and not f["merge"]:
            self._put(self.a, f["base_a"], out[live], stored[live])
        if f["write_c"]:
            self._put(self.c, f["base_a"], kept, stored[live])
        if f["write_b"]:
            self._put(self.b, f["base_b"], in_b[live], stored[live])
        for memory in SignMemory:
            if f[memory.writes] and not f["merge"]:
                upper = machine.chunks // 2 if f["pairs"] and memory == SignMemory.SIGNS_1 else 0
                wide = f["window"] and (memory == SignMemory.SIGNS_0 or f["pairs"])
                for slot, beside in enumerate((1, 0, -1) if wide else (0,)):
                    here = live & live[np.clip(numbers + beside, 0, len(live) - 1)]
                    here[-1 if beside > 0 else 0] &= beside == 0
                    chunk = f["bits_chunk"] + upper + slot * f["window"]
                    self._put_signs(memory, f["bits_base"] + beside, chunk, out[here], bits[here])
        if f["maximum"]:
            largest = y[live][:, : f["lanes"]].max(1)
            rows = f["row_base"] + kept
            self.maximum[rows] = largest if f["first_keys"] else np.maximum(self.maximum[rows], largest)
        if f["pool"]:
            values = stored[live][:, : f["lanes"]]
            self.pooled.append(values.ravel() if f["each"] else values.sum(0))
        for port, values in (("acc", acc), ("y", y), ("stored", stored), ("bits_0", bits), ("bits_1", bits)):
            observe(index, port, 0, kept, values[live])

    def _merge(self, f: dict[str, int], stored: np.ndarray, bits: np.ndarray) -> None:
        """Put the results of 2×2 tokens together. Some are accumulated, in ``stored`` as well."""
        places, onto_another = merged_places(f), accumulated(f)
        for number, place in enumerate(places):
            if f["accumulate"] and number in onto_another:
                stored[number] += self._at(self.a, f["base_a"], place)
            if f["write_a"]:
                self._put(self.a, f["base_a"], place, stored[number])
        for memory in SignMemory:
            if f[memory.writes]:
                self._put_signs(memory, f["bits_base"], f["bits_chunk"] + merged_chunks(f), places, bits)

    def _convolution(self, f: dict[str, int], words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """V_i (±1) and the local convolution (integers) of each token that the stream completes."""
        machine, n = self.machine, f["stop"] - f["skip"]
        lanes, theta = machine.lanes, machine.theta
        v = 2 * words[:n, f["chunk"] * lanes : (f["chunk"] + 1) * lanes].astype(np.int64) - 1
        taps = unpack_bits(self.settings["taps"], theta**2)
        weights, shifts = (
            (self.local_weights, self.local_shifts)
            if f["local"]
            else (np.zeros((lanes, theta**2)), np.zeros(lanes, int))
        )
        signed = ((2 * weights.astype(np.int64) - 1) * taps).reshape(lanes, theta, theta)
        grid = n // f["columns"], f["columns"]
        total = arithmetic.local_convolution(v[None], signed, grid)[0] << shifts
        pad = ((f["skip"], f["tokens"] - n - f["skip"]), (0, 0))
        return np.pad(v, pad), np.pad(total, pad)

    def _haar(self, index: int, f: dict[str, int], observe: Observer) -> None:
        numbers = np.arange(f["keys"])
        x = self._at(self.b, f["haar_x"], window_places(f, len(numbers)))
        grid = len(numbers) // f["columns"], f["columns"]
        bands = arithmetic.haar_split(x, grid, self.machine.widths.wide)
        with arithmetic.count_saturations() as counter:
            arithmetic.haar_split(x[:, : f["haar_lanes"]], grid, self.machine.widths.wide)
        self.clipped += counter.clipped
        for phase, band in enumerate(bands):
            self._put(self.a, f["haar_low"] + phase * f["haar_apart"], numbers, band)
            words = f["haar_signs"] + phase * f["haar_signs_apart"]
            for memory in SignMemory:
                bits = (arithmetic.sign(band, self.moves[:, 2 * phase + memory]) > 0).astype(np.uint8)
                self._put_signs(memory, words, f["haar_chunk"], numbers, bits)
                observe(index, f"haar_{memory.writes}", phase, numbers, bits)
            observe(index, "haar", phase, numbers, band)

    def _softmax(self, index: int, f: dict[str, int], observe: Observer) -> None:
        machine, n, kt = self.machine, f["keys"], f["key_tiles"]
        lanes, chunks = machine.lanes, machine.chunks
        tiles = [self._at(self.a, f["scores_base"] + j * n, np.arange(n)) for j in range(kt)]
        scores = np.concatenate(tiles, axis=1)[:, :n]
        assert (scores.max(1) == self.maximum[f["softmax_row"] : f["softmax_row"] + n]).all()
        rows = arithmetic.binarise_softmax(
            2 * scores[None],
            self.table,
            f["score_shift"],
            np.array([f["threshold"]]),
            machine.widths.threshold,
        )[0]
        padded = np.pad(rows, ((0, 0), (0, kt * lanes - n)))
        for tile in range(kt):
            word, chunk = divmod(tile + f["key_chunk"], chunks)
            bits = padded[:, tile * lanes : (tile + 1) * lanes]
            self._put_signs(SignMemory.SIGNS_0, f["attention_base"] + word * n, chunk, np.arange(n), bits)
            observe(index, "attention", tile, np.arange(n), bits)
