"""What a model needs of an accelerator, before anything is built: memory by purpose, and cycles by operation.

The schedule is that of docs/architecture.md: every operation is a number of passes, a pass streams the N
tokens. The figures are planned ones; the machine's own counters are to equal them once it runs.
"""

import math
from dataclasses import dataclass

from hw.config import AcceleratorConfig
from hw.embedding import Embedding
from models.config import ModelConfig

BLOCK_RAMS = {
    "ecp5": ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    "ice40": ((256, 16), (512, 8), (1024, 4), (2048, 2)),
}
"""Shapes (words, bits) that one block RAM of a family takes."""

LUT4 = {
    "array, a bit": 3.92,
    "post-processing, a lane": 310,
    "Haar, a lane": 101,
    "local convolution, a lane": 50,
}
"""Measured by `make area`: what grows with the lanes; a LUT4 estimate leaves out what joins them."""

SHARED_LUT4 = {"softmax": 3517, "row maximum, a lane": 29, "embedding, a multiplier": 97, "head": 633}
"""The units beside the lanes, measured likewise; the softmax takes 32 scores a cycle."""

DRAIN = 24
"""Cycles from the last token's activation to the last write of its results."""


class DoesNotFit(ValueError):
    """A model too large for an accelerator; the message names every memory that is, and by how much."""


@dataclass(frozen=True)
class Memory:
    """One memory: ``used`` of ``words`` words of ``width`` bits."""

    name: str
    purpose: str
    used: int
    words: int
    width: int

    def blocks(self, family: str = "ecp5") -> int:
        """Physical block RAMs, at the best shape."""
        return min(
            math.ceil(self.words / words) * math.ceil(self.width / bits) for words, bits in BLOCK_RAMS[family]
        )


@dataclass(frozen=True)
class Operation:
    """One kind of operation of a whole image: ``cycles`` of lane time, ``bit_macs`` of its binary
    products.
    """

    name: str
    passes: int
    cycles: int
    bit_macs: int = 0


@dataclass(frozen=True)
class Plan:
    """A model on an accelerator."""

    model: ModelConfig
    accelerator: AcceleratorConfig
    memories: tuple[Memory, ...]
    operations: tuple[Operation, ...]
    embedding: int
    """Cycles of the next image's embedding, beside the lanes' work."""

    @property
    def cycles(self) -> int:
        """Of an image in steady state."""
        return max(self.embedding, sum(operation.cycles for operation in self.operations))

    @property
    def ideal_cycles(self) -> float:
        """Of the binary products alone, on lanes that never wait."""
        lanes, width = self.accelerator.lanes, self.accelerator.width
        return sum(operation.bit_macs for operation in self.operations) / (lanes * width)

    @property
    def utilisation(self) -> float:
        """Share of the array's bit-MACs that the model's binary products fill."""
        return self.ideal_cycles / self.cycles

    @property
    def luts(self) -> int:
        """LUT4 of the blocks, without sequencer, link and what joins them."""
        machine = self.accelerator
        array, *lane = LUT4.values()
        softmax, maximum, multiplier, head = SHARED_LUT4.values()
        lanes = machine.lanes * (array * machine.width + sum(lane) + maximum)
        return round(lanes + softmax * min(1, machine.lanes / 32) + multiplier * machine.macs + head)

    @property
    def multipliers(self) -> int:
        """Two a lane, the embedding's and one more for its affine, the head's and the softmax's."""
        return 2 * self.accelerator.lanes + self.accelerator.macs + 3

    def check(self) -> None:
        """Raise `DoesNotFit` unless every memory is large enough and the grid narrow enough."""
        excess = [
            f"{memory.name} by {memory.used - memory.words} of {memory.words} words"
            for memory in self.memories
            if memory.used > memory.words
        ]
        columns, limit = self.model.grid[1], self.accelerator.max_columns
        if columns > limit:
            excess.append(f"the token grid by {columns - limit} of {limit} columns")
        if self.model.theta > self.accelerator.theta:
            excess.append(f"the local convolution by {self.model.theta - self.accelerator.theta} taps a side")
        if self.model.widths != self.accelerator.widths:
            excess.append("the arithmetic: its widths differ from the accelerator's")
        if excess:
            raise DoesNotFit(
                f"{self.model.name} is too large for {self.accelerator.name}: {'; '.join(excess)}"
            )


@dataclass(frozen=True)
class _Sizes:
    """The counts that the schedule is made of."""

    model: ModelConfig
    machine: AcceleratorConfig

    @property
    def tiles(self) -> int:
        """Of C channels over the lanes."""
        return math.ceil(self.model.dim / self.machine.lanes)

    @property
    def steps(self) -> int:
        """Words of C inputs."""
        return math.ceil(self.model.dim / self.machine.width)

    @property
    def hidden_steps(self) -> int:
        """Words of r·C inputs."""
        return math.ceil(self.model.dim * self.model.mlp_ratio / self.machine.width)

    @property
    def key_tiles(self) -> int:
        """Of N keys over the lanes."""
        return math.ceil(self.model.tokens / self.machine.lanes)

    @property
    def row_words(self) -> int:
        """Words of a row of Â."""
        return math.ceil(self.model.tokens / self.machine.width)

    @property
    def heads_of_a_tile(self) -> int:
        """Heads that share a tile of channels: the context takes a step for each."""
        return max(1, math.ceil(min(self.machine.lanes, self.model.dim) / self.model.head_dim))

    @property
    def lead(self) -> int:
        """Tokens that a window of the grid runs ahead."""
        return self.model.grid[1] + 1

    def stream(self, new_weights: bool = True, lead: int = 0, interval: int = 1) -> int:
        """Cycles of a pass; one with new weights lasts at least as long as the next ones take to load."""
        cycles = (self.model.tokens + lead) * interval
        return max(cycles, self.machine.lanes) if new_weights else cycles


def plan(model: ModelConfig, machine: AcceleratorConfig) -> Plan:
    """The plan of a model on an accelerator, fitting or not."""
    sizes = _Sizes(model, machine)
    embedding = Embedding.cycles(machine.macs, model.tokens, model.patch_length, model.dim)
    return Plan(model, machine, tuple(_memories(sizes)), tuple(_operations(sizes)), embedding)


def _operations(s: _Sizes) -> list[Operation]:
    model, n, layers = s.model, s.model.tokens, s.model.layers
    bands, ratio, heads = len(model.bands), model.mlp_ratio, model.heads
    square = n * model.dim * model.dim
    pairs = n * n * model.dim
    projection, lead = s.tiles * s.steps, s.lead if model.diba else 0
    contexts = s.tiles * s.heads_of_a_tile * s.row_words
    reduces = s.tiles * s.hidden_steps
    # Queries' and keys' signs of each band go to the two sign memories at once: a cycle a band.
    splits = (s.tiles, s.stream(False, s.lead if model.hfsc else 0, bands))
    # Beyond one word of tokens V is computed again for each word's columns.
    values = projection * (1 if s.row_words == 1 else 1 + s.row_words)
    # The keys of a band stay for all its heads and load behind the band before: only the first load is waited
    # for.
    score_passes = heads * bands * s.key_tiles * math.ceil(model.head_dim / s.machine.width)
    scores = score_passes * max(n, math.ceil(s.machine.lanes / heads)) + s.machine.lanes
    counted = [
        ("Haar split and signs", splits[0], splits[0] * splits[1], 0),
        ("queries and keys", 2 * bands * projection, 2 * bands * projection * s.stream(), 2 * bands * square),
        ("values", values, values * s.stream(), square),
        ("scores", score_passes, scores, bands * pairs),
        ("softmax", heads, heads * n * s.key_tiles, 0),
        ("context", contexts, contexts * s.stream(lead=lead), pairs),
        ("output", projection, projection * s.stream(), square),
        ("expand", ratio * projection, ratio * projection * s.stream(), ratio * square),
        # The last step reads a partial sum, the mean of u and x from two banks: two cycles a token.
        ("reduce", reduces, reduces * s.stream() + s.tiles * n, ratio * square),
        # Split, queries and keys, scores, softmax, values, context, output, expand each end before the next
        # begins.
        ("drains", 0, (8 + s.tiles) * DRAIN, 0),
    ]
    return [Operation(name, p * layers, cycles * layers, macs * layers) for name, p, cycles, macs in counted]


def _memories(s: _Sizes) -> list[Memory]:
    model, machine, w = s.model, s.machine, s.machine.widths
    n, dim, ratio, layers = model.tokens, model.dim, model.mlp_ratio, model.layers
    bands, classes = len(model.bands), len(model.classes)
    lanes_of_tiles = s.tiles * machine.lanes
    weights = layers * lanes_of_tiles * ((2 * bands + 2 + ratio) * s.steps + s.hidden_steps)
    constants = layers * lanes_of_tiles * (2 * bands + 3 + ratio + 1)
    constant_bits = w.multiplier + w.bias + 2 * w.slope + 2 * w.offset
    local = layers * lanes_of_tiles if model.diba else 0
    queries = n * s.steps
    signs = 2 * bands * queries + max(model.heads * n * s.row_words + 2 * queries, n * s.hidden_steps)
    wide = s.tiles * n
    # lo, then the mean of u; V' and ctx; scores; partial sums of a tile.
    bank_a = 2 * wide + model.heads * n * s.key_tiles + n
    passes = sum(operation.passes for operation in _operations(s))
    patch, groups = model.patch_length, math.ceil(dim / machine.macs)
    image = model.image[0] * model.image[1] * model.channels
    lanes_bits = machine.lanes * w.wide
    embedding_bits = w.multiplier + w.bias + 32
    return [
        Memory("weights", "binary weights", weights, machine.weights, machine.width),
        Memory("constants", "constants of the lanes", constants, machine.constants, constant_bits),
        Memory("local", "local convolution", local, machine.local, machine.theta**2 + w.local_shift),
        Memory("tokens", "t_n", layers * 5 * n, machine.tokens, w.offset),
        Memory("signs 0", "signs, queries, Â", signs, machine.signs, machine.width),
        Memory("signs 1", "signs, keys, V, u", signs, machine.signs, machine.width),
        Memory("bank A", "x_lo, V', ctx, scores, partial sums", bank_a, machine.bank_a, lanes_bits),
        Memory("bank B", "x of two images", 2 * wide, machine.bank_b, lanes_bits),
        Memory("program", "passes", passes, machine.program, 160),
        Memory("pixels", "two images", 2 * image, machine.pixels, 8),
        # Sized for the model: nothing else shares them.
        Memory("patch weights", "embedding", groups * patch, groups * patch, 8 * machine.macs),
        Memory("positions", "embedding", n * dim, n * dim, w.wide),
        Memory("embedding", "its affine and bias", dim, dim, embedding_bits),
        Memory("head", "classifier", dim * classes, dim * classes, 8),
    ]
