"""What a program needs of an accelerator: memory by purpose, cycles by operation, and whether it fits."""

import math
from dataclasses import dataclass

from hw.config import AcceleratorConfig
from hw.embedding import Embedding
from hw.program import OPERATIONS, pass_layout
from models.config import ModelConfig
from models.golden import GoldenModel

from .passes import Lowered

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

SHARED_LUT4 = {"softmax, a lane": 110, "row maximum, a lane": 29, "embedding, a multiplier": 97, "head": 633}
"""The units beside the lanes, measured likewise."""


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
    """One kind of operation of a whole image: ``cycles`` of the lanes, ``bit_macs`` of its binary
    products.
    """

    name: str
    passes: int
    cycles: int
    bit_macs: int


def memories(lowered: Lowered) -> list[Memory]:
    """Every memory of the accelerator, with what the program uses of it."""
    model, machine, tables, w = lowered.model.config, lowered.machine, lowered.tables, lowered.machine.widths
    n, dim, classes, patch = model.tokens, model.dim, len(model.classes), model.patch_length
    constants = w.multiplier + w.bias + 2 * w.slope + 2 * w.offset
    image, groups = math.prod(model.image) * model.channels, math.ceil(dim / machine.macs)
    most_groups = math.ceil(machine.max_channels / machine.macs)
    regions, tiles, lanes_bits = lowered.regions, math.ceil(dim / machine.lanes), machine.lanes * w.wide
    embedding = (2 * machine.max_patch_length * 128 * 128).bit_length() + 1 + w.multiplier + w.bias
    channels = machine.max_channels
    return [
        Memory("weights", "binary weights", len(tables.weights), machine.weights, machine.width),
        Memory("constants", "of the lanes", len(tables.constants), machine.constants, constants),
        Memory("local", "convolution", len(tables.local), machine.local, machine.theta**2 + w.local_shift),
        Memory("tokens", "t_n", len(tables.tokens), machine.tokens, w.offset),
        Memory("program", "passes", len(lowered.passes), machine.program, pass_layout(machine).size),
        Memory("signs 0", "signs, queries, Â, u", regions.signs_0, machine.signs, machine.width),
        Memory("signs 1", "signs, keys, V", regions.signs_1, machine.signs, machine.width),
        Memory("bank A", "lo, V', scores, partial sums", regions.bank_a, machine.bank_a, lanes_bits),
        Memory("bank B", "x of two images", 2 * tiles * n, machine.bank_b, lanes_bits),
        Memory("rows", "maxima of the scores", model.heads * n, machine.rows, w.wide),
        Memory("pixels", "two images", 2 * image, machine.pixels, 8),
        Memory(
            "patch weights",
            "embedding",
            groups * patch,
            most_groups * machine.max_patch_length,
            8 * machine.macs,
        ),
        Memory("embedding", "bias and affine", dim, channels, embedding),
        Memory("positions", "embedding", n * dim, machine.max_tokens * channels, w.wide),
        Memory("head", "affine", dim, channels, w.multiplier + w.bias),
        Memory("head weights", "classifier", dim * classes, channels * machine.max_classes, 8),
        Memory("head biases", "classifier", classes, machine.max_classes, 32),
    ]


def operations(lowered: Lowered) -> list[Operation]:
    """What the lanes spend an image's cycles on, once it is scheduled."""
    macs = bit_macs(lowered.model.config)
    result = []
    for number, name in enumerate(OPERATIONS[:-1]):
        passes = [item for item in lowered.passes if item["operation"] == number]
        cycles = sum(item["cycles"] for item in passes)
        result.append(Operation(name, len(passes), cycles, macs.get(name, 0)))
    return result


def bit_macs(model: ModelConfig) -> dict[str, int]:
    """Products of signs of an image, by operation."""
    n, square, bands = model.tokens, model.tokens * model.dim**2, len(model.bands)
    pairs = n * n * model.dim
    layer = {
        "queries and keys": 2 * bands * square,
        "values": square,
        "scores": bands * pairs,
        "context": pairs,
        "output": square,
        "expand": model.mlp_ratio * square,
        "reduce": model.mlp_ratio * square,
    }
    return {name: model.layers * count for name, count in layer.items()}


def ideal_cycles(model: ModelConfig, machine: AcceleratorConfig) -> float:
    """Of the binary products of an image, on lanes that never wait."""
    return sum(bit_macs(model).values()) / (machine.lanes * machine.width)


def embedding_cycles(model: ModelConfig, machine: AcceleratorConfig) -> int:
    """Of an image's embedding, beside the lanes, where nothing holds it up."""
    return Embedding.cycles(machine.macs, model.tokens, model.patch_length, model.dim)


def luts(machine: AcceleratorConfig) -> int:
    """LUT4 of the blocks, estimated, without sequencer, link and what joins them."""
    array, *lane = LUT4.values()
    softmax, maximum, multiplier, head = SHARED_LUT4.values()
    lanes = machine.lanes * (array * machine.width + sum(lane) + softmax + maximum)
    return round(lanes + multiplier * machine.macs + head)


def multipliers(machine: AcceleratorConfig) -> int:
    """Two a lane, the embedding's and one more for its affine, the head's and the softmax's."""
    return 2 * machine.lanes + machine.macs + 3


def check_shapes(golden: GoldenModel, machine: AcceleratorConfig) -> None:
    """Raise `DoesNotFit` where something other than a memory is too small for a model."""
    model, w, limit = golden.config, machine.widths, (1 << machine.widths.wide - 1) - 1
    if model.widths != w:
        raise DoesNotFit(f"{model.name}: its widths differ from those of {machine.name}")
    weights = [value.sum() for name, value in golden.constants.items() if name.endswith("score_weight")]
    largest = model.head_dim * int(max(weights))
    needs = {
        "columns of the token grid": (model.grid[1], machine.max_columns),
        "tokens": (model.tokens, machine.max_tokens),
        "channels": (model.dim, machine.max_channels),
        "values of a patch": (model.patch_length, machine.max_patch_length),
        "classes": (len(model.classes), machine.max_classes),
        "taps a side of the local convolution": (model.theta if model.diba else 1, machine.theta),
        "repeats of the MLP": (model.mlp_ratio, 8),
        "signs of a sum": (max(model.mlp_ratio * model.dim, 3 * model.tokens), limit),
        "half of a score's largest value": (largest // 2 + 1, limit),
        "the score's shift": (model.score_shift, 5),
    }
    excess = [f"{name} {has}, {most} at most" for name, (has, most) in needs.items() if has > most]
    if excess:
        raise DoesNotFit(f"{model.name} is too large for {machine.name}: {'; '.join(excess)}")


def check_memories(lowered: Lowered) -> None:
    """Raise `DoesNotFit` unless every memory is large enough."""
    excess = [
        f"{memory.name} by {memory.used - memory.words} of {memory.words} words"
        for memory in memories(lowered)
        if memory.used > memory.words
    ]
    if excess:
        name, machine = lowered.model.config.name, lowered.machine.name
        raise DoesNotFit(f"{name} is too large for {machine}: {'; '.join(excess)}")
