import random
import struct
import zlib

import pytest

from haarlequin.hw.link.ethernet.mac_receive import MacReceiver
from haarlequin.sim.ethernet.packets import PREAMBLE, line
from tests.hw.bench import simulate


def received(*lines, gap=12, error=None):
    """For each frame that ended: its bytes, with the check sequence, and whether it was intact."""
    dut, came = MacReceiver(), []

    async def testbench(context):
        data = bytearray()

        async def tick():
            await context.tick()
            if context.get(dut.strobe):
                data.append(context.get(dut.data))
            if context.get(dut.ended):
                came.append((bytes(data), bool(context.get(dut.intact))))
                data.clear()

        for raw in lines:
            for at, byte in enumerate(raw):
                context.set(dut.line.data, byte)
                context.set(dut.line.valid, 1)
                context.set(dut.line.error, at == error)
                await tick()
            context.set(dut.line.valid, 0)
            for _ in range(gap):
                await tick()
        for _ in range(8):
            await tick()

    simulate(dut, testbench)
    return came


def frame(size, seed=0):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("gap", [1, 12, 13])
def test_frames_of_all_lengths_one_after_the_other(gap):
    """A gap of one byte is less than any there is."""
    frames = [frame(size, size) for size in (60, 61, 62, 63, 64, 200, 1514, 60)]
    assert received(*map(line, frames), gap=gap) == [(line(each)[8:], True) for each in frames]


@pytest.mark.parametrize("preamble", [0, 1, 6, 20])
def test_preambles_of_other_lengths(preamble):
    raw = line(frame(60))[len(PREAMBLE) :]
    assert received(b"\x55" * preamble + b"\xd5" + raw) == [(raw, True)]


def test_every_flipped_bit_is_noticed_and_the_next_frame_is_not_lost():
    raw, good = line(frame(60)), line(frame(70))
    for at in range(8 * len(PREAMBLE), 8 * len(raw), 11):
        bad = bytearray(raw)
        bad[at // 8] ^= 1 << at % 8
        assert [intact for _, intact in received(bytes(bad), good)] == [False, True]


def test_frames_that_are_too_short_or_too_long():
    short, long = line(bytes(60)), line(frame(1514))
    assert [intact for _, intact in received(short[:-1], short)] == [False, True]
    for size in (1515, 1600, 3000):
        assert [intact for _, intact in received(line(frame(size)), long)] == [False, True]
    cut = line(bytes(59))  # filled up, so it is whole
    assert received(cut)[0][1]
    runt = PREAMBLE + cut[len(PREAMBLE) : -5]
    assert not received(runt)[0][1]


def test_a_short_frame_with_a_right_check_sequence_is_none():
    body = frame(40)
    assert received(PREAMBLE + body + struct.pack("<I", zlib.crc32(body)))[0][1] is False


def test_what_the_phy_marks_is_not_intact():
    raw = line(frame(60))
    for at in (8, 40, len(raw) - 1):
        assert [intact for _, intact in received(raw, error=at)] == [False]
    assert [intact for _, intact in received(raw, error=3)] == [True]  # of the preamble


def test_bytes_without_a_preamble_are_no_frame():
    assert received(b"\x50" + line(frame(60)), b"\x55" * 5, line(frame(60))) == [(line(frame(60))[8:], True)]
