"""Networks whose cycles are known from the prototype of the next machine's compiler, and block RAMs from the
notes of the issue "networks worth running".
"""

from typing import NamedTuple

from haarlequin.models.config import ModelConfig
from haarlequin.models.presets import preset


class Row(NamedTuple):
    """A network on a machine: cycles of the array, and block RAMs where the notes have them."""

    machine: str
    stages: str
    cycles: int
    block_rams: int | None = None


ROWS = (
    Row("32x128", "/2 c32x4 a128x5", 26_967, 162),
    Row("32x128", "/2 c32x4 t128x5", 25_491),
    Row("32x128", "/2 c32x4 a128x5h4", 28_247, 174),
    Row("32x128", "/2 c64x4 a128x4", 30_107, 170),
    Row("32x192", "/2 c64x4 a128x4", 22_970, 177),
    Row("32x192", "/2 c32x4 a128x5", 23_139),
    Row("8x64", "/2 c32x4 a64x3", 52_407, 72),
    Row("8x96", "/2 c32x4 a64x3", 39_663, 78),
    Row("8x128", "/2 c32x4 a64x3", 37_636),
    Row("8x64", "/1 c16x2 c32x4 a64x3", 67_779, 101),
    Row("16x64", "/2 c32x4 a64x3", 26_268),
    Row("16x96", "/2 c32x4 a64x3", 19_896),
    Row("32x128", "p4 t128x7", 30_611),
    Row("64x128", "p4 t128x7", 15_824),
    Row("8x64", "p4 t64x3", 28_623, 67),
    # These were run for this test alone, by the same prototype.
    Row("16x128", "p4 t128x7", 59_133),
    Row("32x128", "/2 c32x3 a64x2h2", 7_157),
    Row("32x128", "/2 c32x3 a64x2h1", 6_901),
    Row("16x128", "/2 c16x4 a64x3", 15_523),
    Row("8x64", "/2 c16x4 a64x3", 37_037),
    Row("32x256", "/2 c64x3 a128x2", 13_080),
    Row("32x256", "/2 c64x3 t128x2", 13_786),
    Row("64x128", "/2 c64x3 a128x2", 9_392),
)


def network(stages: str, **changes: object) -> ModelConfig:
    """Stages with the images and classes of CIFAR-10."""
    return preset("cifar10-tiny").with_(name="stages", stages=stages, **changes)
