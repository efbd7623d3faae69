import random

from hypothesis import given
from hypothesis import strategies as st

from haarlequin.hw.link.ethernet.checksum import InternetSum, checksum
from haarlequin.sim.ethernet.packets import sum16
from tests.hw.bench import simulate


def test_the_example_of_the_rfc():
    """RFC 1071, section 3."""
    assert checksum(bytes.fromhex("0001 f203 f4f5 f6f7")) == ~0xDDF2 & 0xFFFF


@given(st.binary(min_size=1, max_size=40))
def test_both_of_the_project_agree(data):
    """The one of the simulated network was written by itself."""
    assert checksum(data) == sum16(data)


def test_sums_with_carries_and_pauses():
    dice = random.Random(1)
    lists = [[dice.choice((0xFFFF, 0, dice.randrange(1 << 16))) for _ in range(10)] for _ in range(60)]
    dut = InternetSum()

    async def testbench(context):
        for words in lists:
            context.set(dut.begin, 1)
            await context.tick()
            context.set(dut.begin, 0)
            for word in words:
                context.set(dut.word, word)
                context.set(dut.add, 1)
                await context.tick()
                context.set(dut.add, 0)
                if dice.random() < 0.3:
                    await context.tick()
            await context.tick().repeat(2)
            data = b"".join(word.to_bytes(2, "big") for word in words)
            assert context.get(dut.total) == ~checksum(data) & 0xFFFF

    simulate(dut, testbench)
