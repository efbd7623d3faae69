import random

import pytest

from haarlequin.hw.link.stuffing import ESCAPE, FLAG, Unstuffing, stuffed

SPECIAL = FLAG, ESCAPE, FLAG ^ 0x20, ESCAPE ^ 0x20


def said(seed, length=400):
    """Random bytes, half of which are special or look like the second one of two."""
    dice = random.Random(seed)
    return bytes(dice.choice((*SPECIAL, *(dice.randrange(256) for _ in SPECIAL))) for _ in range(length))


def test_what_rfc_1662_says():
    assert stuffed(bytes([0x7E, 0x00, 0x7D, 0x5E, 0x11])) == bytes([0x7D, 0x5E, 0x00, 0x7D, 0x5D, 0x5E, 0x11])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_said_comes_out_again(seed):
    """However the line is cut, and however much silence there is between any two of its bytes."""
    dice, data = random.Random(seed), said(seed)
    line, came, receiver = stuffed(data), b"", Unstuffing()
    assert FLAG not in line
    line = b"".join(bytes([byte]) + bytes([FLAG]) * dice.choice((0, 0, 1, 5)) for byte in line)
    while line:
        size = dice.randint(1, 9)
        came += receiver.feed(line[:size])
        line = line[size:]
    assert came == data
