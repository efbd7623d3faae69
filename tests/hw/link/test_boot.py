import random
from collections import deque
from dataclasses import replace

import pytest
from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import wiring

from haarlequin.hw.link.boot import READ, RELEASE, FlashBoot
from haarlequin.hw.link.link import Link
from haarlequin.hw.link.protocol import Decoder, ErrorCode, Frame, FrameType, encode
from haarlequin.sw.boot_image import boot_image, identity_crc
from haarlequin.sw.table_folder import Compiled
from tests.hw.bench import simulate
from tests.hw.link.test_link import IDENTITY, NARROW, READ_LATENCY, WIDE, Bench, error, golden, image

pytestmark = pytest.mark.slow

SLOW = replace(IDENTITY, clock_hz=1_000_000)
"""So that 30 µs are 30 cycles."""
WAKE = 30
ADDRESS = 0x0A5C31
NARROW_WORDS = [i * 7 % 32 for i in range(8)]
WIDE_WORDS = [0x123456789ABCDEF0]
TABLES = {"narrow": NARROW_WORDS, "wide": WIDE_WORDS}
IMAGE = boot_image(Compiled(None, "", SLOW.config_hash, SLOW.memories, TABLES, 0, {}))
FIRST = 7
"""Where the frames begin: two LOADs and a SEAL."""
SECOND = FIRST + 12 + 8 + 2
SEAL = len(IMAGE) - 12


def image_of(frames):
    frames = b"".join(encode(frame) for frame in frames)
    return identity_crc(SLOW).to_bytes(4, "little") + len(frames).to_bytes(3, "little") + frames


def flip(content, place, bits=1):
    return content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]


class Flash:
    """A SPI flash in power-down, erased but for ``content``; what it says comes ``delay`` cycles late.

    In mode 0: it takes a bit as the clock rises and shows the next one as it falls.
    """

    def __init__(self, content, delay=0):
        self.content, self.generator = content, random.Random(1)
        self.commands, self.gaps, self.cycle, self.ready = [], set(), 0, None
        self.cs = self.clk = self.copi = self.torn = 0
        self.bits, self.out, self.edge = [], deque([1] * (delay + 1)), None
        self.reading = False

    def step(self, cs, clk, copi):
        """The pins in a cycle; what ``cipo`` then is."""
        self.cycle += 1
        level = self.out[-1] if self.reading else self.generator.getrandbits(1)
        if cs != self.cs:
            self.torn += clk or self.clk
            if not cs and self.bits == [RELEASE >> i & 1 for i in reversed(range(8))]:
                self.commands.append("release")
                self.ready = self.ready or self.cycle + WAKE
            self.bits, self.edge, self.reading, self.selected = [], None, False, self.cycle
        elif cs and clk != self.clk:
            if self.edge:
                self.gaps.add(self.cycle - self.edge)
            self.edge = self.cycle
            if clk:
                assert copi == self.copi, "copi moved as the clock rose"
                self.bits.append(copi)
                if len(self.bits) == 32:
                    self.command()
            elif len(self.bits) >= 32:
                level, self.reading = self.bit(len(self.bits) - 32), True
        elif clk:
            assert copi == self.copi, "copi moved while the clock was high"
        assert cs or not clk
        self.cs, self.clk, self.copi = cs, clk, copi
        self.out.append(level)
        self.out.popleft()
        return self.out[0]

    def command(self):
        word = int("".join(map(str, self.bits)), 2)
        assert self.ready is not None, "a flash that sleeps"
        assert self.selected >= self.ready, "a flash that wakes up"
        assert word >> 24 == 0x03
        self.commands.append(word & 0xFFFFFF)

    def bit(self, place):
        at = self.commands[-1] - ADDRESS + place // 8
        byte = self.content[at] if 0 <= at < len(self.content) else 0xFF
        return byte >> 7 - place % 8 & 1


class System(Elaboratable):
    """FlashBoot and a link; for `Bench` a link whose line is the host's."""

    def __init__(self, divider=1, timeout=35):
        self.boot, self.link = FlashBoot(SLOW, ADDRESS, divider), Link(SLOW, "pixels", timeout, READ_LATENCY)
        self.rx, self.tx, self.restart = self.boot.host_rx, self.boot.host_tx, Signal()

    def __getattr__(self, name):
        return getattr(self.link, name)

    def elaborate(self, platform):
        inner, m = Module(), Module()
        inner.submodules.boot, inner.submodules.link = self.boot, self.link
        wiring.connect(inner, self.boot.link_rx, self.link.rx)
        wiring.connect(inner, self.link.tx, self.boot.link_tx)
        m.submodules.inner = ResetInserter(self.restart)(inner)
        return m


class BootBench(Bench):
    """With a flash; ``fed`` are the bytes that the link has taken from it."""

    def __init__(self, context, block, flash, **options):
        super().__init__(context, block, **options)
        self.flash, self.boot, self.fed = flash, block.boot, bytearray()

    async def step(self):
        get, boot = self.context.get, self.boot
        self.context.set(boot.cipo, self.flash.step(get(boot.cs), get(boot.clk), get(boot.copi)))
        if get(boot.busy):
            assert not get(boot.host_rx.ready)
            assert not get(boot.host_tx.valid)
            if get(boot.link_rx.valid) and get(boot.link_rx.ready):
                self.fed.append(get(boot.link_rx.payload))
        await super().step()

    @property
    def booting(self):
        return self.context.get(self.boot.busy)

    @property
    def failed(self):
        return self.context.get(self.boot.failed)

    async def boots(self):
        """Until the host has the link."""
        assert self.booting
        assert not self.failed
        while self.booting:
            await self.step()
        assert not self.context.get(self.boot.cs)
        assert not self.context.get(self.boot.clk)

    async def ready(self):
        """The tables are there and sealed: an image is answered, without a LOAD."""
        assert not self.failed
        assert self.memories[NARROW] == dict(enumerate(NARROW_WORDS))
        assert self.memories[WIDE] == dict(enumerate(WIDE_WORDS))
        await self.infers()

    async def unsealed(self):
        """No image is taken; once the host has loaded tables of its own, everything works."""
        await self.silence()
        before = len(self.images)
        answer = await self.ask(Frame(FrameType.IMAGE, 9, payload=image(self.generator)))
        assert answer == error(ErrorCode.TABLES_DAMAGED, 9)
        assert len(self.images) == before
        await self.works()


def run(script, content, divider=1, delay=0, timeout=35, cycles=30_000, **options):
    """A script against a link that boots."""
    system = System(divider, timeout)

    async def testbench(context):
        await script(BootBench(context, system, Flash(content, delay), **options))

    simulate(system, testbench, cycles)


@pytest.mark.parametrize(("divider", "delay"), [(1, 0), (1, 1), (2, 3), (3, 0), (3, 5)])
def test_an_image_is_answered_without_a_load(divider, delay):
    """However late within a period the flash's bits come."""

    async def script(bench):
        await bench.boots()
        assert bench.fed == IMAGE[FIRST:]
        assert bench.flash.commands == ["release", ADDRESS]
        assert min(bench.flash.gaps) == divider
        assert not bench.flash.torn
        assert bench.sent == b""
        await bench.ready()
        assert await bench.ask(Frame(FrameType.RESET, 3)) == Frame(FrameType.ACK, 3)

    run(script, IMAGE, divider, delay, timeout=16 * divider + 2)


def test_the_time_that_it_takes():
    """Two rests, the wake-up, command, CRC and length, then a byte every 17 cycles, and the last answer;
    whether the host takes anything or not.
    """

    async def script(bench):
        bench.stuck = True
        await bench.boots()
        assert not bench.failed
        spi, states = 2 * (8 + 32 + 8 * FIRST), 4
        frames = (len(IMAGE) - FIRST) * bench.boot.byte_cycles
        assert bench.cycle == 2 * WAKE + spi + states + frames + FlashBoot.ANSWER_CYCLES

    run(script, IMAGE)


def test_a_rest_whose_last_cycle_takes_a_bit_more():
    """The cycles from 0 to 63 have 6 bits; the one of 64 has 7."""
    block, cycles = FlashBoot(replace(SLOW, clock_hz=2_150_000), ADDRESS), 0

    async def testbench(context):
        nonlocal cycles
        while not context.get(block.cs):
            await context.tick()
            cycles += 1

    simulate(block, testbench, cycles=1000)
    assert cycles == block.wake_cycles == 65


@pytest.mark.parametrize("content", [b"", bytes(100), *(flip(IMAGE, place, 0x10) for place in range(4))])
def test_without_an_image_for_it_the_link_is_the_hosts_at_once(content):
    """An erased flash, or the image of another accelerator."""

    async def script(bench):
        await bench.boots()
        assert bench.cycle < 2 * WAKE + 2 * (8 + 32 + 32) + 10
        assert not bench.fed
        assert not bench.failed
        await bench.unsealed()
        assert not bench.failed

    run(script, content)


IN_FRAMES = [*range(FIRST, FIRST + 14, 2), SECOND - 2, *range(SECOND, SECOND + 14, 3), SEAL - 1]
IN_SEAL = range(SEAL, SEAL + 12, 2)


@pytest.mark.parametrize("place", [*IN_FRAMES, *IN_SEAL])
def test_a_damaged_image_fails_and_leaves_the_tables_unsealed(place):
    """Also where the link passes over a frame without a word."""

    async def script(bench):
        await bench.boots()
        assert bench.failed
        await bench.unsealed()
        assert bench.failed

    run(script, flip(IMAGE, place, 0x20))


@pytest.mark.parametrize("length", [0, 1, 5, SECOND - FIRST, SEAL - FIRST, SEAL - FIRST + 11])
def test_an_image_cut_short_fails(length):
    """Also where the last LOAD is acknowledged, and nothing is left out but SEAL."""

    async def script(bench):
        await bench.boots()
        assert bench.failed
        await bench.unsealed()

    run(script, IMAGE[:4] + length.to_bytes(3, "little") + IMAGE[FIRST:])


ACKED = Frame(FrameType.LOAD, 0, WIDE, 0, bytes(8))


@pytest.mark.parametrize(
    "frames",
    [
        [Frame(FrameType.LOAD, 0, WIDE, 7, bytes(8)), Frame(FrameType.SEAL, 1)],
        [ACKED, Frame(FrameType.LOAD, 1, WIDE, 0, bytes(7)), Frame(FrameType.SEAL, 2)],
        [ACKED, Frame(FrameType.LOAD, 2, WIDE, 0, bytes(8)), Frame(FrameType.SEAL, 3)],
        [ACKED, Frame(FrameType.LOAD, 2, WIDE, 0, bytes(8)), Frame(FrameType.SEAL, 2)],
        [ACKED, Frame(FrameType.SEAL, 0)],
        [ACKED, Frame(FrameType.SEAL, 2)],
        [ACKED, Frame(FrameType.READ, 1, WIDE, 0, asked=8), Frame(FrameType.SEAL, 2)],
        [ACKED, Frame(FrameType.RESET, 1)],
    ],
)
def test_frames_that_are_refused_or_do_not_count(frames):
    """As in an image for other memories, or one that is not `boot_image`'s: SEAL is never sent."""

    async def script(bench):
        await bench.boots()
        assert bench.failed
        assert encode(frames[-1]) not in bytes(bench.fed)
        await bench.unsealed()

    run(script, image_of(frames))


def alone(content, answers=(), last=()):
    """FlashBoot on a link that takes everything, and has those frames to say from the first byte on and
    behind the last one: what it was sent, from the flash and then a byte of the host, and whether it failed.
    """
    block, flash, fed, result = FlashBoot(SLOW, ADDRESS), Flash(content), bytearray(), []
    early, late = (deque(b"".join(encode(answer) for answer in part)) for part in (answers, last))

    async def testbench(context):
        get, set_ = context.get, context.set
        set_(block.link_rx.ready, 1)
        set_(block.host_rx.valid, 1)
        set_(block.host_rx.payload, 0x5A)
        while get(block.busy):
            set_(block.cipo, flash.step(get(block.cs), get(block.clk), get(block.copi)))
            if get(block.link_rx.valid):
                fed.append(get(block.link_rx.payload))
            line = late if len(fed) == len(content) - FIRST else early if fed else ()
            set_(block.link_tx.valid, bool(line))
            if line:
                set_(block.link_tx.payload, line.popleft())
                assert get(block.link_tx.ready)
            await context.tick()
        assert get(block.link_rx.valid)
        fed.append(get(block.link_rx.payload))
        result.append(get(block.failed))

    simulate(block, testbench)
    return bytes(fed), result[0]


def test_a_link_that_never_answers_fails():
    """SEAL is cut at its number, and the host gets through."""
    assert alone(IMAGE) == (IMAGE[FIRST : SEAL + 3] + b"\x5a", 1)


@pytest.mark.parametrize(("number", "failed"), [(2, False), (1, True)])
def test_numbers_go_round_after_256_frames(number, failed):
    """A link with as many answers as no image of this size has frames; the last one is SEAL's."""
    content = image_of([Frame(FrameType.LOAD, 0, NARROW, 0, bytes(250)), Frame(FrameType.SEAL, number)])
    fed, came = alone(content, [Frame(FrameType.ACK, i % 256) for i in range(258)], [Frame(FrameType.ACK, 2)])
    assert came == failed
    assert fed == content[FIRST : FIRST + len(fed) - 1] + b"\x5a"
    assert (len(fed) == len(content) - FIRST + 1) == (not failed)


@pytest.mark.parametrize(
    ("last", "failed"),
    [
        ([Frame(FrameType.ACK, 1)], 0),
        ([Frame(FrameType.ACK, 2)], 1),
        ([Frame(FrameType.ERROR, 1)], 1),
        ([], 1),
    ],
)
def test_a_seal_that_is_not_acknowledged_fails(last, failed):
    content = image_of([ACKED, Frame(FrameType.SEAL, 1)])
    assert alone(content, [Frame(FrameType.ACK, 0)], last) == (content[FIRST:] + b"\x5a", failed)


@pytest.mark.parametrize("moment", [10, 40, 60, 200, 500, 1100, 1230, 1300])
def test_a_reset_at_any_moment_boots_again(moment):
    async def script(bench):
        for _ in range(moment):
            await bench.step()
        bench.context.set(bench.link.restart, 1)
        await bench.step()
        bench.context.set(bench.link.restart, 0)
        await bench.boots()
        assert bench.flash.commands[-2:] == ["release", ADDRESS]
        await bench.ready()

    run(script, IMAGE)


def test_a_reset_forgets_a_failure():
    async def script(bench):
        bench.flash.content = flip(IMAGE, FIRST + 20)
        await bench.boots()
        assert bench.failed
        bench.flash.content = IMAGE
        bench.context.set(bench.link.restart, 1)
        await bench.step()
        bench.context.set(bench.link.restart, 0)
        await bench.step()
        await bench.boots()
        await bench.ready()

    run(script, IMAGE)


def test_a_host_that_does_not_wait_is_served_afterwards():
    """On a line with flow control nothing of it is lost, and it hears of nothing but its own frames."""

    async def script(bench):
        pixels = image(bench.generator)
        bench.put(Frame(FrameType.IMAGE, 5, payload=pixels), Frame(FrameType.IDENTIFY, 6))
        await bench.boots()
        answers = {answer.sequence: answer for answer in await bench.silence()}
        assert answers[5] == Frame(FrameType.RESULT, 5, payload=golden(pixels)[1])
        assert answers[6].type == FrameType.IDENTITY
        assert len(answers) == 2
        assert bench.sent.count(b"\xa5") >= 2
        assert len(Decoder().feed(bytes(bench.sent))) == 2

    run(script, IMAGE, gaps=0.3, stalls=0.3)


@pytest.mark.parametrize(
    ("hertz", "divider"), [(1, 1), (48_000_000, 1), (66_000_000, 1), (66_000_001, 2), (200_000_000, 4)]
)
def test_the_flashs_clock_is_as_fast_as_every_flash_bears(hertz, divider):
    block = FlashBoot(replace(IDENTITY, clock_hz=hertz), 0)
    assert block.divider == divider
    assert block.wake_cycles * 10**6 >= 30 * hertz
    assert (block.wake_cycles - 1) * 10**6 < 30 * hertz


@pytest.mark.parametrize("address", [-1, 1 << 24, 1.0, None])
def test_an_address_that_is_none(address):
    with pytest.raises(ValueError, match=f"FlashBoot address must have 24 bits, not be {address!r}"):
        FlashBoot(SLOW, address)


@pytest.mark.parametrize("divider", [0, 1, 2.0])
def test_a_divider_that_is_too_small(divider):
    fast = replace(IDENTITY, clock_hz=100_000_000)
    with pytest.raises(ValueError, match=f"divider must be at least 2 at 100000000 Hz, not {divider!r}"):
        FlashBoot(fast, 0, divider)


def test_the_commands_are_those_of_every_spi_flash():
    """Release from power-down, and read: the bench's own flash would take any."""
    assert (RELEASE, READ) == (0xAB, 0x03)
