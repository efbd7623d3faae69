"""What hypothesis draws for the arithmetic: integers that favour their edges, and lists of them."""

from hypothesis import strategies as st


def integers(low: int, high: int) -> st.SearchStrategy[int]:
    """low to high, every second one at an edge or around zero."""
    edges = {v for v in (low, low + 1, -1, 0, 1, high - 1, high) if low <= v <= high}
    return st.one_of(st.sampled_from(sorted(edges)), st.integers(low, high))


def signed(bits: int) -> st.SearchStrategy[int]:
    """Two's complement of that many bits."""
    return integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    """0 to 2^bits − 1."""
    return integers(0, 2**bits - 1)


signs = st.sampled_from((-1, 1))
bits = st.sampled_from((0, 1))
grids = st.tuples(st.integers(1, 5), st.integers(1, 5))
thetas = st.sampled_from((1, 3, 5))


def row(length: int, elements: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    return st.lists(elements, min_size=length, max_size=length)


def matrix(rows: int, columns: int, elements: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[int]]]:
    return row(rows, row(columns, elements))
