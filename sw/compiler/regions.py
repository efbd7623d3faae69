"""Where the tensors of a stage lie in the sign memories and in bank A."""

from dataclasses import dataclass

import numpy as np

from haarlequin.hw.codes import SignMemory


@dataclass(frozen=True)
class Signs:
    """The signs of a tensor for the operation that reads them: where they lie, and how.

    Word k of token m is at base + k·N + m. With ``pairs`` a copy for sign memory 1 is in the upper half of
    its words. With ``window`` the word of a token has the signs of its left neighbour, its own and those of
    its right one, in so many chunks each. With ``merged`` it has those of 2×2 tokens of a larger grid.
    """

    name: str
    """The operation that reads them."""
    move: np.ndarray
    memory: SignMemory
    base: int
    pairs: bool = False
    window: int = 0
    merged: "Merged | None" = None


@dataclass(frozen=True)
class Merged:
    """Where a merge of 2×2 tokens puts its inputs, as the passes that make them say."""

    tokens: int
    """N of the merged tokens."""
    place: dict[str, int]
    """The fields that say how far words and chunks are moved for odd rows and odd columns."""
    span: int
    """Tiles of x in bank A that come of each tile: of the four tokens, or of sums over two rows."""
    x: dict[str, int] | None
    """The fields by which the same passes put x there; None where that takes passes of its own."""


@dataclass(frozen=True)
class Window:
    """Tokens that are an image of their own for attention: a window of the grid, or all of it."""

    number: int
    tokens: np.ndarray
    """The numbers of its tokens on the whole grid."""
    jump: int
    """How many tokens of the grid are between the last token of one of its rows and the first of the next."""

    @property
    def first(self) -> int:
        """The number of its first token on the whole grid."""
        return int(self.tokens[0])


@dataclass(frozen=True)
class Regions:
    """The addresses of tensors of an attention; a tensor takes the place of one that is no longer used.

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
    taps: int
    """In sign memory 0, and in 1 where they are pairs: signs for the convolution of the feed-forward part."""
    value_in: int
    """In sign memory 1: signs for the values; they are needed longer than queries and keys."""
    v: int
    """In sign memory 1: V."""
    x_signs: int
    """In sign memory 1: signs for expand."""
    low: int
    """In bank A: lo, then the scores."""
    high: int
    """In bank A: hi, then V', then the context."""
    partial: int
    """Partial sums, as `Tiling.partial_sums` has them."""
    context_partial: int
    """Partial sums of the context, kept while values are computed between its steps."""
