"""The data that lowering makes: passes, what each needs loaded, and what the machine's trace shows of it."""

from dataclasses import dataclass, field

from haarlequin.hw.config import AcceleratorConfig
from haarlequin.models.golden import GoldenModel
from haarlequin.sw.compiler.regions import Window
from haarlequin.sw.compiler.tables import Tables


@dataclass(frozen=True)
class Result:
    """A tile of a tensor of the golden model, which the machine's trace shows of a pass, for all tokens.

    Members:
        port: where the trace shows it: acc, y, stored, bits_0 or bits_1 of the lanes, haar, haar_bits_0 or
            haar_bits_1 of the Haar unit, or attention.
        tensor: its name in the golden model's trace.
        first: its first channel; or key, where the tensor is (heads, N, N).
        channels: how many channels or keys it has.
        phase: the band of the Haar unit, or the tile of a softmax.
        head: the head, where the tensor is (heads, N, N).
        merged: the grid before a merge, where the tensor is (N/4, 4·C) and the pass has N tokens.
        window: the window whose tokens the pass has. A tensor has one for each, or all tokens of the grid.
    """

    port: str
    tensor: str
    first: int
    channels: int
    phase: int = 0
    head: int = 0
    merged: tuple[int, int] | None = None
    window: Window | None = None


@dataclass
class Loads:
    """The things that must be in the lanes before a pass begins."""

    weights: int | None = None
    """Address of the first lane's weights in their table."""
    keys: tuple[int, int, int] | None = None
    """Address of the first lane's key in sign memory 1, and which bits are used: the first, and the one
    after the last. Keys take the place of weights."""
    constants: int | None = None
    """Address of the first lane's constants in their table."""
    moves: int | None = None
    """Address of the first lane's moves in the table of constants, for a tile that the Haar unit splits."""
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


@dataclass
class Uses:
    """How many words of each memory the passes need."""

    signs_0: int = 0
    signs_1: int = 0
    bank_a: int = 0
    bank_c: int = 0
    bank_b: int = 0
    """In each of its two regions, of which an image has one."""
    rows: int = 0

    def grow(self, **words: int) -> None:
        """Let memories have at least so many words."""
        for name, value in words.items():
            setattr(self, name, max(getattr(self, name), value))


@dataclass
class Lowered:
    """A model's passes and tables."""

    model: GoldenModel
    machine: AcceleratorConfig
    passes: list[Pass]
    tables: Tables
    uses: Uses
