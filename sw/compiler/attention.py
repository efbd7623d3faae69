"""The passes of the attention: queries and keys of both bands, scores, softmax, values and context."""

import itertools
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from haarlequin.hw.codes import Activation, Operand, OperationCode, SignMemory
from haarlequin.models.arithmetic import to_windows
from haarlequin.models.stages import MLP
from haarlequin.sw.compiler.convolution import ConvolutionPasses
from haarlequin.sw.compiler.passes import Loads, Pass, Result
from haarlequin.sw.compiler.regions import Regions, Signs, Window
from haarlequin.sw.compiler.tiling import Tiling, Work


class AttentionPasses(Tiling):
    """The passes of the attention of a stage; each method yields those of one operation of a layer, in order.

    The attention of each window is that of an image of its own. Its tensors lie where those of the window
    before lay, but x and its signs, which are on the grid of the whole ``stage``.
    """

    def __init__(self, stage: ConvolutionPasses, work: Work):
        super().__init__(stage.config.window_alone(), work)
        self.stage = stage
        tokens = np.arange(stage.n)[None, :, None]
        size = stage.config.stage.window
        if size:
            tokens = to_windows(tokens, stage.config.grid, size)
        jump = stage.config.grid[1] - size if size else 0
        self.windows = [Window(number, one[:, 0], jump) for number, one in enumerate(tokens)]
        self.window = self.windows[0]
        """The window at hand."""

    @cached_property
    def regions(self) -> Regions:
        """Where the tensors of a layer lie."""
        n, heads, stage = self.n, self.config.heads, self.stage
        whole = stage.steps * stage.n
        inputs, words, tile_words = self.steps * n, len(self.config.bands) * self.steps * n, self.tiles * n
        attention = heads * self.row_words * n
        low = max(tile_words, heads * self.key_tiles * n)
        wide = low + tile_words
        context_steps = self.row_words > 1 or any(len(self._heads(tile)) > 1 for tile in range(self.tiles))
        score_steps = any(len(list(self._head_words(head))) > 1 for head in range(heads))
        kept = n if self.steps > 1 and self.row_words > 1 else 0
        needed = context_steps or score_steps or self.steps > 1
        # Signs for the feed-forward part lie where others were. Those of several windows lie after all
        # others, which the next window needs.
        after = attention + inputs
        x_signs = whole + (2 if len(self.windows) > 1 else 1) * words
        taps = max(after, x_signs)
        if len(self.windows) == 1 and not stage.halves:
            taps = 0 if stage.tap_words <= attention else after
        first = whole
        if self.ahead:  # the feed-forward part still reads its own signs while those of the next layer come
            mlp = self.config.stage.feed_forward == MLP
            first = max(first, stage.hidden_steps * n if mlp else taps + stage.tap_words)
        last = first + 2 * words
        self.uses.grow(
            signs_0=max(last, after),
            signs_1=max(last, x_signs + whole),
            bank_a=wide,
            rows=heads * n,
        )
        partial = self.partial_sums(wide, kept + n) if needed else 0
        return Regions(
            inputs=first,
            projected=first + words,
            attention=0,
            context=attention,
            taps=taps,
            value_in=0,
            v=whole,
            x_signs=x_signs,
            low=0,
            high=low,
            partial=partial,
            context_partial=partial + kept,
        )

    def _show(self, tile: int, *shown: tuple[str, str], phase: int = 0) -> list[Result]:
        return self.results(tile, *shown, phase=phase, window=self.window)

    def _keys(self, port: str, name: str, head: int, tile: int, phase: int = 0) -> Result:
        """A tile of keys, as the trace shows it."""
        first = tile * self.lanes
        return Result(port, name, first, min(self.lanes, self.n - first), phase, head, window=self.window)

    def _of_x(self, tile: int) -> int:
        """The address in bank B of a tile of x of the window at hand."""
        return tile * self.stage.n + self.window.first

    def _heads(self, tile: int) -> range:
        """The heads that have channels in a tile."""
        channels, d = self.channels(tile), self.config.head_dim
        return range(channels.start // d, (channels.stop - 1) // d + 1)

    def _head_words(self, head: int) -> Iterator[tuple[int, int, int]]:
        """The words that have channels of a head, each with the first and the end of its bits there."""
        low, high = head * self.config.head_dim, (head + 1) * self.config.head_dim
        for word in range(low // self.width, (high - 1) // self.width + 1):
            start = word * self.width
            yield word, max(low - start, 0), min(high - start, self.width)

    def value_signs(self, layer: str) -> Signs:
        """Where the signs of a layer's x lie for the values."""
        name = f"{layer}.value"
        return Signs(name, self.constants[f"{name}.move"], SignMemory.SIGNS_1, self.regions.value_in)

    def passes(self, layer: str, feed_forward: Signs, begun: int = 0) -> Iterator[Pass]:
        """The passes of a layer up to its feed-forward part, which reads ``feed_forward``. The Haar unit has
        ``begun`` so many tiles before.
        """
        for window in self.windows:
            self.window = window
            for item in self._window(layer, feed_forward, begun):
                item.fields["jump"] = window.jump
                yield item

    def _window(self, layer: str, feed_forward: Signs, begun: int) -> Iterator[Pass]:
        if self.config.hfsc:
            yield from self.haar(layer, range(begun, self.tiles))
        else:
            for memory, role in zip(SignMemory, ("query", "key"), strict=True):
                yield from self._x_signs(f"{layer}.{role}.x", memory)
        yield from self._queries_and_keys(layer)
        yield from self._scores(layer)
        yield from self._attend(layer)
        yield from self._output(layer, feed_forward)

    def _x_signs(self, name: str, memory: SignMemory) -> Iterator[Pass]:
        signs = Signs(name, self.constants[f"{name}.move"], memory, self.regions.inputs)
        for tile, item in enumerate(self.signs(signs)):
            item.fields |= {"shortcut_base": self._of_x(tile), "place_b": 1}
            item.results = self._show(tile, (memory.writes, f"{name}.signs"))
            yield item

    @property
    def ahead(self) -> bool:
        """Whether the Haar unit splits x of a next layer of the stage while this layer still makes it. That
        takes a third bank: otherwise partial sums lie where hi goes.
        """
        more = self.stage.config.stage.layers > 1 and len(self.windows) == 1
        return bool(more and self.config.hfsc and self.machine.bank_c)

    def haar(self, layer: str, tiles: Iterable[int]) -> Iterator[Pass]:
        """A pass for each of some tiles, in which the Haar unit begins it."""
        r, words = self.regions, self.steps * self.n
        projections = [f"{role}.{band}" for band in ("lo", "hi") for role in ("query", "key")]
        moves = {name: self.constants[f"{layer}.{name}.move"] for name in projections}
        for tile in tiles:
            word, chunk = self.word_of(tile)
            fields = {
                "operation": OperationCode.HAAR,
                "haar": 1,
                "keys": self.n,
                "columns": self.config.grid[1],
                "haar_x": self._of_x(tile),
                "haar_low": r.low + tile * self.n,
                "haar_apart": r.high - r.low,
                "haar_signs": r.inputs + word * self.n,
                "haar_signs_apart": words,
                "haar_chunk": chunk,
                "haar_lanes": self.valid(tile),
            }
            results = []
            for phase, band in enumerate(("lo", "hi")):
                shown = [("haar", f"{layer}.x_{band}")]
                for memory, role in zip(SignMemory, ("query", "key"), strict=True):
                    shown.append((f"haar_{memory.writes}", f"{layer}.{role}.{band}.signs"))
                results += self._show(tile, *shown, phase=phase)
            needs = Loads(moves=self.add_constants(moves, self.channels(tile)))
            yield Pass(f"{layer}.haar", fields, needs, results)

    def _queries_and_keys(self, layer: str) -> Iterator[Pass]:
        r, words = self.regions, self.steps * self.n
        # The keys come first, so that the keys of the first band load while the last queries stream.
        for memory, role in ((SignMemory.SIGNS_1, "key"), (SignMemory.SIGNS_0, "query")):
            for band, part in enumerate(self.config.bands):
                name = f"{layer}.{role}.{part}"
                constants, shifts = self._sign_constants(name)
                for tile in range(self.tiles):
                    word, chunk = self.word_of(tile)
                    if self.config.hfsc:
                        x = {
                            "shortcut": Operand.BANK_A,
                            "shortcut_base": (r.low, r.high)[band] + tile * self.n,
                        }
                    else:
                        x = {"shortcut": Operand.BANK_B, "shortcut_base": self._of_x(tile), "place_b": 1}
                    final = x | {
                        memory.writes: 1,
                        "bits_base": r.projected + band * words + word * self.n,
                        "bits_chunk": chunk,
                        "lanes": self.valid(tile),
                    }
                    needs = Loads(constants=self.add_constants(constants, self.channels(tile)), shifts=shifts)
                    results = self._show(tile, ("acc", f"{name}.acc"), (memory.writes, name))
                    yield from self._projection(
                        name,
                        OperationCode.QUERIES_AND_KEYS,
                        (memory.activation, r.inputs + band * words),
                        *self._square(name, tile),
                        needs,
                        final,
                        results,
                        r.partial,
                    )

    def _scores(self, layer: str) -> Iterator[Pass]:
        heads, high = self.config.heads, self.config.widths.affine_shift[1]
        weights = self.constants[f"{layer}.attention.score_weight"]
        # Scores are w·dot / 2. The weight is stored as w·2^(high − 1 − h) and shifted left by h as it loads;
        # h is as large as the window of shifts allows.
        most = high - self.config.widths.affine_shift[0]
        constants = []
        for weight in weights:
            shift = min(most, high - 1)
            stored = int(weight) << (high - 1 - shift)
            address = self.tables.add_constants(self.neutral_constants(1, a=stored), 1)
            constants.append(Loads(constants=address, same=True, shifts=(shift, self.unit_shifts[1])))
        for head in range(heads):
            passes = list(self._head_scores(layer, head, constants))
            if head and self._softmax_beside_scores:
                _begin_softmax(passes[0], self._softmax(layer, head - 1))
            yield from passes

    @property
    def _softmax_beside_scores(self) -> bool:
        """Whether a head's softmax runs while the scores of the next head are made: rows of Â must not lie
        where queries are.
        """
        return self.config.heads * self.row_words * self.n <= self.regions.projected

    def _head_scores(self, layer: str, head: int, constants: list[Loads]) -> Iterator[Pass]:
        r, words, bands = self.regions, self.steps * self.n, len(constants)
        parts = list(self._head_words(head))
        # Tiles inside: scores of the first band are long written when those of the second are added.
        for band, tile in itertools.product(range(bands), range(self.key_tiles)):
            lanes = min(self.lanes, self.n - tile * self.lanes)
            for step, (word, low, end) in enumerate(parts):
                last = step == len(parts) - 1
                scores = r.low + (head * self.key_tiles + tile) * self.n
                fields = self.stream(
                    OperationCode.SCORES,
                    activation=Activation.SIGNS_0,
                    signs_0=r.projected + band * words + word * self.n,
                    inputs_low=low,
                    inputs_high=end,
                    gate_high=self.lanes,
                    swap=1,
                    base_a=scores if last else r.partial,
                    lanes=lanes,
                )
                fields["write_a" if last else "write_c"] = 1
                if step:
                    fields |= {"partial": 1, "partial_base": r.partial}
                if last and band:
                    fields |= {
                        "shortcut": Operand.BANK_A,
                        "shortcut_base": scores,
                        "interval": self.beside_sums if step else 0,
                    }
                results = []
                if last and band == bands - 1:
                    fields |= {"maximum": 1, "row_base": head * self.n, "first_keys": int(tile == 0)}
                    first = tile * self.lanes
                    results = [Result("y", f"{layer}.scores", first, lanes, head=head, window=self.window)]
                # A head's keys, with pads in the place of other heads' that share the word. What loads beside
                # them for every pass costs no time, because the keys take longer.
                first = r.projected + band * words + word * self.n + tile * self.lanes
                needs = Loads(**(vars(constants[band] if last else Loads()) | {"keys": (first, low, end)}))
                yield Pass(f"{layer}.scores", fields, needs, results)

    @property
    def _offset(self) -> int:
        """The place of the window's first t_n among those of an operation."""
        return self.window.number * self.n

    def _lane_range(self, head: int, tile: int) -> tuple[int, int]:
        """The lanes of a tile that have a head's channels, as (first, end)."""
        d, channels = self.config.head_dim, self.channels(tile)
        low, high = max(head * d, channels.start), min((head + 1) * d, channels.stop)
        return low - channels.start, high - channels.start

    def _attend(self, layer: str) -> Iterator[Pass]:
        """Values and context, tile by tile: a tile's V is in the lanes' weights while its context is made."""
        issued = self.config.heads - 1 if self._softmax_beside_scores else 0
        # The first token of each word of a row of Â (and of a channel's V), and how many tokens the word has.
        short = self.key_tiles - (self.row_words - 1) * self.chunks
        starts = [0] + [(short + w * self.chunks) * self.lanes for w in range(self.row_words - 1)]
        lengths = [short * self.lanes] + [self.width] * (self.row_words - 1)
        for tile in range(self.tiles):
            heads = self._heads(tile)
            softmaxes = [self._softmax(layer, head) for head in range(issued, heads.stop)]
            issued = max(issued, heads.stop)
            yield from softmaxes[:-1]
            order = [self.row_words - 1, *range(self.row_words - 1)]
            constants, shifts = self._irprelu_constants(
                f"{layer}.value", self.constants[f"{layer}.value_move"]
            )
            needs, address = (
                Loads(constants=self.add_constants(constants, self.channels(tile)), shifts=shifts),
                None,
            )
            for place, word in enumerate(order):
                if place == 0:
                    tokens = (0, self.key_tiles * self.lanes, self.n)
                else:
                    tokens = (starts[word], lengths[word], 0)
                rows = len(self.tables.weights)
                values = list(self._values(layer, tile, tokens, needs, address))
                if softmaxes and place == 0:  # the last softmax runs during the pass of the values
                    _begin_softmax(values[0], softmaxes[-1])
                yield from values
                address = rows if address is None else address
                for head in heads:
                    begins, ends = head == heads[0], head == heads[-1]
                    first, last = begins and place == 0, ends and place == len(order) - 1
                    unused = self.width - lengths[word]
                    yield self._context(layer, tile, head, word, unused, begins, first, last)

    def _softmax(self, layer: str, head: int) -> Pass:
        r = self.regions
        fields = {
            "operation": OperationCode.VALUES,
            "softmax": 1,
            "scores_base": r.low + head * self.key_tiles * self.n,
            "softmax_row": head * self.n,
            "attention_base": r.attention + head * self.row_words * self.n,
            "threshold": int(self.constants[f"{layer}.attention.threshold"][head]),
            "keys": self.n,
            "key_tiles": self.key_tiles,
            "key_lanes": self.n - (self.key_tiles - 1) * self.lanes,
            "key_chunk": -self.key_tiles % self.chunks,
            "score_shift": self.config.score_shift,
        }
        tiles, name = range(self.key_tiles), f"{layer}.attention"
        results = [self._keys("attention", name, head, tile, phase=tile) for tile in tiles]
        return Pass(f"{layer}.attention", fields, None, results)

    def _values(
        self, layer: str, tile: int, tokens: tuple[int, int, int], needs: Loads, address: int | None
    ) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.value"
        word, chunk = self.word_of(tile)
        first, _, live = tokens
        final = {
            "shortcut": Operand.BANK_B,
            "shortcut_base": self._of_x(tile) + first,
            "place_b": 1,
            **self._token(name, self._offset + first),
            "write_a": 1,
            "base_a": r.high + tile * self.n + first,
            "bits_1": 1,
            "bits_base": r.v + word * self.n + first,
            "bits_chunk": chunk,
            "shift_values": 1,
            "lanes": self.valid(tile),
            "count": 1,
        }
        results = self._show(tile, ("acc", f"{name}.acc"), ("y", name), ("bits_1", f"{layer}.v"))
        yield from self._projection(
            name,
            OperationCode.VALUES,
            (Activation.SIGNS_1, r.value_in + self.window.first),
            *self._square(name, tile),
            needs,
            final,
            results if live else [],
            r.partial,
            tokens,
            address,
            of=self.stage.n,
        )

    def _context(
        self, layer: str, tile: int, head: int, word: int, unused: int, swap: bool, first: bool, last: bool
    ) -> Pass:
        """One step of the context of a tile: one head, and one word of its rows of Â.

        The lowest bits of the word may be ``unused``. The values are in the lanes; the first head swaps
        them in.
        """
        r, name, diba = self.regions, f"{layer}.context", self.config.diba
        lead = self.machine.theta // 2 * (self.config.grid[1] + 1) if diba else 0
        v_word, chunk = self.word_of(tile)
        low, high = self._lane_range(head, tile)
        fields = self.stream(
            OperationCode.CONTEXT,
            lead=lead,
            activation=Activation.SIGNS_0,
            context=1,
            inputs_low=unused,
            inputs_high=self.width,
            signs_0=r.attention + (head * self.row_words + word) * self.n - lead,
            signs_1=r.v + v_word * self.n,
            chunk=chunk,
            gate_low=low,
            gate_high=high,
            differential=int(diba),
            lanes=self.valid(tile),
            swap=int(swap),
        )
        if not first:
            fields |= {"partial": 1, "partial_base": r.context_partial - lead}
        if not last:
            fields |= {"write_c": 1, "base_a": r.context_partial - lead}
            return Pass(name, fields, Loads())
        wide = r.high + tile * self.n - lead
        out_word, out_chunk = self.word_of(tile)
        token = self._token(name, self._offset - lead)
        fields |= {
            "local": int(diba),
            "shortcut": Operand.BANK_A,
            "shortcut_base": wide,
            **token,
            "write_a": 1,
            "base_a": wide,
            "bits_0": 1,
            "bits_base": r.context + out_word * self.n - lead,
            "bits_chunk": out_chunk,
            "count": 1,
            "interval": 0 if first else self.beside_sums,
        }
        constants, shifts = self._irprelu_constants(name, self.constants[f"{layer}.output.move"])
        needs = Loads(constants=self.add_constants(constants, self.channels(tile)), shifts=shifts)
        if diba:
            needs.local = self._local(layer, tile)
        shown = ("acc", f"{name}.acc"), ("y", name), ("bits_0", f"{layer}.output.signs")
        results = self._show(tile, *shown)
        return Pass(name, fields, needs, results)

    def _output(self, layer: str, following: Signs) -> Iterator[Pass]:
        r, name = self.regions, f"{layer}.output"
        constants, shifts = self._irprelu_constants(name, following.move)
        for tile in range(self.tiles):
            final = {
                "shortcut": Operand.BANK_A,
                "shortcut_base": r.high + tile * self.n,
                "residual": 1,
                "residual_base": self._of_x(tile),
                **self._token(name, self._offset),
                "write_b": 1,
                "base_b": self._of_x(tile),
                **self.stage.writes(following, tile, self.window.first),
                "place_b": 1,
                "place_out": 1,
                "lanes": self.valid(tile),
                "count": 1,
            }
            shown = ("acc", f"{name}.acc"), ("y", name), (following.memory.writes, f"{following.name}.signs")
            yield from self._projection(
                name,
                OperationCode.OUTPUT,
                (Activation.SIGNS_0, r.context),
                *self._square(name, tile),
                Loads(constants=self.add_constants(constants, self.channels(tile)), shifts=shifts),
                final,
                self._show(tile, *shown),
                r.partial,
            )

    def _local(self, layer: str, tile: int) -> int:
        """Put a tile's local weights into the table, centred in the unit's window; returns their address."""
        theta, size = self.config.theta, self.machine.theta
        given = self.constants[f"{layer}.local.weight"][self.channels(tile)] > 0
        weights = np.zeros((len(given), size, size), np.uint8)
        margin = (size - theta) // 2
        weights[:, margin : margin + theta, margin : margin + theta] = given
        shifts = self.constants[f"{layer}.local.shift"][self.channels(tile)]
        return self.tables.add_local(weights.reshape(len(given), -1), shifts, self.lanes)


def _begin_softmax(item: Pass, softmax: Pass) -> None:
    """Let a softmax run beside a pass."""
    item.fields |= softmax.fields | {"operation": item["operation"]}
    item.results = item.results + softmax.results
