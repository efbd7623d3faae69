import pytest

from haarlequin.hw.link.ethernet.matcher import Matcher
from tests.hw.bench import simulate

WANTED = {0: 0x12, 3: (0x40, 0xF0), 5: 0x00}


def matches(frames, pause=0):
    """Whether each of the frames matches, three cycles after its last byte."""
    dut, found = Matcher(WANTED), []

    async def testbench(context):
        for frame in frames:
            for at, byte in enumerate(frame):
                context.set(dut.begin, at == 0)
                context.set(dut.at, min(at, Matcher.LIMIT))
                context.set(dut.data, byte)
                context.set(dut.strobe, 1)
                await context.tick()
                context.set(dut.strobe, 0)
                context.set(dut.begin, 0)
                await context.tick().repeat(pause) if pause else None
            await context.tick().repeat(2)
            found.append(bool(context.get(dut.matches)))
            context.set(dut.begin, 1)
            await context.tick()

    simulate(dut, testbench)
    return found


RIGHT = bytes([0x12, 7, 8, 0x4F, 9, 0])


@pytest.mark.parametrize("pause", [0, 2])
def test_each_byte_counts_and_no_other_one(pause):
    frames = [RIGHT, RIGHT[:5] + b"\1", RIGHT, RIGHT[:3] + b"\x50" + RIGHT[4:], b"\x13" + RIGHT[1:], RIGHT]
    assert matches(frames, pause) == [True, False, True, False, False, True]


def test_places_after_the_limit_do_not_matter():
    assert matches([RIGHT + bytes(range(200)), RIGHT]) == [True, True]


def test_a_place_that_is_not_told_apart():
    with pytest.raises(ValueError, match=r"^places must be below 63, not \[63\]$"):
        Matcher({63: 1})
