import pytest

from haarlequin.hw.link.ethernet.datagrams import FROM_BOARD, TO_BOARD, pieces

SIZES = [
    (0, []),
    (1, [1]),
    (256, [256]),
    (257, [256, 1]),
    (1792, [256, 512, 1024]),
    (4000, [256, 512, 1024, 1024, 1024, 160]),
]


@pytest.mark.parametrize(("count", "sizes"), SIZES)
def test_pieces_grow_up_to_what_a_datagram_may_have(count, sizes):
    data = bytes(i % 251 for i in range(count))
    found = list(pieces(data))
    assert [len(piece) for piece in found] == sizes
    assert b"".join(found) == data


def test_headers_have_their_highest_byte_first():
    assert TO_BOARD.pack(0x0102, 0x0304) == bytes([1, 2, 3, 4])
    assert FROM_BOARD.pack(0x0102, 0x0304, 0x0506) == bytes([1, 2, 3, 4, 5, 6])
