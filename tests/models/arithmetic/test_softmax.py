import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from haarlequin.models import arithmetic
from tests.models.arithmetic import reference
from tests.models.arithmetic.strategies import bits, integers, matrix, row, signed, signs, unsigned


@given(st.integers(1, 256), st.integers(4, 12), st.floats(2**-12, 1))
def test_exp_table_is_the_rounded_exponential(entries, bits, step):
    table = arithmetic.exp_table(entries, bits, step)
    assert table == reference.exp_table(entries, bits, step)


def test_exp_table_of_the_default_widths():
    table = arithmetic.exp_table(64, 8, 0.125)
    assert len(table) == 64
    assert table[:4] == [255, 225, 199, 175]
    assert table[-1] == 0
    assert table == sorted(table, reverse=True)


@given(st.data(), *[st.integers(1, 3)] * 3)
def test_split_heads_cuts_the_channels_into_runs(data, tokens, heads, d):
    x = [data.draw(matrix(tokens, heads * d, signed(8))) for _ in range(2)]
    result = arithmetic.split_heads(torch.tensor(x), heads)
    assert result.tolist() == [reference.split_heads(image, heads) for image in x]


@given(st.data(), st.integers(1, 5), st.integers(1, 3), st.sampled_from((1, 5, 31, 33)), st.integers(1, 2))
def test_scores_are_the_weighted_popcounts_of_the_bands(data, tokens, heads, d, bands):
    drawn = [
        (*(data.draw(matrix(tokens, heads * d, signs)) for _ in range(2)), data.draw(unsigned(8)))
        for _ in range(bands)
    ]
    result = arithmetic.scores([(torch.tensor([q, q]), torch.tensor([k, k]), w) for q, k, w in drawn], heads)
    assert result.tolist() == [reference.scores(drawn, heads)] * 2


def test_scores_at_their_largest():
    ones = torch.ones(1, 192, dtype=torch.int64)
    assert arithmetic.scores([(ones, ones, 4095), (ones, -ones, 0)], 1).tolist() == [[[4095 * 192]]]
    assert (
        arithmetic.scores([(ones, -ones, 255), (-ones, ones, 255)], 3).flatten().tolist() == [-510 * 64] * 3
    )


@given(st.data(), st.integers(1, 7), st.integers(1, 3), st.integers(0, 9), st.integers(4, 16))
def test_binarise_softmax_is_the_softmax_rule(data, tokens, heads, shift, fraction):
    scores = [data.draw(matrix(tokens, tokens, signed(10))) for _ in range(heads)]
    table = sorted(data.draw(row(data.draw(st.integers(1, 16)), unsigned(8))), reverse=True)
    threshold = data.draw(row(heads, integers(1, 2**fraction - 1)))
    result = arithmetic.binarise_softmax(
        torch.tensor([scores, scores]), table, shift, torch.tensor(threshold), fraction
    )
    assert (
        result.tolist()
        == [
            [
                [reference.softmax_bits(query, table, shift, threshold[h], fraction) for query in queries]
                for h, queries in enumerate(scores)
            ]
        ]
        * 2
    )


def _row(scores, threshold, table=(8, 4, 2, 1), shift=0, fraction=4):
    """Â of one query's scores; keys that the row lacks to a square repeat the row."""
    square = torch.tensor([[scores] * len(scores)])
    bits = arithmetic.binarise_softmax(square, table, shift, torch.tensor([threshold]), fraction)
    return bits[0, 0].tolist()


@pytest.mark.parametrize(
    ("scores", "arguments", "expected"),
    [
        # e = 4, 8, 4: τ·Σ = 4·16 = 4 << 4, exactly at the threshold; one more in τ and they drop out
        ([5, 6, 5], {"threshold": 4}, [1, 1, 1]),
        ([5, 6, 5], {"threshold": 5}, [0, 1, 0]),
        ([5, 6, 5], {"threshold": 8}, [0, 1, 0]),
        ([5, 6, 5], {"threshold": 9}, [0, 0, 0]),
        # 8 << 4 = 128: one below τ·Σ = 3·43, and one above 1·127
        ([1, 0], {"threshold": 3, "table": (35, 8)}, [1, 0]),
        ([1, 0], {"threshold": 1, "table": (119, 8)}, [1, 1]),
        # one token attends to itself at any threshold below 1
        ([-7], {"threshold": 15}, [1]),
        # beyond the table its last entry counts, the entry before it one sooner
        ([9, 6, -100], {"threshold": 1}, [1, 1, 1]),
        ([9, 6, -100], {"threshold": 2}, [1, 0, 0]),
        ([9, 7, -100], {"threshold": 2}, [1, 1, 0]),
        # the distance is floored by its shift
        ([8, 7, 5], {"threshold": 6, "shift": 1}, [1, 1, 0]),
        ([8, 6, 5], {"threshold": 6, "shift": 1}, [1, 0, 0]),
        # entries of 0 stay below every threshold, but not below none
        ([3, 0], {"threshold": 1, "table": (8, 4, 2, 0)}, [1, 0]),
        ([3, 0], {"threshold": 1, "table": (0,)}, [1, 1]),
    ],
)
def test_binarise_softmax_at_its_corners(scores, arguments, expected):
    assert _row(scores, **arguments) == expected


def test_the_threshold_is_per_head():
    scores = torch.tensor([[0, 1], [1, 0]]).expand(2, 2, 2)
    result = arithmetic.binarise_softmax(scores, [2, 1], 0, torch.tensor([5, 6]), 4)
    assert result.tolist() == [[[1, 1], [1, 1]], [[0, 1], [1, 0]]]


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_the_compare_passes_32_bits_and_the_dtype_stays_that_of_the_scores(dtype):
    tokens = 196
    scores = torch.zeros(1, tokens, tokens, dtype=dtype)
    table = [4095, 0]
    for threshold, expected in ((2**16 // tokens, 1), (2**16 // tokens + 1, 0)):
        taus = torch.tensor([threshold], dtype=torch.int32)
        result = arithmetic.binarise_softmax(scores, table, 0, taus, 16)
        assert result.dtype == dtype
        assert (result == expected).all()


@settings(max_examples=50)
@given(st.data(), st.integers(1, 5), st.integers(1, 2), st.integers(0, 9), st.integers(4, 16))
def test_keys_that_are_not_allowed_are_as_if_they_were_not_there(data, tokens, heads, shift, fraction):
    """Each window has a mask of its own, which its heads share. A token may always attend to itself."""
    scores = [[data.draw(matrix(tokens, tokens, signed(20))) for _ in range(heads)] for _ in range(2)]
    allowed = [data.draw(matrix(tokens, tokens, bits)) for _ in range(2)]
    for mask in allowed:
        for i in range(tokens):
            mask[i][i] = 1
    table = [255, *sorted(data.draw(row(data.draw(st.integers(0, 7)), unsigned(8))), reverse=True)]
    threshold = data.draw(row(heads, integers(1, 2**fraction - 1)))
    masks = torch.tensor(allowed)[:, None]
    result = arithmetic.binarise_softmax(
        torch.tensor(scores), table, shift, torch.tensor(threshold), fraction, masks
    )
    assert result.tolist() == [
        [
            [
                reference.softmax_bits(query, table, shift, threshold[h], fraction, kept)
                for query, kept in zip(queries, mask, strict=True)
            ]
            for h, queries in enumerate(image)
        ]
        for image, mask in zip(scores, allowed, strict=True)
    ]


def test_a_mask_of_ones_changes_nothing():
    scores = torch.randint(-500, 500, (2, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    arguments = scores, [255, 100, 20, 3], 4, torch.tensor([900, 9000, 30000]), 16
    masked = arithmetic.binarise_softmax(*arguments, torch.ones(2, 1, 5, 5, dtype=torch.int64))
    assert torch.equal(masked, arithmetic.binarise_softmax(*arguments))
    assert 0 < masked.sum() < masked.numel()


@pytest.mark.parametrize("threshold", [1, 15])
def test_the_largest_scores_there_can_be_do_not_count_where_they_are_not_allowed(threshold):
    largest = 2 * 4095 * 16384
    scores = torch.tensor([[[[-largest, largest], [largest, -largest]]]], dtype=torch.int32)
    allowed = torch.eye(2, dtype=torch.int32)[None, None]
    result = arithmetic.binarise_softmax(scores, [255, 0], 0, torch.tensor([threshold]), 4, allowed)
    assert result.dtype == torch.int32
    assert result.tolist() == [[[[1, 0], [0, 1]]]]
