"""The data that lowering makes: passes, what each needs loaded, and what the machine's trace shows of it."""

from dataclasses import dataclass, field

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.tables import Tables


@dataclass(frozen=True)
class Result:
    """A tile of a tensor of the golden model, which the machine's trace shows of a pass, for all tokens.

    Members:
        port: where the trace shows it: acc, y, stored, bits_0, bits_1 or attention.
        tensor: its name in the golden model's trace.
        tile: number of the tile of channels; of keys, where the tensor is (heads, N, N).
        phase: the phase of a Haar pass, or the tile of a softmax.
        head: the head, where the tensor is (heads, N, N).
        repeat: which repeat of C channels, where the tensor has r·C channels.
    """

    port: str
    tensor: str
    tile: int = 0
    phase: int = 0
    head: int = 0
    repeat: int = 0


@dataclass
class Loads:
    """The things that must be in the lanes before a pass begins."""

    weights: int | None = None
    """Address of the first lane's weights in their table."""
    keys: int | None = None
    """Address of the first lane's key in sign memory 1; keys take the place of weights."""
    constants: int | None = None
    """Address of the first lane's constants in their table."""
    moves: bool = False
    """Whether these constants are the moves of a Haar pass."""
    same: bool = False
    """Whether all lanes get the same constants."""
    local: int | None = None
    """Address of the first lane's local weights in their table."""
    shifts: tuple[int, int] = (0, 0)
    """By how many bits constants are shifted left as they load: those of the affine, and the slopes."""


@dataclass
class Pass:
    """One pass: its ``fields`` that are not 0, what it ``needs`` loaded, and which ``results`` it shows."""

    name: str
    fields: dict[str, int]
    needs: Loads | None = None
    results: list[Result] = field(default_factory=list)

    def __getitem__(self, name: str) -> int:
        return self.fields.get(name, 0)


@dataclass(frozen=True)
class Regions:
    """The addresses of tensors; a tensor takes the place of one that is no longer used.

    A sign memory has word k of a tensor's tokens at base + k·N. A bank has tile t at base + t·N.
    """

    inputs: int
    """In both sign memories: signs of the bands; in 0 those for the queries, in 1 those for the keys."""
    projected: int
    """In sign memory 0 the queries, in 1 the keys."""
    attention: int
    """In sign memory 0: Â."""
    context: int
    """In sign memory 0: signs for the output projection."""
    u: int
    """In sign memory 0: signs of u."""
    value_in: int
    """In sign memory 1: signs for the values; they are needed longer than queries and keys."""
    v: int
    """In sign memory 1: V."""
    x_signs: int
    """In sign memory 1: signs for expand."""
    low: int
    """In bank A: lo, then the scores, then the mean of u."""
    high: int
    """In bank A: hi, then V', then the context."""
    partial: int
    """In bank A: partial sums; those of reduce lie in the context's place."""
    context_partial: int
    """In bank A: partial sums of the context, kept while values are computed between its steps."""
    signs_0: int
    """How many words sign memory 0 must have."""
    signs_1: int
    """How many words sign memory 1 must have."""
    bank_a: int
    """How many words bank A must have."""


@dataclass
class Lowered:
    """A model's passes and tables."""

    model: GoldenModel
    machine: AcceleratorConfig
    passes: list[Pass]
    tables: Tables
    regions: Regions
