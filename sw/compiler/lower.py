"""Lower a golden model: its operations become passes over tiles of channels and steps of inputs.

This fixes the order of the passes, what each computes, and all addresses. `schedule` decides when
each begins.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from haarlequin.hw.codes import OperationCode, SignMemory
from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.config import LayerPlace
from haarlequin.models.golden import GoldenModel
from haarlequin.models.stages import CONVOLUTION, MLP
from haarlequin.sw.compiler.dont_care import keep_idle
from haarlequin.sw.compiler.passes import Lowered, Pass
from haarlequin.sw.compiler.regions import Signs
from haarlequin.sw.compiler.tiling import Work
from haarlequin.sw.compiler.token_head import StagePasses


def lower(model: GoldenModel, machine: AcceleratorConfig) -> Lowered:
    """The passes of one image."""
    return _Lowering(model, machine).run()


class _Lowering:
    def __init__(self, model: GoldenModel, machine: AcceleratorConfig):
        self.work = Work(model, machine)
        self.places = model.config.places
        self.stages = {place.config: StagePasses(place.config, self.work) for place in self.places}
        self.begun = [0] * len(self.places)
        """How many tiles of a layer's x the Haar unit has begun before the layer."""
        self.made: dict[int, Signs] = {}
        """The inputs of merges that the layers before them make."""

    def run(self) -> Lowered:
        work = self.work
        passes = [Pass("begin", {"operation": OperationCode.SIGNS})]
        for index in range(len(self.places)):
            passes += self._layer(index)
        if work.model.config.segmentation:
            stage = self.stages[self.places[-1].config]
            signs = stage.head_signs()
            passes += [*stage.signs(signs), *stage.token_head(signs)]
        passes[-1].fields["end"] = 1
        passes = self._moved(self._loaded(passes))
        keep_idle(passes)
        return Lowered(work.model, work.machine, passes, work.tables, work.uses)

    def _layer(self, index: int) -> Iterator[Pass]:
        place = self.places[index]
        stage, name = self.stages[place.config], place.name
        self._token_offsets(place)
        own = self._first_signs(index)
        if place.merged:
            signs = self.made.get(index) or self._merged_signs(index)
            yield from stage.merge(signs, self.stages[place.merged], own, index in self.made)
        elif not self._made_before(index):
            yield from stage.signs(own)
        final = index == len(self.places) - 1
        last = final and not self.work.model.config.segmentation
        following = self._first_signs(index + 1) if not final and self._made_before(index + 1) else None
        if place.config.stage.kind == CONVOLUTION:
            following = following or self._made_ahead(index + 1, own)
            yield from stage.convolution(own, OperationCode.CONVOLUTION, following, last)
            return
        begun = self.begun[index]
        if place.config.stage.feed_forward == MLP:
            yield from stage.attention.passes(name, stage.expand_signs(name), begun)
            makes = list(stage.mlp(name, following, last))
        else:
            taps = stage.tap_signs(f"{name}.convolution", stage.attention.regions.taps)
            yield from stage.attention.passes(name, taps, begun)
            ahead = following or self._made_ahead(index + 1, taps)
            makes = list(stage.convolution(taps, OperationCode.CONVOLUTION, ahead, last))
        if following and stage.attention.ahead:
            self._split_beside(makes, index + 1)
        yield from makes

    def _split_beside(self, makes: list[Pass], index: int) -> None:
        """Let the Haar unit split each tile of x beside the passes that make the next tile: the unit reads
        bank B while the steps before the last do not.
        """
        *written, _ = (number for number, item in enumerate(makes) if item["write_b"])
        beside = [makes[number + 1] for number in written if makes[number + 1]["write_c"]]
        place = self.places[index]
        tiles = self.stages[place.config].attention.haar(place.name, range(len(beside)))
        for item, tile in zip(beside, tiles, strict=True):
            item.fields |= tile.fields | {"operation": item["operation"]}
            assert item.needs
            assert tile.needs
            item.needs = replace(item.needs, moves=tile.needs.moves)
            item.results = item.results + tile.results
        self.begun[index] = len(beside)

    def _token_offsets(self, place: LayerPlace) -> None:
        """Put the t_n of a layer's operations into their table."""
        if not place.config.irprelu:
            return
        names = ["merge"] if place.merged else []
        names += ["expand", "reduce"] if place.config.stage.feed_forward == MLP else ["convolution"]
        windows = self.stages[place.config].attention.windows
        order = {name: np.arange(place.config.tokens) for name in names}
        if place.config.stage.kind != CONVOLUTION:
            by_window = np.concatenate([window.tokens for window in windows])
            order |= dict.fromkeys(("value", "context", "output"), by_window)
        for name, tokens in order.items():
            offsets = self.work.model.constants[f"{place.name}.{name}.token"][tokens]
            self.work.token_base[f"{place.name}.{name}"] = self.work.tables.add_token_offsets(offsets)

    def _first_signs(self, index: int) -> Signs:
        """Where the signs of x lie for the first operation of a layer after its merge. Convolutions read
        from and write to two places in turn.
        """
        place = self.places[index]
        stage = self.stages[place.config]
        if place.config.stage.kind == CONVOLUTION:
            return stage.tap_signs(f"{place.name}.convolution", index % 2 * stage.tap_words)
        return stage.attention.value_signs(place.name)

    def _made_before(self, index: int) -> bool:
        """Whether the layer before makes a layer's first signs, since it has the same grid and channels."""
        place = self.places[index]
        return index > 0 and not place.merged and place.config == self.places[index - 1].config

    def _merged_signs(self, index: int, taps: Signs | None = None) -> Signs:
        """The inputs of the merge before a layer. Its signs lie beside those that the merge makes, and beside
        the ``taps`` from which the layer before makes x.
        """
        place, own = self.places[index], self._first_signs(index)
        assert place.merged
        stage, before = self.stages[place.config], self.stages[place.merged]
        words, used = stage.merge_words(before), []
        if own.memory == SignMemory.SIGNS_0:
            used.append((own.base, own.base + stage.tap_words))
        if taps:
            used.append((taps.base, taps.base + before.tap_words))
        bases = [0, *(end for _, end in used)]
        free = (base for base in bases if all(base + words <= low or base >= end for low, end in used))
        return stage.merged_signs(f"{place.name}.merge", before, min(free))

    def _made_ahead(self, index: int, taps: Signs) -> Signs | None:
        """The inputs of the merge before a layer, if the convolution of the layer before can make them. It
        must not need bank A itself, and sign memory 0 must have room for both.
        """
        machine, place = self.work.machine, self.places[index] if index < len(self.places) else None
        if not (machine.bank_c and place and place.merged):
            return None
        signs = self._merged_signs(index, taps)
        if signs.base + self.stages[place.config].merge_words(self.stages[place.merged]) > machine.signs:
            return None
        self.made[index] = signs
        return signs

    def _loaded(self, passes: list[Pass]) -> list[Pass]:
        """Let each pass load what the next pass needs, but for moves.

        Passes that only run a softmax load nothing and need nothing. A pass that needs no constants gets
        those that leave a sum as it is: the steps before a last step.
        """
        stage = next(iter(self.stages.values()))
        neutral = self.work.tables.add_constants(stage.neutral_constants(1), 1)
        before = passes[0]
        for item in passes[1:]:
            needs = item.needs
            if needs is None:
                continue
            loads = before.fields
            if needs.weights is not None:
                loads |= {"load_weights": 1, "weights_base": needs.weights}
            if needs.keys is not None:
                address, low, high = needs.keys
                loads |= {"load_keys": 1, "weights_base": address, "keys_low": low, "keys_high": high}
            constants, same, shifts = needs.constants, needs.same, needs.shifts
            if constants is None:
                constants, same, shifts = neutral, True, stage.unit_shifts
            if item["tokens"]:
                # Loading the same ones again costs no time, and fewer updates than not to load for once.
                loads |= {"load_constants": 1, "constants_base": constants, "same_constants": int(same)}
                loads |= {"affine_shift": shifts[0], "slope_shift": shifts[1]}
            if needs.local is not None:
                loads |= {"load_local": 1, "local_base": needs.local}
            before = item
        return passes

    @staticmethod
    def _moved(passes: list[Pass]) -> list[Pass]:
        """Let a pass load the moves of each tile that the Haar unit splits, from when it has begun the tile
        before on: a pass that loads no constants, or those that it has itself.
        """
        names = "constants_base", "same_constants", "affine_shift", "slope_shift"
        result: list[Pass] = []
        free: list[Pass] = []
        held = None
        for item in passes:
            if item.needs and item.needs.moves is not None:
                if not free:
                    free = [Pass("moves", {"operation": OperationCode.HAAR})]
                    result += free
                free[-1].fields |= {"load_constants": 1, "load_moves": 1, "same_constants": 0}
                free[-1].fields["constants_base"] = item.needs.moves
                free = []
            loads = [item[name] for name in names]
            if not item["load_constants"] or loads == held:
                free.append(item)
            else:
                held = loads
            result.append(item)
        return result
