"""What lowering makes: passes, what each needs loaded, and what the machine's trace shows of it."""

from dataclasses import dataclass, field

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.tables import Tables


@dataclass(frozen=True)
class Result:
    """What the machine's trace shows of a pass: a tile of a tensor of the golden model, for all tokens.

    ``port`` is the trace's: acc, y, stored, bits_0, bits_1 or attention; ``phase`` that of a Haar pass, or
    a softmax's tile.
    ``tile`` counts lanes' worths of channels, or keys where the tensor is (heads, N, N) and ``head`` given.
    """

    port: str
    tensor: str
    tile: int = 0
    phase: int = 0
    head: int = 0
    repeat: int = 0


@dataclass
class Loads:
    """What a pass needs in the lanes before it begins: addresses in the tables, or the first word of keys."""

    weights: int | None = None
    keys: int | None = None
    constants: int | None = None
    moves: bool = False
    same: bool = False
    local: int | None = None
    shifts: tuple[int, int] = (0, 0)
    """By which constants are shifted left: the affine's and the slopes'."""


@dataclass
class Pass:
    """One word of the program to be: its ``fields`` that are not 0, and what it needs loaded."""

    name: str
    fields: dict[str, int]
    needs: Loads | None = None
    results: list[Result] = field(default_factory=list)

    def __getitem__(self, name: str) -> int:
        return self.fields.get(name, 0)


@dataclass(frozen=True)
class Regions:
    """Where tensors lie, as addresses of words; a tensor takes the place of one that is used no more.

    Sign memories hold word k of a tensor's tokens at base + k·N, banks tile t at base + t·N.
    """

    inputs: int
    """Signs of the bands that Q (in sign memory 0) and K (in 1) are made from."""
    projected: int
    """Queries in 0, keys in 1."""
    attention: int
    """In 0: Â."""
    context: int
    """In 0: signs for the output projection."""
    u: int
    """In 0."""
    value_in: int
    """In 1: signs for the values; they outlast Q and K."""
    v: int
    """In 1."""
    x_signs: int
    """In 1: signs for expand."""
    low: int
    """In bank A: lo, then the scores, then the mean of u."""
    high: int
    """In bank A: hi, then V', then the context."""
    partial: int
    """In bank A; those of reduce lie in the context's place."""
    context_partial: int
    """In bank A: where values are computed again between a context's steps."""
    signs_0: int
    signs_1: int
    """Words that each sign memory must have."""
    bank_a: int
    """Words that bank A must have."""


@dataclass
class Lowered:
    """A model's passes and tables."""

    model: GoldenModel
    machine: AcceleratorConfig
    passes: list[Pass]
    tables: Tables
    regions: Regions
