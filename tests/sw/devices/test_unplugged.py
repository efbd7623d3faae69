"""A line that is gone while its accelerator computes: it is opened anew, and no wrong logits come out."""

import numpy as np
import pytest

from haarlequin.hw.link.identity import Identity
from haarlequin.hw.link.protocol import FrameType
from haarlequin.sw.devices import DeviceError
from haarlequin.sw.devices import link as link_module
from haarlequin.sw.devices.byte_line import Unplugged
from haarlequin.sw.devices.link import TRIES, LinkDevice
from tests.sw.devices.fake import CLOCK_HZ, DIGEST, MEMORIES, MODEL, RIGHT_WORDS, FakeLine, logits

PIXELS = [np.full((8, 8, 1), i, np.uint8) for i in range(10)]
GONE = "No such device; was the board unplugged?"


def failure(action):
    """The message of its `DeviceError`, without the device."""
    with pytest.raises(DeviceError, match=r"^fake: [^\n]+$") as caught:
        action()
    return str(caught.value).removeprefix("fake: ")


def assert_right(results, images):
    assert [each.logits.tolist() for each in results] == [
        logits(image.tobytes(), RIGHT_WORDS) for image in images
    ]


class Plug:
    """Opens lines to one accelerator, which forgets everything while none is plugged in.

    Each line in turn breaks after so many calls of ``lasts``; before it is opened, opening fails as often as
    ``absent`` says. As with a port, there is only one line at a time.

    Arguments:
        identities: that of the accelerator at each line in turn, None for the usual one.
        prepare: is told each new line and its number.
    """

    def __init__(self, lasts, absent=(), identities=(), prepare=lambda line, number: None):
        self.lines, self._lasts = [], iter(lasts)
        self._absent, self._identities = iter(absent), iter(identities)
        self._left, self._prepare = 0, prepare

    def __call__(self):
        if self._left == 0:
            self._left = 1 + next(self._absent, 0)
        self._left -= 1
        if self._left:
            raise DeviceError("fake: no such port")
        if not all(line.closed for line in self.lines):
            raise DeviceError("fake: it is in use by this program itself: end that first")
        line = BreakingLine(next(self._lasts, 10**6), next(self._identities, None))
        self.lines.append(line)
        self._prepare(line, len(self.lines))
        return line


class BreakingLine(FakeLine):
    """A `FakeLine` that is gone after so many calls."""

    def __init__(self, lasts, identity):
        super().__init__(identity=identity)
        self._lasts = lasts

    def _count(self):
        super()._count()
        assert not self.closed, "a line that is closed may be opened by others"
        self._lasts -= 1
        if self._lasts < 0:
            raise Unplugged(f"fake: {GONE}")


@pytest.fixture
def hurried(monkeypatch):
    """The time passes only while nothing is done; returns the pauses."""
    pauses = []
    monkeypatch.setattr(link_module.time, "monotonic", lambda: sum(pauses))
    monkeypatch.setattr(link_module.time, "sleep", pauses.append)
    return pauses


def calls_until_loaded():
    plug = Plug([])
    LinkDevice(plug).load(MODEL)
    return 10_000 - plug.lines[0]._left


@pytest.mark.parametrize("later", [0, 1, 2, 3, 4, 5, 9, 14])
def test_a_board_that_is_plugged_in_again_goes_on(hurried, later):
    plug = Plug([calls_until_loaded() + later], absent=[0, 3])
    device = LinkDevice(plug)
    device.load(MODEL)
    assert_right(list(device.run(PIXELS)), PIXELS)
    first, second = plug.lines
    assert first.closed
    assert second.sealed
    assert second.words[:2] == RIGHT_WORDS
    assert hurried == [link_module.RETRY_SECONDS] * 3
    device.close()
    assert second.closed


def test_a_board_that_goes_again_while_it_is_loaded(hurried):
    loads = calls_until_loaded()
    plug = Plug([loads + 3, loads // 2, 1, loads + 2])
    device = LinkDevice(plug)
    device.load(MODEL)
    assert_right(list(device.run(PIXELS)), PIXELS)
    assert len(plug.lines) == 5


def test_a_board_that_does_not_come_back(hurried):
    plug = Plug([calls_until_loaded() + 5], absent=[0, 10**6])
    device = LinkDevice(plug)
    device.load(MODEL)
    results = device.run(PIXELS)
    came = [next(results)]
    said = failure(lambda: came.extend(results))
    assert said == f"{GONE}; it did not come back in 10 s"
    assert_right(came, PIXELS[: len(came)])
    assert 10 < sum(hurried) < 11
    assert failure(device.counters) == GONE


def test_a_board_that_comes_back_after_the_run(hurried):
    """The next run finds it."""
    plug = Plug([calls_until_loaded() + 5], absent=[0, 45])
    device = LinkDevice(plug)
    device.load(MODEL)
    assert failure(lambda: list(device.run(PIXELS))).endswith("it did not come back in 10 s")
    assert_right(list(device.run(PIXELS)), PIXELS)
    assert len(plug.lines) == 2


def test_a_board_that_is_there_before_it_answers(hurried):
    """Its bridge is on the bus, its FPGA is not yet configured: the port is opened again, not twice."""

    def silent(line, number):
        if number in (2, 3):
            line.twist = lambda frame, honest: []

    plug = Plug([calls_until_loaded() + 5], prepare=silent)
    device = LinkDevice(plug)
    device.load(MODEL)
    assert_right(list(device.run(PIXELS)), PIXELS)
    assert len(plug.lines) == 4
    assert [line.closed for line in plug.lines] == [True, True, True, False]


def test_a_board_that_goes_with_every_image(hurried):
    """Its supply is too weak to compute: that is no reason to try for ever."""
    loads = calls_until_loaded()
    device = LinkDevice(Plug([loads + 1] * 1000))
    device.load(MODEL)
    said = failure(lambda: list(device.run(PIXELS)))
    assert said == f"{GONE}; it went {TRIES} times before an image was computed"


def test_another_board_in_its_place(hurried):
    other = Identity(DIGEST + 1, CLOCK_HZ, MEMORIES)
    plug = Plug([calls_until_loaded() + 2], identities=[None, other])
    device = LinkDevice(plug)
    device.load(MODEL)
    said = failure(lambda: list(device.run(PIXELS)))
    assert said == "another accelerator was plugged in: begin again"


def test_another_board_never_answers(hurried):
    """Also not in a later run, though it has tables, those of another model; the right one does."""
    other = Identity(DIGEST + 1, CLOCK_HZ, MEMORIES)

    def used(line, number):
        line.sealed = number > 1

    plug = Plug([calls_until_loaded() + 2], identities=[None, other, other], prepare=used)
    device = LinkDevice(plug)
    device.load(MODEL)
    for _ in range(2):
        said = failure(lambda: list(device.run(PIXELS)))
        assert said == "another accelerator was plugged in: begin again"
    assert all(frame.type == FrameType.IDENTIFY for line in plug.lines[1:] for frame in line.taken)
    assert_right(list(device.run(PIXELS)), PIXELS)
    assert len(plug.lines) == 4


@pytest.mark.parametrize("deaf", [FrameType.RESET, FrameType.LOAD, FrameType.READ, FrameType.SEAL])
def test_a_board_that_does_not_take_its_tables_again(hurried, deaf):
    """It has those of another program: the next run loads them before an image is sent."""

    def stubborn(line, number):
        if number == 2:
            line.sealed = True
            line.twist = lambda frame, honest: [] if frame.type == deaf else honest

    plug = Plug([calls_until_loaded() + 2], prepare=stubborn)
    device = LinkDevice(plug)
    device.load(MODEL)
    failure(lambda: list(device.run(PIXELS)))
    plug.lines[1].twist = lambda frame, honest: honest
    assert_right(list(device.run(PIXELS)), PIXELS)
    assert len(plug.lines) == 2


def test_a_line_that_cannot_be_opened_anew(hurried):
    line = BreakingLine(calls_until_loaded() + 2, None)
    device = LinkDevice(line)
    device.load(MODEL)
    assert failure(lambda: list(device.run(PIXELS))) == GONE
    assert hurried == []
