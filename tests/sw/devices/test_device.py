"""What all devices share: models, results, and threads in turns on an accelerator that answers at once."""

import contextlib
import gc
import itertools
import math
import os
import select
import subprocess
import sys
import threading
import time
import tty

import numpy as np
import pytest

from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices import Answered, Benchmark, CompiledModel, DeviceError, Result, open_device
from haarlequin.sw.devices.device import Turn
from haarlequin.sw.devices.link import LinkDevice
from haarlequin.sw.devices.serial_port import SerialLine
from tests.sw.devices.fake import CYCLES, FILL, MODEL, RIGHT_WORDS, TABLES, FakeLine, logits

PIXELS = [np.full((8, 8, 1), i, np.uint8) for i in range(10)]


@contextlib.contextmanager
def board():
    """The fake accelerator on a pseudo-terminal; the device to open."""
    mine, theirs = os.openpty()
    tty.setraw(theirs)
    fake, stop = FakeLine(most=math.inf), threading.Event()

    def serve():
        while not stop.is_set():
            if select.select([mine], [], [], 0.01)[0]:
                fake.send(os.read(mine, 4096))
            while fake._out or fake._computing:  # with neither it would take a frame's pause for its end
                os.write(mine, fake.receive(0))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"serial:{os.ttyname(theirs)}"
    stop.set()
    thread.join()
    os.close(mine)
    os.close(theirs)


@pytest.fixture(params=["line", "serial"])
def device(request, monkeypatch):
    """A device with a model."""
    with contextlib.ExitStack() as stack:
        if request.param == "line":
            device = LinkDevice(FakeLine(most=math.inf))
        else:
            monkeypatch.setattr(SerialLine, "latency", 1.0)
            device = open_device(stack.enter_context(board()), None)
        with device:
            device.load(MODEL)
            yield device


# Models and results


def test_the_golden_model_is_not_loaded_with_the_devices():
    """A program that only talks to a board starts without it."""
    code = "import sys, haarlequin.sw.devices.link\nsys.exit('haarlequin.models.golden' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_the_golden_model_is_read_once_and_only_where_it_is_needed():
    golden, read = object(), []
    model = CompiledModel(TABLES, load=lambda: read.append("once") or golden)
    assert (model.placed, read) == (TABLES, [])
    assert model.golden is model.golden is golden
    assert read == ["once"]
    assert CompiledModel(TABLES, golden).golden is golden
    assert CompiledModel(TABLES).golden is None


def test_a_model_without_tables():
    with pytest.raises(DeviceError) as caught:
        CompiledModel(None).placed  # noqa: B018
    assert str(caught.value) == (
        "the model has no tables, since no accelerator runs it: take --device golden"
    )


def test_an_answer_of_logits():
    logits = np.arange(24, dtype=np.int32).reshape(2, 3, 4) % 5 // 2  # some equal ones
    answer = Answered(logits)
    assert not answer.labels_only
    assert answer.logits is answer.like(logits) is logits
    assert answer.labels.dtype == np.int64
    assert answer.labels.tolist() == [[list(row).index(max(row)) for row in rows] for rows in logits]
    assert not Result(logits, 1, 2).labels_only


def test_an_answer_of_labels():
    logits = np.arange(24, dtype=np.int32).reshape(2, 3, 4) % 5 // 2
    labels = np.array([[3, 2, 1], [0, 2, 3]], np.int32)
    answer = Answered(labels, labels_only=True)
    assert (answer.labels.dtype, answer.labels.tolist()) == (np.int64, labels.tolist())
    assert answer.like(logits).tolist() == Answered(logits).labels.tolist()
    with pytest.raises(UsageError, match="only the labels came"):
        answer.logits  # noqa: B018


def test_images_in_a_second():
    assert Benchmark(3, 10, 50, Result(np.zeros(1), 1, 2)).images_per_second == 15


def test_progress_is_told_to_whoever_asks(device):
    told = []
    device.load(MODEL)
    device.load(MODEL, lambda *numbers: told.append(numbers))
    size = 6 + 8 * 700
    assert told[-1] == (size, size)
    device.benchmark(PIXELS[1], 5)
    found = device.benchmark(PIXELS[1], 5, lambda *numbers: told.append(numbers))
    assert told[-1] == (5, 5)
    assert found.cycles == 5 * CYCLES + FILL
    assert_right([found.result], PIXELS[1:2])


def test_the_end_of_a_block_closes_the_line():
    line = FakeLine()
    with LinkDevice(line) as device:
        device.load(MODEL)
        assert not line.closed
    assert line.closed


# Threads and turns


def assert_right(results, images):
    assert [each.logits.tolist() for each in results] == [
        logits(image.tobytes(), RIGHT_WORDS) for image in images
    ]


def in_threads(*actions):
    """What each returned, or the exception; fails where one hangs."""
    came = [None] * len(actions)

    def act(i):
        try:
            came[i] = actions[i]()
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            came[i] = error

    threads = [threading.Thread(target=act, args=(i,), daemon=True) for i in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it hangs"
    return came


def test_many_things_in_many_threads(device):
    def runs(shift):
        mine = PIXELS[shift:] + PIXELS[:shift]
        results = list(device.run(mine[:4])) + list(device.run(mine[4:]))
        device.reset()
        device.counters()
        return results

    for shift, came in enumerate(in_threads(*(lambda i=i: runs(i) for i in range(6)))):
        assert not isinstance(came, Exception), came
        assert_right(came, PIXELS[shift:] + PIXELS[:shift])


def test_the_other_things_in_the_thread_of_a_run(device):
    """It is told at once, and the run goes on."""
    results, second = device.run(PIXELS), device.run(PIXELS[:1])
    came = [next(results)]
    for action in (
        device.counters, device.reset, lambda: device.load(MODEL), lambda: next(second),
        lambda: list(device.run([])),
    ):  # fmt: skip
        with pytest.raises(RuntimeError) as caught:
            action()
        assert str(caught.value) == (
            f"{device.name}: this thread has not finished a run: exhaust its iterator, or close it, first"
        )
        came += itertools.islice(results, 1)
    assert_right([*came, *results], PIXELS)
    assert_right(list(device.run(PIXELS[:1])), PIXELS[:1])


def test_images_that_ask_the_device(device):
    with pytest.raises(RuntimeError, match="has not finished a run"):
        list(device.run(image for image in PIXELS if device.counters()))
    assert_right(list(device.run(PIXELS[:1])), PIXELS[:1])


def test_a_run_that_has_not_begun_keeps_nobody_waiting(device):
    results = device.run(PIXELS)
    device.reset()
    assert_right(in_threads(lambda: list(device.run(PIXELS[1:])))[0], PIXELS[1:])
    assert_right(list(results), PIXELS)


@pytest.mark.parametrize("how", ["dropped", "closed", "in a cycle"])
def test_others_wait_until_a_run_is_abandoned(device, how):
    results, came = device.run(PIXELS), []
    next(results)
    waiting = threading.Thread(target=lambda: came.extend(device.run(PIXELS[2:4])), daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    if how == "closed":
        results.close()
    elif how == "in a cycle":
        cycle = [results]
        cycle.append(cycle)
        del cycle
    del results
    gc.collect()
    waiting.join(60)
    assert_right(came, PIXELS[2:4])


def test_an_iterator_that_is_handed_on(device):
    """It is the thread that took the last result that cannot wait for it."""
    results = device.run(PIXELS)
    came = [next(results)]

    def go_on():
        came.append(next(results))
        with pytest.raises(RuntimeError, match="has not finished a run"):
            device.reset()
        came.extend(results)

    assert in_threads(go_on) == [None]
    assert_right(came, PIXELS)
    device.reset()


def test_closing_during_a_run(device):
    begun = threading.Event()

    def run():
        for _ in device.run(itertools.cycle(PIXELS)):
            begun.set()

    def close():
        assert begun.wait(60)
        device.close()

    came = in_threads(run, lambda: begun.wait(60) and device.reset(), close, close)
    assert came[2:] == [None, None]
    for error in came[:2]:
        assert isinstance(error, DeviceError)
        assert str(error) == f"{device.name}: the device is closed"


def test_closing_wakes_those_who_wait_for_a_run_with_which_nobody_goes_on(device):
    results = device.run(PIXELS)
    next(results)
    waiting = [lambda: list(device.run(PIXELS)), device.counters, device.reset]
    *came, closed = in_threads(*waiting, lambda: time.sleep(0.2) or device.close())
    assert closed is None
    assert [str(error) for error in came] == [f"{device.name}: the device is closed"] * 3
    with pytest.raises(DeviceError, match="the device is closed"):
        list(results)


def test_the_thread_of_a_run_on_a_closed_device(device):
    """It hears that the device is closed, not that it would wait for itself."""
    results = device.run(PIXELS)
    next(results)
    device.close()
    with pytest.raises(DeviceError, match="the device is closed"):
        device.reset()


def test_a_turn_that_is_closed_lets_nobody_in():
    """Not even those who waited for it."""
    turn, inside = Turn("board"), []

    def enter():
        with turn:
            inside.append("came in")

    with turn:
        *came, _ = in_threads(enter, enter, lambda: time.sleep(0.2) or turn.close())
    assert [str(error) for error in came] == ["board: the device is closed"] * 2
    assert not inside


def test_a_simulation_needs_a_machine():
    with pytest.raises(TypeError, match="machine must be a configuration for the device 'sim', not None"):
        open_device("sim", None)
