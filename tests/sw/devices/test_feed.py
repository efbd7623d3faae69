"""A queue as the images of a device's run."""

import threading
from queue import SimpleQueue

import numpy as np
import pytest

from haarlequin.sw.devices import DeviceError
from haarlequin.sw.devices.feed import Feed


def pixels(job):
    """Images of the job's number; none for "unwanted"."""
    return None if job == "unwanted" else np.full((1, 1, 1), int(job), np.uint8)


def fed(*jobs):
    queue = SimpleQueue()
    for job in jobs:
        queue.put(job)
    return queue, Feed(queue, pixels)


def echo(images):
    """A device with room for one image, whose result is its number."""
    for image in images:
        yield int(image[0, 0, 0])


def test_jobs_and_results_in_order():
    _, feed = fed("3", "1", "2", None)
    assert feed.wait()
    assert list(feed.answers(echo)) == [("3", 3), ("1", 1), ("2", 2)]
    assert feed.ended  # asked first: a feed that has missed its end waits for ever
    assert not feed.wait()


def test_what_comes_while_a_device_computes_is_taken_by_the_same_run():
    queue, feed = fed("1")
    assert feed.wait()
    came = []
    for job, _ in feed.answers(echo):
        came.append(job)
        if len(came) < 5:
            queue.put(str(len(came) + 1))
    assert came == list("12345")
    assert not feed.ended


def test_it_goes_on_after_it_has_ended_for_now():
    """A device that keeps two images in flight asks again after each result."""
    queue, feed = fed("1")
    assert feed.wait()
    assert int(next(feed)[0, 0, 0]) == 1
    with pytest.raises(StopIteration):
        next(feed)
    queue.put("2")
    assert int(next(feed)[0, 0, 0]) == 2
    assert feed.give_back() == ["1", "2"]


def test_waiting_ends_with_a_job():
    queue, feed = fed()
    came = []
    thread = threading.Thread(target=lambda: came.append(feed.wait()), daemon=True)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    queue.put("1")
    thread.join(20)
    assert came == [True]


def test_jobs_that_nobody_wants_are_not_computed():
    _, feed = fed("unwanted", "1", "unwanted", "unwanted", "2", "unwanted", None)
    assert feed.wait()
    assert list(feed.answers(echo)) == [("1", 1), ("2", 2)]
    assert not feed.wait()


@pytest.mark.parametrize("computed", [0, 1, 2])
def test_a_device_that_fails_leaves_what_it_has_taken(computed):
    def failing(images):
        images = list(images)[:3]
        yield from range(computed)
        raise DeviceError("nothing came")

    queue, feed = fed("1", "2", "3")
    assert feed.wait()
    with pytest.raises(DeviceError):
        list(feed.answers(failing))
    assert feed.give_back() == ["1", "2", "3"][computed:]
    assert feed.give_back() == []
    queue.put("4")
    assert feed.wait()
    assert list(feed.answers(echo)) == [("4", 4)]


def test_a_device_that_fails_before_it_takes_anything():
    def closed(images):
        raise DeviceError("the device is closed")
        yield

    _, feed = fed("1")
    assert feed.wait()
    with pytest.raises(DeviceError):
        list(feed.answers(closed))
    assert feed.give_back() == ["1"]
    with pytest.raises(StopIteration):
        next(feed)


def test_the_end_at_once():
    _, feed = fed("1", "2", "3")
    assert feed.wait()
    answers = feed.answers(echo)
    assert next(answers) == ("1", 1)
    feed.end()
    assert list(answers) == []
    assert not feed.wait()
