"""Several devices as one, on accelerators that answer when a test lets them, and on the integer model."""

import contextlib
import dataclasses
import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest

from haarlequin.hw.link.identity import Identity
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import UsageError
from haarlequin.sw import accelerator
from haarlequin.sw import devices as devices_module
from haarlequin.sw.devices import (
    CompiledModel,
    DeviceError,
    device_names,
    is_board,
    link,
    open_device,
    several,
)
from haarlequin.sw.devices.byte_line import Unplugged
from haarlequin.sw.devices.golden import GoldenDevice
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.serial_port import SerialLine
from haarlequin.sw.devices.several import SeveralDevices
from tests.sw.conftest import MACHINE
from tests.sw.devices.fake import CLOCK_HZ, CYCLES, MEMORIES, MODEL, RIGHT_WORDS, TABLES, FakeLine, logits
from tests.sw.devices.test_device import board

PIXELS = [np.full((8, 8, 1), i, np.uint8) for i in range(100)]


class TimedLine(FakeLine):
    """Takes real ``seconds`` for each image; has a name, and is unplugged after ``lasts`` results."""

    def __init__(self, name, seconds=0.0, lasts=1 << 30, identity=None):
        super().__init__(most=1 << 30, identity=identity)
        self.name, self.seconds, self.lasts = name, seconds, lasts
        self.images = 0

    def receive(self, seconds):
        if not self._out and self._computing:
            time.sleep(self.seconds)
            if self.images == self.lasts:
                raise Unplugged(f"{self.name}: No such device; was the board unplugged?")
            self.images += 1
        return super().receive(seconds)


class LateLine(TimedLine):
    """Keeps its first image until it may go on."""

    def __init__(self, name, seconds, lasts):
        super().__init__(name, seconds, lasts)
        self.may_go_on = threading.Event()

    def receive(self, seconds):
        if self._computing:
            assert self.may_go_on.wait(20), "nobody lets it go on"
        return super().receive(seconds)


def identity(digest):
    """That of another accelerator with the same memories."""
    return Identity(digest, CLOCK_HZ, MEMORIES)


def together(*lines, notice=pytest.fail):
    device = SeveralDevices([LinkDevice(line) for line in lines], notice)
    device.load(MODEL)
    return device


def assert_right(results, images):
    assert [each.logits.tolist() for each in results] == [
        logits(image.tobytes(), RIGHT_WORDS) for image in images
    ]


def keep(results, came):
    """Add each to ``came``, also where an exception comes after it."""
    for result in results:
        came.append(result)


# Order, and who gets how many


def test_results_are_in_order_and_every_device_has_some():
    lines = [TimedLine("a", 0.005), TimedLine("b", 0.01), TimedLine("c", 0.005)]
    with together(*lines) as device:
        for count in (0, 1, 2, 7, 100):
            assert_right(list(device.run(PIXELS[:count])), PIXELS[:count])
        assert device.name == "a,b,c"
        assert not device.predicts
    assert sum(line.images for line in lines) == 110
    assert min(line.images for line in lines) > 2
    assert max(line.most_in_flight for line in lines) == 2
    assert all(line.closed for line in lines)


def test_a_faster_device_gets_more():
    fast, slow = TimedLine("fast", 0.002), TimedLine("slow", 0.02)
    with together(slow, fast) as device:
        assert_right(list(device.run(PIXELS)), PIXELS)
    assert fast.images > 2 * slow.images > 0


class HeldLine(TimedLine):
    """Whoever has the first image keeps it until ``others`` of the rest are computed."""

    def __init__(self, name, others):
        super().__init__(name)
        self._others = others

    def receive(self, seconds):
        if not self._out and self._computing:
            first = not any(self._computing[0][1])
            if first:
                assert self._others.let_go.wait(20), "the others wait, too"
            else:
                self._others.computed()
        return super().receive(seconds)


class Others:
    """Counts the images but for the first, and lets that one go ``later``, once there are so many."""

    def __init__(self, wanted, later=0.0):
        self.let_go, self._left, self._lock = threading.Event(), wanted, threading.Lock()
        self._later = later

    def computed(self):
        with self._lock:
            self._left -= 1
            if not self._left:
                threading.Timer(self._later, self.let_go.set).start()


def test_the_first_image_being_slow_holds_up_the_order_alone():
    """Its device may have one more; the other device computes all the rest meanwhile."""
    others = Others(len(PIXELS) - link.IN_FLIGHT[False])
    lines = [HeldLine(name, others) for name in "ab"]
    with together(*lines) as device:
        assert_right(list(device.run(PIXELS)), PIXELS)
    assert min(line.images for line in lines) <= link.IN_FLIGHT[False]


def test_a_device_that_is_stopped_holds_up_the_others_at_last(monkeypatch):
    """So that the images and results of a run without an end do not fill the memory."""
    monkeypatch.setattr(several, "AHEAD", 9)
    others = Others(9 - link.IN_FLIGHT[False], later=0.3)  # in which they could take more
    taken = []
    with together(*(HeldLine(name, others) for name in "ab")) as device:
        results = device.run(taken.append(i) or image for i, image in enumerate(PIXELS))
        next(results)
        assert len(taken) <= 10
        assert_right(list(results), PIXELS[1:])


def test_images_are_taken_as_there_is_room(monkeypatch):
    monkeypatch.setattr(several, "AHEAD", 9)
    taken = []
    with together(TimedLine("a", 0.3), TimedLine("b")) as device:
        images = (taken.append(i) or image for i, image in enumerate(PIXELS[:30]))
        for number, _ in enumerate(device.run(images)):
            assert number < len(taken) <= number + 10
            if number == 12:
                break
    assert len(taken) < 30


def test_two_images_are_at_hand_for_each_device(monkeypatch):
    """Beside the one that it has, before any is computed: none waits while the caller is busy."""
    original, enough, taken = LinkDevice._run, threading.Event(), []

    def late(self, images):
        assert enough.wait(20), "no more are taken"
        yield from original(self, images)

    def images():
        for image in PIXELS:
            taken.append(image)
            if len(taken) == 2 * (1 + 2):
                enough.set()
            yield image

    with together(TimedLine("a"), TimedLine("b")) as device:
        monkeypatch.setattr(LinkDevice, "_run", late)
        assert_right(list(device.run(images())), PIXELS)


def test_cycles_and_digest_are_those_of_the_device_that_computed_the_image():
    lines = [TimedLine("a", 0.001), TimedLine("b", 0.001)]
    with together(*lines) as device:
        results = list(device.run(PIXELS[:9]))
    assert {(each.cycles, each.digest) for each in results} == {(CYCLES, TABLES.digest)}
    assert [each.saturations for each in results] == list(range(9))


def test_images_that_come_one_by_one():
    """An iterator that has none for now is asked again while others are under way."""
    lines, more = [TimedLine("a", 0.1), TimedLine("b", 0.1)], iter(PIXELS[:2])

    class Slowly:
        began = 0.0

        def __iter__(self):
            return self

        def __next__(self):
            if self.began and time.monotonic() < self.began + 0.03:
                raise StopIteration
            self.began = self.began or time.monotonic()
            return next(more)

    with together(*lines) as device:
        assert_right(list(device.run(Slowly())), PIXELS[:2])
    assert [line.images for line in lines] == [1, 1]


def test_different_accelerators_run_the_same_model():
    """Each has the tables that were compiled for it."""
    other = CompiledModel(dataclasses.replace(TABLES, digest=TABLES.digest + 1))
    model = CompiledModel(TABLES, compile=lambda digest: {other.tables.digest: other}[digest])
    lines = [TimedLine("a", 0.001), TimedLine("b", 0.001, identity=identity(other.tables.digest))]
    with SeveralDevices([LinkDevice(line) for line in lines]) as device:
        told = []
        device.load(model, lambda done, total: told.append((done, total)))
        results = list(device.run(PIXELS[:20]))
        assert told[-1] == (2 * (6 + 8 * 700),) * 2
        assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert_right(results, PIXELS[:20])
    assert {each.digest for each in results} == {TABLES.digest, TABLES.digest + 1}


# Failures


@pytest.mark.parametrize("lasts", [0, 1, 5])
def test_the_others_go_on_without_one_that_fails(lasts):
    said, lines = [], [TimedLine("a", 0.001), TimedLine("b", 0.001, lasts), TimedLine("c", 0.001)]
    with together(*lines, notice=said.append) as device:
        assert_right(list(device.run(PIXELS)), PIXELS)
        assert said == ["b: No such device; was the board unplugged?; the run goes on with a, c"]
        assert lines[1].images == lasts
        assert_right(list(device.run(PIXELS[:20])), PIXELS[:20])  # without asking it
        assert len(said) == 1
        device.reset()
        assert device.counters()


def test_one_that_failed_takes_part_again_later(monkeypatch):
    said, line = [], TimedLine("b", 0.001, 3)
    with together(TimedLine("a", 0.001), line, notice=said.append) as device:
        assert_right(list(device.run(PIXELS[:50])), PIXELS[:50])
        line.lasts = 1 << 30
        monkeypatch.setattr(several, "AGAIN_SECONDS", 0.0)
        assert_right(list(device.run(PIXELS[:50])), PIXELS[:50])
    assert len(said) == 1
    assert line.images > 10


def test_a_model_that_is_loaded_is_for_all(monkeypatch):
    """Also for one that has failed before: it takes part again."""
    said, line = [], TimedLine("b", 0.001, 3)
    with together(TimedLine("a", 0.001), line, notice=said.append) as device:
        assert_right(list(device.run(PIXELS[:50])), PIXELS[:50])
        line.lasts = 1 << 30
        device.load(MODEL)
        assert_right(list(device.run(PIXELS[:50])), PIXELS[:50])
    assert line.images > 10


def test_one_that_failed_is_not_asked_for_its_counters():
    lines = [TimedLine("a", 0.001), TimedLine("b", 0.001, 3)]
    with together(*lines, notice=lambda line: None) as device:
        assert_right(list(device.run(PIXELS[:50])), PIXELS[:50])
        lines[1].taken.clear()
        device.counters()
        device.reset()
        assert lines[1].taken == []


def test_all_fail():
    """What came in order until then is there; the next run tries all of them."""
    said, lines, came = [], [TimedLine("a", 0.001, 4), LateLine("b", 0.001, 9)], []

    def notice(text):
        said.append(text)
        lines[1].may_go_on.set()

    with together(*lines, notice=notice) as device:
        with pytest.raises(DeviceError) as caught:
            keep(device.run(PIXELS), came)
        assert str(caught.value) == "b: No such device; was the board unplugged?; no other device is left"
        assert said == ["a: No such device; was the board unplugged?; the run goes on with b"]
        assert_right(came, PIXELS[: len(came)])
        assert len(came) >= 10  # of 13 that were computed
        for line in lines:
            line.lasts = 1 << 30
        assert_right(list(device.run(PIXELS)), PIXELS)
        assert lines[0].images > 10


def test_a_mistake_of_ours_is_no_failure_of_a_device(monkeypatch):
    def wrong(self, images):
        raise ZeroDivisionError("a mistake")
        yield

    with together(TimedLine("a"), TimedLine("b")) as device:
        monkeypatch.setattr(LinkDevice, "_run", wrong)
        with pytest.raises(ZeroDivisionError, match="a mistake"):
            list(device.run(PIXELS))


def test_images_that_cannot_be_made():
    def images():
        yield from PIXELS[:5]
        raise KeyError("no more")

    with together(TimedLine("a"), TimedLine("b")) as device:
        with pytest.raises(KeyError, match="no more"):
            list(device.run(images()))
        assert_right(list(device.run(PIXELS)), PIXELS)


def test_a_run_that_is_dropped_leaves_nothing():
    with together(TimedLine("a", 0.002), TimedLine("b", 0.002)) as device:
        results = device.run(itertools.cycle(PIXELS))
        assert_right(itertools.islice(results, 5), PIXELS[:5])
        before = threading.active_count()
        results.close()
        assert threading.active_count() <= before - 2
        assert_right(list(device.run(PIXELS[50:])), PIXELS[50:])


def test_a_run_that_ends_leaves_no_thread():
    with together(TimedLine("a"), TimedLine("b")) as device:
        before = threading.active_count()
        assert_right(list(device.run(PIXELS[:9])), PIXELS[:9])
        assert threading.active_count() == before


def test_a_run_that_is_dropped_computes_no_more():
    """But for what is in the devices; `SPARE` images for each were at hand."""
    lines = [TimedLine("a", 0.1), TimedLine("b", 0.1)]
    with together(*lines) as device:
        results = device.run(itertools.cycle(PIXELS))
        next(results)
        before = sum(line.images for line in lines)
        results.close()
        assert sum(line.images for line in lines) <= before + link.IN_FLIGHT[False] * len(lines)


def test_an_interrupt():
    """It ends the run at once, with what came; afterwards all devices are free."""
    with together(TimedLine("a", 0.01), TimedLine("b", 0.01)) as device:
        came, timer = [], threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        timer.start()
        try:
            with pytest.raises(KeyboardInterrupt):
                keep(device.run(itertools.cycle(PIXELS)), came)
        finally:
            signal.signal(signal.SIGINT, before)
        assert_right(came, itertools.islice(itertools.cycle(PIXELS), len(came)))
        assert len(came) > 2
        assert_right(list(device.run(PIXELS[:9])), PIXELS[:9])


def test_a_thread_that_closes_it():
    device = together(TimedLine("a", 0.01), TimedLine("b", 0.01))
    threading.Timer(0.2, device.close).start()
    with pytest.raises(DeviceError, match=r"^a,b: the device is closed$"):
        list(device.run(itertools.cycle(PIXELS)))
    with pytest.raises(DeviceError, match=r"^a,b: the device is closed$"):
        device.reset()


def test_images_that_ask_the_device():
    with (
        together(TimedLine("a"), TimedLine("b")) as device,
        pytest.raises(RuntimeError, match="has not finished a run"),
    ):
        list(device.run(image for image in PIXELS if device.counters()))


def test_two_ports_of_which_one_is_unplugged(monkeypatch):
    """By name, on pseudo-terminals."""
    monkeypatch.setattr(SerialLine, "latency", 1.0)
    monkeypatch.setattr(link, "GONE_SECONDS", 0.3)
    said = []
    with board() as first, contextlib.ExitStack() as second:
        names = f"{first},{second.enter_context(board())}"
        with open_device(names, None, said.append) as device:
            device.load(MODEL)
            results = device.run(PIXELS)
            came = [next(results)]
            second.close()
            came += results
            assert_right(came, PIXELS)
    assert len(said) == 1
    assert said[0].startswith(f"{names.split(',')[1]}@3000000: ")
    assert said[0].endswith(f"it did not come back in 0.3 s; the run goes on with {first}@3000000")


# The other things


def test_there_is_no_benchmark_of_several():
    with together(TimedLine("a"), TimedLine("b")) as device:
        with pytest.raises(UsageError) as caught:
            device.benchmark(PIXELS[0], 5)
        assert str(caught.value) == "a benchmark is of one accelerator: name one of a,b"


def test_counters_are_sums(monkeypatch):
    monkeypatch.setattr(LinkDevice, "_counters", lambda self: {"signs": (1 << 31) + 300, self.name: 1})
    with together(TimedLine("a"), TimedLine("b")) as device:
        assert device.counters() == {"signs": 600, "a": 1, "b": 1}


def test_a_model_that_does_not_fit_one_of_them():
    def refuse(digest):
        raise UsageError("it does not fit")

    lines = [TimedLine("a"), TimedLine("b", identity=identity(7))]
    with SeveralDevices([LinkDevice(line) for line in lines]) as device:
        with pytest.raises(UsageError, match=r"^b: it does not fit$"):
            device.load(CompiledModel(TABLES, compile=refuse))
        with pytest.raises(DeviceError, match=r"^b: the tables are for mine .*: compile for it$"):
            device.load(MODEL)


def test_all_are_closed_whatever_one_of_them_says():
    def broken():
        raise ZeroDivisionError("a mistake")

    lines = [TimedLine(name) for name in "abc"]
    device = together(*lines)
    lines[1].close = broken
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        device.close()
    assert (lines[0].closed, lines[2].closed) == (True, True)


def test_at_least_one():
    with pytest.raises(ValueError, match="devices must be at least one"):
        SeveralDevices([])


# By name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sim,", "the devices 'sim,' have an empty entry: name them as A,B"),
        (",", "the devices ',' have an empty entry: name them as A,B"),
        ("sim,,golden", "the devices 'sim,,golden' have an empty entry: name them as A,B"),
        ("sim,sim", "sim and sim are the same device: name it once"),
        (
            "serial:/dev/ttyUSB0,usb:,serial:/dev/ttyUSB0@9600",
            "serial:/dev/ttyUSB0 and serial:/dev/ttyUSB0@9600 are the same device: name it once",
        ),
        ("usb:,usb:", "usb: and usb: are the same device: name it once"),
    ],
)
def test_names_that_are_refused(name, message):
    with pytest.raises(UsageError) as caught:
        open_device(name, None)
    assert str(caught.value) == message


def test_two_names_of_one_port(tmp_path):
    (tmp_path / "port").touch()
    (tmp_path / "link").symlink_to("port")
    names = f"serial:{tmp_path}/port,spi:{tmp_path}/port,serial:{tmp_path}/link@9600"
    with pytest.raises(UsageError, match="are the same device: name it once"):
        device_names(names)
    assert len(device_names(names.rpartition(",")[0])) == 2


def test_boards_have_accelerators_of_their_own():
    assert is_board("serial:a,spi:b")
    assert not is_board("serial:a,sim")


def test_one_that_cannot_be_opened_closes_the_others(monkeypatch):
    line, original = TimedLine("a"), devices_module.open_device

    def open_one(name, machine, notice=print):
        if name == "spi:b":
            raise DeviceError("spi:b: nothing came")
        return LinkDevice(line) if name == "serial:a" else original(name, machine, notice)

    monkeypatch.setattr(devices_module, "open_device", open_one)
    with pytest.raises(DeviceError, match="spi:b: nothing came"):
        original("serial:a,spi:b", None)
    assert line.closed
    with original("serial:a,golden", None) as device:
        assert [type(each) for each in device.devices] == [LinkDevice, GoldenDevice]
        assert device.predicts


# With the digits


@pytest.mark.slow
def test_all_digits_on_two_devices(trained_digits, test_set):
    with SeveralDevices([GoldenDevice(MACHINE.digest) for _ in range(2)]) as device:
        device.load(trained_digits)
        results = list(device.run(test_set.pixels))
    assert [each.logits.tolist() for each in results] == trained_digits.golden(test_set.pixels).tolist()
    assert {each.cycles for each in results} == {4918}


@pytest.mark.slow
def test_digits_on_two_simulated_accelerators(trained_digits, test_set):
    with SeveralDevices([open_device("sim", MACHINE) for _ in range(2)]) as device:
        device.load(trained_digits)
        results = list(device.run(test_set.pixels[:30]))
        spent = [sum(each.counters().values()) for each in device.devices]
    assert [each.logits.tolist() for each in results] == trained_digits.golden(test_set.pixels[:30]).tolist()
    assert sum(spent) == 30 * 4918
    assert min(spent) >= 4918 * 3


@pytest.mark.slow
def test_a_check_knows_which_accelerator_it_was(monkeypatch, pictures):
    """The same model takes other cycles on another array."""
    made = SeveralDevices([GoldenDevice(CONFIGS[name].digest) for name in ("16x64", "2x64")])
    monkeypatch.setattr(accelerator, "open_device", lambda *_: made)
    with accelerator.Accelerator("serial:a,serial:b", "digits") as digits:
        results = list(digits.stream(pictures.repeat(4, 0)))
        assert len({each.cycles for each in results}) == 2
        for image, result in zip(pictures.repeat(4, 0), results, strict=True):
            assert digits.check(image, result) is None
        wrong = dataclasses.replace(results[0], digest=made.devices[1].digest, cycles=4918)
        assert digits.check(pictures[0], wrong).startswith("cycles: expected ")
