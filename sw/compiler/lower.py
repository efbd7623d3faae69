"""Lower a golden model: its operations become passes over tiles of channels and steps of inputs.

This fixes the order of the passes, what each computes, and all addresses. `schedule` decides when
each begins.
"""

from collections.abc import Iterator

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.attention import AttentionPasses
from haarlequin.sw.compiler.dont_care import keep_idle
from haarlequin.sw.compiler.passes import Loads, Lowered, Pass, Result


def lower(model: GoldenModel, machine: AcceleratorConfig) -> Lowered:
    """The passes of one image."""
    return _Lowering(model, machine).run()


class _Lowering(AttentionPasses):
    def run(self) -> Lowered:
        begin = Pass("begin", {"operation": OperationCode.SIGNS})
        passes = [begin, *self._signs("layers.0.value", SignMemory.SIGNS_1, self.regions.value_in)]
        for i in range(self.config.layers):
            passes += self._layer(i)
        passes[-1].fields["end"] = 1
        passes = self._loaded(passes)
        keep_idle(passes)
        return Lowered(self.model, self.machine, passes, self.tables, self.regions)

    def _layer(self, i: int) -> Iterator[Pass]:
        layer = f"layers.{i}"
        if self.config.irprelu:
            for name in ("value", "context", "output", "expand", "reduce"):
                offsets = self.constants[f"{layer}.{name}.token"]
                self.token_base[f"{layer}.{name}"] = self.tables.add_token_offsets(offsets)
        if self.config.hfsc:
            yield from self._haar(layer)
        else:
            for memory, role in zip(SignMemory, ("query", "key"), strict=True):
                yield from self._signs(f"{layer}.{role}.x", memory, self.regions.inputs)
        yield from self._queries_and_keys(layer)
        yield from self._scores(layer)
        yield from self._attend(layer)
        yield from self._output(layer)
        yield from self._expand(layer)
        yield from self._reduce(layer, last=i == self.config.layers - 1)

    def _output(self, layer: str) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.output"
        constants, shifts = self._irprelu_constants(name, self.constants[f"{layer}.expand.move"])
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            final = {
                "shortcut": Operand.BANK_A,
                "shortcut_base": r.high + tile * self.n,
                "residual": 1,
                "residual_base": tile * self.n,
                **self._token(name),
                "write_b": 1,
                "base_b": tile * self.n,
                "bits_1": 1,
                "bits_base": r.x_signs + word * self.n,
                "bits_chunk": chunk,
                "lanes": self._valid(tile),
                "count": 1,
            }
            results = [
                Result("acc", f"{name}.acc", tile),
                Result("y", name, tile),
                Result("bits_1", f"{layer}.expand.signs", tile),
            ]
            yield from self._projection(
                name,
                OperationCode.OUTPUT,
                (Activation.SIGNS_0, r.context),
                *self._square(name, tile),
                Loads(constants=self._add(constants, self._tile(tile)), shifts=shifts),
                final,
                results,
            )

    def _hidden(self, repeat: int, tile: int) -> tuple[int, int]:
        """The word and chunk of a tile of u in its sign memory."""
        if self.dense:
            return self._word(repeat * self.tiles + tile)
        word, chunk = self._word(tile)
        return repeat * self.steps + word, chunk

    def _expand(self, layer: str) -> Iterator[Pass]:
        r, name, dim, ratio = self.regions, f"{layer}.expand", self.config.dim, self.config.mlp_ratio
        constants, shifts = self._irprelu_constants(name, self.constants[f"{layer}.reduce.move"])
        weight = self.constants[f"{name}.weight"]
        for repeat in range(ratio):
            for tile in range(self.tiles):
                word, chunk = self._hidden(repeat, tile)
                channels = self._tile(tile)
                channels = slice(repeat * dim + channels.start, repeat * dim + channels.stop)
                final = {
                    "shortcut": Operand.BANK_B,
                    "shortcut_base": tile * self.n,
                    **self._token(name),
                    "write_a": 1,
                    "base_a": r.low + tile * self.n,
                    "accumulate": int(repeat > 0),
                    "mean_shift": ratio.bit_length() - 1,
                    "bits_0": 1,
                    "bits_base": r.u + word * self.n,
                    "bits_chunk": chunk,
                    "lanes": self._valid(tile),
                    "count": 1,
                }
                results = [
                    Result("acc", f"{name}.acc", tile, repeat=repeat),
                    Result("y", name, tile, repeat=repeat),
                    Result("bits_0", f"{layer}.reduce.signs", tile, repeat=repeat),
                ]
                if repeat == ratio - 1:
                    results.append(Result("stored", f"{layer}.mean", tile))
                yield from self._projection(
                    name,
                    OperationCode.EXPAND,
                    (Activation.SIGNS_1, r.x_signs),
                    *self._steps(weight[channels]),
                    Loads(constants=self._add(constants, channels), shifts=shifts),
                    final,
                    results,
                )

    def _hidden_weights(self, rows: np.ndarray) -> tuple[np.ndarray, list[int]]:
        """Weights over r·C inputs, in the order in which the signs of u lie."""
        if self.dense:
            return self._steps(rows)
        parts = [self._steps(part) for part in np.split(rows, self.config.mlp_ratio, axis=1)]
        bounds = [bound for _, bounds in parts for bound in bounds]
        return np.concatenate([weight for weight, _ in parts], axis=1), bounds

    def _reduce(self, layer: str, last: bool) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.reduce"
        following = f"layers.{int(layer.partition('.')[2]) + 1}.value"
        move = None if last else self.constants[f"{following}.move"]
        constants, shifts = self._irprelu_constants(name, move)
        for tile in range(self.tiles):
            word, chunk = self._word(tile)
            final = {
                "shortcut": Operand.BANK_A,
                "shortcut_base": r.low + tile * self.n,
                "residual": 1,
                "residual_base": tile * self.n,
                **self._token(name),
                "write_b": 1,
                "base_b": tile * self.n,
                "bits_1": int(not last),
                "bits_base": r.value_in + word * self.n,
                "bits_chunk": chunk,
                "lanes": self._valid(tile),
                "count": 1,
                "pool": int(last),
                "wait_head": int(last and tile == 0),
            }
            results = [Result("acc", f"{name}.acc", tile), Result("y", name, tile)]
            if not last:
                results.append(Result("bits_1", f"{following}.signs", tile))
            yield from self._projection(
                name,
                OperationCode.REDUCE,
                (Activation.SIGNS_0, r.u),
                *self._hidden_weights(self.constants[f"{name}.weight"][self._tile(tile)]),
                Loads(constants=self._add(constants, self._tile(tile)), shifts=shifts),
                final,
                results,
                partial=r.high,
            )

    def _loaded(self, passes: list[Pass]) -> list[Pass]:
        """Let each pass load what the next pass needs, and give the constants of each pass a slot.

        Passes that only run a softmax load nothing and need nothing. Slot 0 always holds the constants that
        leave a sum as it is, for the steps before a last step. They load with the first pass that has room.
        """
        before, slot = passes[0], 0
        for item in passes[1:]:
            needs = item.needs
            if needs is None:
                continue
            loads = before.fields
            if needs.weights is not None:
                loads |= {"load_weights": 1, "weights_base": needs.weights}
            if needs.keys is not None:
                loads |= {"load_keys": 1, "weights_base": needs.keys}
            if needs.constants is not None:
                slot = slot % (self.machine.slots - 1) + 1
                loads |= {"load_constants": 1, "constants_base": needs.constants, "load_slot": slot}
                loads |= {"load_moves": int(needs.moves), "same_constants": int(needs.same)}
                loads |= {"affine_shift": needs.shifts[0], "slope_shift": needs.shifts[1]}
                item.fields["slot"] = slot
            if needs.local is not None:
                loads |= {"load_local": 1, "local_base": needs.local}
            before = item
        steps = [i for i, item in enumerate(passes) if item["write_a"] and not (item["slot"] or item["haar"])]
        if not steps:
            return passes
        free = next(
            (item for item in passes[: steps[0]] if item.needs is not None and not item["load_constants"]),
            None,
        )
        if free is None:
            free = Pass("begin", {"operation": passes[0]["operation"]})
            passes = [free, *passes]
        address = self.tables.add_constants(self._neutral_constants(1), 1)
        affine, slope = self.unit_shifts
        free.fields |= {"load_constants": 1, "constants_base": address, "same_constants": 1}
        free.fields |= {"affine_shift": affine, "slope_shift": slope}
        return passes
