"""Bit widths of the integer arithmetic: `Widths`, which checks its values."""

from dataclasses import dataclass

from haarlequin.models.common.errors import ConfigError
from haarlequin.models.stages import is_integer, is_real

INT8_UNIT = 2.0**-7
"""Real value of one step of an 8-bit weight."""


@dataclass(frozen=True)
class Widths:
    """Bit widths and fixed points of the integer arithmetic (docs/arithmetic.md).

    Each tensor has its own shift. It is chosen when the model enters deploy mode, within the window
    (low, high) that is given here. The windows of the lanes, `affine_shift` and `slope_shift`, keep the width
    of a multiplier or slope plus high − low within 16 bits: the machine can then shift such a constant once,
    when it loads it, instead of shifting every product.
    """

    wide: int = 12
    """Width of the wide tensors: x, x_lo, x_hi, V', ctx, u and the positions."""
    fraction: int = 8
    """Fraction bits of every wide tensor, and of every constant that is added to one."""
    multiplier: int = 10
    """Width of a_c in the affines of the lanes, of the embedding and of the head."""
    bias: int = 14
    """Width of b_c in an affine, with m1 or the move of the output folded in."""
    affine_shift: tuple[int, int] = (2, 8)
    slope: int = 6
    """Width of IRPReLU's slopes, with the LayerScale folded in."""
    slope_shift: tuple[int, int] = (2, 10)
    offset: int = 9
    """Width of m2_c, of t_n and of the moves before a sign."""
    score_weight: int = 6
    """Width of w_lo and w_hi, unsigned."""
    exp_index: int = 6
    """The EXP table has 2^exp_index entries."""
    exp: int = 8
    """Width of an entry of the EXP table, unsigned."""
    exp_step: float = 0.125
    """Entry k of the EXP table stands for exp(−k·exp_step)."""
    threshold: int = 16
    """Width of τ_h, unsigned; all its bits are fraction bits."""
    local_shift: int = 2
    """Width of s_c, unsigned: the scale of the local convolution is 2^s_c."""
    embedding_acc: int = 16
    """Width of the embedding's accumulator after its shift."""
    embedding_shift: tuple[int, int] = (4, 20)
    head_shift: tuple[int, int] = (4, 20)
    feature_fraction: int = 4
    """Fraction bits of the 8-bit features before the classifier."""

    def __post_init__(self):
        if not is_integer(self.wide, 12, 16):
            raise ConfigError(f"wide must be 12 to 16 bits, not {self.wide!r}")
        if not is_integer(self.fraction, 0, self.wide - 1):
            raise ConfigError(f"fraction must be 0 to {self.wide - 1} bits, not {self.fraction!r}")
        # The machine's registers and tables have room for these widths; at most 16 bits reach a multiplier.
        limits = {"multiplier": (2, 12), "bias": (2, 20), "slope": (3, 8), "offset": (2, self.wide)}
        limits |= {"score_weight": (2, 12), "exp_index": (2, 8), "exp": (4, 12), "threshold": (4, 16)}
        limits |= {"local_shift": (1, 3), "embedding_acc": (8, 18), "feature_fraction": (0, 7)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not is_integer(value, low, high):
                raise ConfigError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        for name in ("affine_shift", "slope_shift", "embedding_shift", "head_shift"):
            window = getattr(self, name)
            pair = type(window) is tuple and len(window) == 2 and all(is_integer(v, 0, 24) for v in window)
            if not (pair and window[0] <= window[1]):
                raise ConfigError(f"{name} must be a window within 0 to 24, not {window!r}")
        if not (is_real(self.exp_step, 0, 1) and self.exp_step > 0):
            raise ConfigError(f"exp_step must lie in (0, 1], not {self.exp_step!r}")
        object.__setattr__(self, "exp_step", float(self.exp_step))

    @property
    def score_limit(self) -> int:
        """The largest score weight."""
        return (1 << self.score_weight) - 1
