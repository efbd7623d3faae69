import pytest

from haarlequin.hw.common.ram_sizes import (
    BANK_SPARE,
    block_rams,
    parts,
    rams,
    slice_bits,
    slices,
    table_block_rams,
)
from haarlequin.hw.families.ecp5 import ECP5
from haarlequin.hw.families.family import RamShape


@pytest.mark.parametrize(
    ("width", "depth", "saved"),
    [(128, 12_800, 10), (128, 12_288, 0), (54, 2560, 1), (64, 3072, 0), (36, 2560, 0), (64, 4096, 0)],
)
def test_a_row_of_its_own_for_the_last_words(width, depth, saved):
    """Every bit of every word is in one part; the second row saves block RAMs, or there is none."""
    made, whole = parts(width, depth), slices(width, depth)
    assert sum(len(words) * (bits.stop - bits.start) for words, bits in made) == width * depth
    before = sum(block_rams(ECP5, bits.stop - bits.start, depth) for bits in whole)
    assert before - table_block_rams(ECP5, width, depth) == saved
    assert (len({words for words, _ in made}) > 1) == (saved > 0)


@pytest.mark.parametrize(
    ("width", "depth", "bits"),
    [(128, 12_800, 9), (54, 12_288, 9), (64, 3072, 18), (36, 2560, 36), (36, 2048, 9), (12, 8192, 9)],
)
def test_slices_are_as_deep_as_costs_few_block_rams(width, depth, bits):
    assert slice_bits(width, depth) == bits


def test_a_bank_is_rather_of_deep_ones():
    assert (slice_bits(96, 1536), slice_bits(96, 1536, BANK_SPARE)) == (36, 9)


def test_every_read_port_takes_block_rams_of_its_own():
    assert [block_rams(ECP5, 36, 2048), block_rams(ECP5, 36, 2048, reads=2)] == [4, 8]
    assert block_rams(ECP5, 8, 128, reads=2) == 0


@pytest.mark.parametrize(
    ("width", "written", "count"), [(10, 4, 3), (20, 10, 4), (9, None, 1), (10, None, 2), (8, 4, 2)]
)
def test_rams_of_words_that_are_written_in_parts(width, written, count):
    """Where 9 bits share an enable, each part takes RAMs of its own, the last one too if it is narrower."""
    assert rams(RamShape(2048, 9, enabled=9), width, 2048, written) == count
    assert rams(RamShape(2048, 9, enabled=9), width, 2049, written) == 2 * count


def test_block_rams_of_a_table_are_those_of_its_slices():
    assert table_block_rams(ECP5, 54, 12_288) == 6 * 6  # of 2048 × 9
    assert table_block_rams(ECP5, 50, 3000) == 3 * 3  # of 1024 × 18
    assert table_block_rams(ECP5, 43, 64) == 0
