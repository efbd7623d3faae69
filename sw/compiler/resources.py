"""Find what a program needs of an accelerator: memories, cycles by operation, and whether it fits."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass

from amaranth.utils import ceil_log2

from haarlequin.hw.attention.softmax import SHIFTS
from haarlequin.hw.codes import OperationCode, SignMemory
from haarlequin.hw.common import ram_sizes
from haarlequin.hw.config import AcceleratorConfig, AnyConfig
from haarlequin.hw.ends.embedding import Embedding
from haarlequin.hw.ends.embedding import constants_layout as embedding_layout
from haarlequin.hw.ends.head import constants_layout as head_layout
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import Family
from haarlequin.hw.lanes.loader import local_layout
from haarlequin.hw.lanes.sign_memories import sign_parts
from haarlequin.hw.link.protocol import RESULT_BYTES
from haarlequin.hw.pass_fields import MOST_REPEATS
from haarlequin.hw.program import constants_layout, update_layout
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.models.stages import ATTENTION, CONVOLUTION, MLP
from haarlequin.sw import answers
from haarlequin.sw.compiler.encode import changed_groups
from haarlequin.sw.compiler.passes import Lowered
from haarlequin.sw.operations import missing_operation

MULTIPLIER_BITS = 18
"""The width of a multiplier of an ECP5."""


class DoesNotFit(UsageError):
    """The model is too large for the accelerator; the message says what is too small, and by how much."""


@dataclass(frozen=True)
class Memory(ABC):
    """One memory of ``words`` words of ``width`` bits, of which a program uses ``used`` words."""

    name: str
    purpose: str
    used: int
    words: int
    width: int

    @abstractmethod
    def blocks(self, family: Family = ECP5) -> int:
        """The number of its block RAMs; 0 where it is made of lookup tables."""


@dataclass(frozen=True)
class Table(Memory):
    """A memory that the host fills, or a bank: `sliced_memory.SlicedMemory`."""

    spare: float = ram_sizes.SPARE

    def blocks(self, family: Family = ECP5) -> int:
        return ram_sizes.table_block_rams(family, self.width, self.words, self.spare)


@dataclass(frozen=True)
class Plain(Memory):
    """Any other memory: `sliced_memory.sized_memory`.

    ``written`` bits of a word can be written alone, by default all; ``reads`` ports read it. ``parts`` are
    the bits of each memory that makes it, by default one.
    """

    written: int | None = None
    reads: int = 1
    parts: tuple[int, ...] = ()

    def blocks(self, family: Family = ECP5) -> int:
        return sum(
            ram_sizes.block_rams(family, bits, self.words, self.written, self.reads)
            for bits in self.parts or (self.width,)
        )


@dataclass(frozen=True)
class Operation:
    """One kind of operation over a whole image: its passes, cycles of the lanes, and useful bit-MACs."""

    name: str
    passes: int
    cycles: int
    bit_macs: int

    def busy(self, machine: AnyConfig) -> float:
        """The share of the array's bit-MACs that are the operation's products."""
        return self.bit_macs / (machine.lanes * machine.width * max(1, self.cycles))


def memories(lowered: Lowered) -> list[Memory]:
    """Every memory of the accelerator, with what the program uses of it."""
    model, machine, w = lowered.model.config, lowered.machine, lowered.machine.widths
    made = lowered.tables
    stem, classes, patch = model.stages[0].dim, len(model.classes), model.patch_length
    last = 0 if model.segmentation else model.stages[-1].dim  # channels that the classifier sees
    positions = math.prod(model.grids[0]) * stem if model.stem.patch else 0
    answering = []
    if machine.answers:
        used = answers.words(model, whole=False) if model.segmentation else 0
        answering.append(Plain("answers", "of tokens", used, machine.answers, 8 * RESULT_BYTES))
    constants, local = constants_layout(machine).size, local_layout(machine).size
    image, groups = math.prod(model.image) * model.channels, math.ceil(stem / machine.macs)
    most_groups = math.ceil(machine.max_channels / machine.macs)
    uses = lowered.uses
    bank, signs = (
        (machine.lanes * w.wide, ram_sizes.BANK_SPARE),
        (machine.signs, machine.width, machine.lanes),
    )
    parts = [
        tuple(machine.lanes * len(chunks) for chunks in sign_parts(machine, which)) for which in SignMemory
    ]
    third = [Table("bank C", "partial sums", uses.bank_c, machine.bank_c, *bank)] if machine.bank_c else []
    embedding, head = embedding_layout(w, machine.max_patch_length).size, head_layout(w).size
    channels = machine.max_channels
    return [
        Table("weights", "binary weights", len(made.weights), machine.weights, machine.width),
        Table("constants", "of the lanes", len(made.constants), machine.constants, constants),
        Table("local", "convolution", len(made.local), machine.local, local),
        Table("tokens", "t_n", len(made.token_offsets), machine.tokens, w.offset),
        Table(
            "program", "updates of passes", _updates(lowered), machine.program, update_layout(machine).size
        ),
        Plain("signs 0", "signs, queries, Â, u", uses.signs_0, *signs, parts=parts[SignMemory.SIGNS_0]),
        Plain("signs 1", "signs, keys, V", uses.signs_1, *signs, parts=parts[SignMemory.SIGNS_1]),
        Table(
            "bank A",
            f"lo, V', scores{'' if machine.bank_c else ', partial sums'}",
            uses.bank_a,
            machine.bank_a,
            *bank,
        ),
        Table("bank B", "x of two images", 2 * uses.bank_b, machine.bank_b, *bank),
        *third,
        Plain("rows", "maxima of the scores", uses.rows, machine.rows, w.wide, reads=2),
        Table("pixels", "two images", 2 * image, machine.pixels, 8),
        Table(
            "patch weights",
            "embedding",
            groups * patch,
            most_groups * machine.max_patch_length,
            8 * machine.macs,
        ),
        Table("embedding", "bias and affine", stem, channels, embedding),
        Table("positions", "embedding", positions, machine.position_words, w.wide),
        Table("head", "affine", last, channels, head),
        Table("head weights", "classifier", last * classes, channels * machine.max_classes, 8),
        Table("head biases", "classifier", min(last, 1) * classes, machine.max_classes, 32),
        *answering,
    ]


def _updates(lowered: Lowered) -> int:
    """How many words the program has."""
    count, before = 0, None
    for item in lowered.passes:
        count += len(changed_groups(lowered.machine, before, item.fields))
        before = item.fields
    return count


def operations(lowered: Lowered) -> list[Operation]:
    """The operations of an image, with the cycles of the lanes that each takes, once it is scheduled."""
    macs = bit_macs(lowered.model.config)
    result = []
    for code in OperationCode:
        if code not in (OperationCode.WAITING, OperationCode.LATE):
            passes = [item for item in lowered.passes if item["operation"] == code]
            cycles = sum(item["cycles"] for item in passes)
            result.append(Operation(code.title, len(passes), cycles, macs.get(code, 0)))
    return result


def bit_macs(model: ModelConfig) -> dict[OperationCode, int]:
    """How many products of signs an image has, by operation."""
    counts: Counter[OperationCode] = Counter()
    for place in model.places:
        config = place.config
        n, square, bands = config.tokens, config.tokens * config.dim**2, len(config.bands)
        pairs = n * n * config.dim
        if place.merged:
            counts[OperationCode.MERGE] += n * 4 * place.merged.dim * config.dim
        if config.stage.kind == ATTENTION:
            counts[OperationCode.QUERIES_AND_KEYS] += 2 * bands * square
            counts[OperationCode.VALUES] += square
            counts[OperationCode.SCORES] += bands * pairs
            counts[OperationCode.CONTEXT] += pairs
            counts[OperationCode.OUTPUT] += square
        if config.stage.feed_forward == CONVOLUTION:
            counts[OperationCode.CONVOLUTION] += 9 * square
        else:
            counts[OperationCode.EXPAND] += config.mlp_ratio * square
            counts[OperationCode.REDUCE] += config.mlp_ratio * square
    if model.segmentation:
        config = model.places[-1].config
        counts[OperationCode.HEAD] += config.tokens * config.dim * len(model.classes)
    return dict(counts)


@dataclass(frozen=True)
class WeightTraffic:
    """The weights that a program would need from outside, tile by tile, in order not to wait for them."""

    tile_bytes: int
    """The bytes of one tile: a word for each lane. The lanes' buffer has two."""
    tiles: int
    """Tiles that an image loads."""
    bytes_per_cycle: float
    """Over the whole image, on average."""
    most_per_cycle: float
    """Over the passes from one load to the next, where these are the shortest."""


def weight_traffic(lowered: Lowered) -> WeightTraffic:
    """The traffic of weights of a scheduled program, image after image."""
    tile = lowered.machine.lanes * lowered.machine.width // 8
    begins, cycle = [], 0
    for item in lowered.passes:
        if item["load_weights"]:
            begins.append(cycle)
        cycle += item["cycles"]
    gaps = [after - before for before, after in zip(begins, [*begins[1:], cycle + begins[0]], strict=True)]
    return WeightTraffic(tile, len(begins), tile * len(begins) / cycle, tile / min(gaps))


def ideal_cycles(model: ModelConfig, machine: AnyConfig) -> float:
    """The cycles that the binary products of an image take on lanes that never wait."""
    return sum(bit_macs(model).values()) / (machine.lanes * machine.width)


def embedding_cycles(model: ModelConfig, machine: AcceleratorConfig) -> int:
    """The cycles of an image's embedding, which runs beside the lanes, if it never has to wait."""
    tokens, dim = math.prod(model.grids[0]), model.stages[0].dim
    return Embedding.cycles(machine.macs, tokens, model.patch_length, dim)


def multipliers(machine: AcceleratorConfig) -> int:
    """The number of multipliers: two per lane, those of embedding (and its affine) and softmax, and the
    head's, whose sums over tokens may be wider than one multiplier of an ECP5 is.
    """
    sums = machine.widths.wide + ceil_log2(machine.max_tokens)
    return 2 * machine.lanes + machine.macs + 2 + math.ceil(sums / MULTIPLIER_BITS)


def check_operations(model: ModelConfig) -> None:
    """Raise `DoesNotFit` for a model with an operation that no accelerator has."""
    if operation := missing_operation(model):
        raise DoesNotFit(
            f"{model.name} ({model.structure}): no accelerator has {operation}; --device golden runs it"
        )


def check_shapes(golden: GoldenModel, machine: AcceleratorConfig) -> None:
    """Raise `DoesNotFit` where an operation is missing, or anything but a memory is too small for a model."""
    check_operations(golden.config)
    model, w, limit = golden.config, machine.widths, (1 << machine.widths.wide - 1) - 1
    if model.widths != w:
        raise DoesNotFit(f"{model.name}: its widths differ from those of {machine.name}")
    needs = {
        "tokens": (max(place.config.tokens for place in model.places), machine.max_tokens),
        "channels": (max(stage.dim for stage in model.stages), machine.max_channels),
        "values of an embedded image": (math.prod(model.grids[0]) * model.stages[0].dim, machine.values),
        "values of a patch": (model.patch_length, machine.max_patch_length),
        "classes": (len(model.classes), machine.max_classes),
        "columns of the token grid": (max(columns for _, columns in model.grids), machine.max_columns),
    }
    attending = [place.config for place in model.places if place.config.stage.kind == ATTENTION]
    if attending:
        # The machine adds halves of each band's scores, rounded up.
        weights = [
            (place.config.head_dim, golden.constants[f"{place.name}.attention.score_weight"])
            for place in model.places
            if place.config.stage.kind == ATTENTION
        ]
        scores = [int(((value * channels + 1) // 2).sum()) for channels, value in weights]
        local = model.theta**2 << ((1 << w.local_shift) - 1) if model.diba else 0
        keys = max(config.tokens for config in attending)
        needs |= {
            "tokens of an attention": (keys, machine.keys),
            "taps a side of the local convolution": (model.theta if model.diba else 1, machine.theta),
            "half of a score's largest value": (max(scores), limit),
            "the score's shift": (max(config.score_shift for config in attending), SHIFTS[1]),
        }
        sums = [2 * keys + local]
    else:
        sums = [0]
    for place in model.places:
        if place.config.stage.feed_forward == MLP:
            needs["repeats of the MLP"] = (model.mlp_ratio, MOST_REPEATS)
            sums.append(model.mlp_ratio * place.config.dim)
        if place.merged:
            sums.append(4 * place.merged.dim)
            check_merge(place.merged.dim, place.config.dim, model.name, machine)
    if model.segmentation:
        sums.append(model.stages[-1].dim)
        needs["classes, of a segmentation network,"] = (len(model.classes), machine.lanes)
        needs["words of answers"] = (answers.words(model, whole=False), machine.answers)
    needs["signs of a sum"] = (max(sums), limit)
    excess = [f"{name} {has}, {most} at most" for name, (has, most) in needs.items() if has > most]
    if excess:
        raise DoesNotFit(f"{model.name} is too large for {machine.name}: {'; '.join(excess)}")
    finest = min((config.score_shift for config in attending), default=SHIFTS[0])
    if finest < SHIFTS[0]:
        shift = f"the score's shift {finest}, {SHIFTS[0]} at least"
        raise DoesNotFit(f"{model.name} is too fine for {machine.name}: {shift}")


def check_merge(inputs: int, outputs: int, name: str, machine: AcceleratorConfig) -> None:
    """Raise `DoesNotFit` for a merge of which not all tokens lie in whole tiles, or to fewer channels."""
    if inputs % machine.lanes or outputs % machine.lanes or outputs < inputs:
        raise DoesNotFit(
            f"{name}: {machine.name} merges multiples of {machine.lanes} channels, its lanes, into as many "
            f"or more, not {inputs} into {outputs}"
        )


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
