"""Cycles of a network on the next machine, by rules.

A pass streams the N tokens of a grid through the lanes, one per cycle. A tile of L channels takes a pass for
each step of K inputs, and the last step makes results. Most cycles of an image are

    binary linear C → M           ⌈M/L⌉ · ⌈C/K⌉ · N
    binary 3×3 convolution of C   ⌈C/L⌉ · S · N, with the S of `taps`
    merge 4·C → D                 ⌈C/L⌉ · 4·N for its signs and ⌈D/L⌉ · ⌈4·C/K⌉ · N, with N merged tokens
    scores, h heads of d          h · ⌈N/L⌉ · N, where K has room for both bands
    context                       h · ⌈d/L⌉ · ⌈N/K⌉ · N

In windows of n tokens, scores and context have ⌈n/L⌉ and ⌈n/K⌉ instead. The other cycles are waits, of which
`Timeline` has the rules. These were read off the schedules of a prototype, pass by pass, and give its cycles
for the networks of tests/sw/plan/rows.py. Windows, ``head`` and ``signs`` after the first layer are derived.
"""

from haarlequin.models.config import LayerPlace, ModelConfig
from haarlequin.models.stages import ATTENTION, CONVOLUTION
from haarlequin.sw.plan.machine import Machine
from haarlequin.sw.plan.timeline import Operation, Timeline, split


def taps(dim: int, width: int) -> tuple[int, str]:
    """The steps S of a binary 3×3 convolution of ``dim`` channels, and what a word of its signs holds.

    Of "nine", it holds up to K channels at one tap; of "pairs", the channels at two taps, one from each sign
    memory; of "window", up to K of the signs at three taps of a row, which lie side by side.
    """
    choices = [(9 * split(dim, width), "nine"), (3 * split(3 * dim, width), "window")]
    if 2 * dim <= width:
        choices.append((5, "pairs"))
    return min(choices)


def score_steps(config: ModelConfig, machine: Machine) -> int:
    """Steps of a tile of scores: one if both bands of a head fit in a word."""
    bands = len(config.bands)
    return 1 if bands * config.head_dim <= machine.width else bands * split(config.head_dim, machine.width)


def context_steps(config: ModelConfig, machine: Machine) -> int:
    """Steps of a tile of the context: words of a row of Â."""
    return split(config.window_alone().tokens, machine.width // (1 + machine.values_twice))


def band_cycles(config: ModelConfig) -> int:
    """Cycles of the Haar unit for a tile: two for each token, and each token of a window's lead."""
    window = config.window_alone()
    return 2 * config.tokens // window.tokens * (window.tokens + window.grid[1] + 1)


def operations(config: ModelConfig, machine: Machine) -> list[Operation]:
    """The operations of an image, in the order in which they begin."""
    image = _Image(machine)
    image.run(config)
    return list(image.operations.values())


class _Image(Timeline):
    def run(self, config: ModelConfig) -> None:
        lanes, (first, *_) = self.machine.lanes, config.stages
        # The weights of the first pass are loaded before it, and constants where it leaves partial sums.
        self.idle("begin", lanes if first.kind == ATTENTION else 2 * lanes)
        if first.kind == ATTENTION:
            self._linear("signs", config.alone(0), inputs=0)
        stage, index = None, 0
        for place, after in zip(config.places, [*config.places[1:], None], strict=True):
            index = index + 1 if place.config is stage else 0
            stage = place.config
            last = after is None or bool(after.merged)
            bands = after.config if after and not last and _bands(after) else None
            self._layer(place, bands, below=bool(index % 2) if stage.stage.kind == CONVOLUTION else not last)
        if config.segmentation:
            final, classes = config.places[-1].config, len(config.classes)
            self._linear("head", final, inputs=final.dim, outputs=classes)
        self.end()

    def _layer(self, place: LayerPlace, bands: ModelConfig | None, below: bool) -> None:
        """A layer. Attention of the configuration ``bands`` comes next, on the same grid. The signs that its
        convolution writes lie ``below`` those that it reads.
        """
        config = place.config
        if place.merged:
            before = place.merged
            self._linear("merge signs", before, inputs=0)
            self._linear("merge", config, inputs=4 * before.dim)
        if config.stage.kind == CONVOLUTION:
            self._convolution("convolution", config, bands, below)
            return
        if _bands(place) and (place.merged or place.name == "layers.0"):
            for _ in range(split(config.dim, self.machine.lanes)):
                self.split_bands(band_cycles(config), copied=False)
        elif not config.hfsc:
            self._linear("signs", config, inputs=0)
            self._linear("signs", config, inputs=0)
        self._attention(config)
        if config.stage.feed_forward == CONVOLUTION:
            self._convolution("feed-forward", config, bands, below)
        else:
            self._mlp(config, bands)

    def _linear(self, name: str, config: ModelConfig, inputs: int, outputs: int = 0) -> None:
        """A binary linear on a grid of tokens, or with no ``inputs`` the signs of its channels alone."""
        outputs = outputs or config.dim
        for _ in range(split(outputs, self.machine.lanes)):
            begin = self.signs if inputs else 0
            self.tile(name, config.tokens, max(1, split(inputs, self.machine.width)), begin=begin)
        self.operations[name].bit_macs += config.tokens * inputs * outputs
        self.writes_signs()

    def _attention(self, config: ModelConfig) -> None:
        """Half of V; queries, keys and scores by head; the rest of V beside the last softmax; context."""
        m, n, window, heads = self.machine, config.tokens, config.window_alone(), config.heads
        tiles, steps = split(config.dim, m.lanes), split(config.dim, m.width)
        head_tiles, key_tiles = split(config.head_dim, m.lanes), split(window.tokens, m.lanes)
        loaded, begins = [], []
        for _ in range(tiles // 2):
            self.tile("values", n, steps, begin=self.signs, final=[self.bank_b])
            loaded.append(self.transpose(n))
        for head in range(heads):
            if head:
                begins.append(self.softmax("queries and keys", n, key_tiles))
            for _ in range(2 * len(config.bands) * head_tiles):
                self.tile("queries and keys", n, steps, begin=self.signs, final=[self.haar])
            self.writes_signs()
            for _ in range(key_tiles):
                self.tile("scores", n, score_steps(config, m), begin=self.signs)
        begins.append(self.softmax("values", n, key_tiles))
        for _ in range(tiles // 2, tiles):
            self.tile("values", n, steps, final=[self.bank_b])
            loaded.append(self.transpose(n))
        self.writes_signs()
        for head, begin in enumerate(begins):
            for tile in range(head_tiles):
                of_values = (head * config.head_dim + tile * m.lanes) // m.lanes
                begin = max(begin, self.signs, loaded[of_values], self.bank_a)
                self.tile("context", n, context_steps(config, m), begin=begin)
        self.writes_signs()
        self._linear("output", config, inputs=config.dim)
        self.reads_residual()
        pairs = n * window.tokens * config.dim
        macs = {"values": n * config.dim**2, "queries and keys": 2 * len(config.bands) * n * config.dim**2}
        for name, count in (macs | {"scores": len(config.bands) * pairs, "context": pairs}).items():
            self.operations[name].bit_macs += count

    def _mlp(self, config: ModelConfig, bands: ModelConfig | None) -> None:
        m, n, dim, ratio = self.machine, config.tokens, config.dim, config.mlp_ratio
        tiles, steps = split(dim, m.lanes), split(dim, m.width)
        # Each repeat of C channels begins in a word of its own unless C is a multiple of L.
        hidden = ratio * steps if dim % m.lanes else split(ratio * dim, m.width)
        for _ in range(ratio * tiles):
            self.tile("expand", n, steps, begin=self.signs, final=[self.bank_b])
        self.writes_signs()
        for tile in range(tiles):
            self.tile("reduce", n, hidden, begin=self.signs, final=[self.haar])
            if bands:
                self.split_bands(band_cycles(bands), copied=tile == tiles - 1)
        self.reads_residual()
        self.writes_signs()
        for name in ("expand", "reduce"):
            self.operations[name].bit_macs += ratio * n * dim**2

    def _convolution(self, name: str, config: ModelConfig, bands: ModelConfig | None, below: bool) -> None:
        """A binary 3×3 convolution, of a stage of them or as the feed-forward part of a layer."""
        m, feed_forward = self.machine, config.stage.kind == ATTENTION
        (steps, words), (_, columns) = taps(config.dim, m.width), config.grid
        # The stages of the prototype read windows a token ahead of the token that they are for.
        tokens = config.tokens + (words == "window" and not feed_forward)
        # How many words a first step reads before the first row of the grid. The machine takes ones for them.
        above = columns + (words == "nine") if feed_forward else columns - (words == "pairs")
        # Where the tile before wrote the last of the words below, they are among them.
        tiles, chunks, begin = split(config.dim, m.lanes), m.width // m.lanes, self.signs - above
        for tile in range(tiles):
            if tile and below and (tile - 1) // chunks == split(config.dim, m.width) - 1:
                begin = self.final + tokens + m.signed - above
            self.tile(name, tokens, steps, begin=begin, final=[self.bank_b, self.haar])
            if bands:
                self.split_bands(band_cycles(bands), copied=tile == tiles - 1)
        self.operations[name].bit_macs += 9 * config.tokens * config.dim**2
        self.writes_signs()


def _bands(place: LayerPlace) -> bool:
    """Whether a layer needs both bands of its input."""
    return place.config.stage.kind == ATTENTION and place.config.hfsc
