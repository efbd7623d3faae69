"""One accelerator for many clients: a queue of images, and one thread that talks to the device.

`http_server.py` puts it on the network. It knows nothing of HTTP, so that other servers may use it.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Self

import numpy as np

from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.devices import DeviceError, Result
from haarlequin.sw.devices.feed import Feed

MOST_WAITING = 64
"""Images that may wait for their answer at a time, those included that are being converted or computed."""


class Full(Exception):
    """So many images wait already that no more are taken for now."""


@dataclass(frozen=True)
class Health:
    """The counts of a service since it began. All images that it took are ``answered``, ``failed``,
    ``dropped`` or ``waiting``.
    """

    device: str
    """The name of the device."""
    model: str
    """The name of the model."""
    answered: int
    """Images that have got their answer."""
    waiting: int
    """Images that wait for it, those included that the device is computing."""
    failed: int
    """Images that got none because the device failed."""
    dropped: int
    """Images that were not computed because they could not be used, or their client went away."""
    refused: int
    """Requests that were refused: something was wrong with them, or too many images waited."""
    mean_seconds: float | None
    """Mean time from an image's arrival to its answer; None before the first."""
    uptime_seconds: float
    """Time since the service began."""
    problem: str | None
    """Why the device could not answer the last time it was asked; None where it could."""


@dataclass(eq=False)
class _Job:
    """An image that waits for its answer."""

    pixels: np.ndarray
    began: float
    seconds: float = 0.0
    future: "Future[Result]" = field(default_factory=Future)


class Room:
    """Room for some images of one client, as `Service.room` gives it."""

    def __init__(self, queue: "SimpleQueue[_Job | None]"):
        self._queue, self._began = queue, time.monotonic()
        self.jobs: list[_Job] = []

    def ask(self, pixels: np.ndarray) -> "Future[Result]":
        """Put an image into the queue, uint8 (H, W, channels); its result comes, or the device's error.

        Whoever wants it no longer may cancel it.
        """
        self.jobs.append(_Job(pixels, self._began))
        self._queue.put(self.jobs[-1])
        return self.jobs[-1].future


class Service:
    """Answers the images of many clients, in the order in which they come. Use it in a ``with`` block.

    Whatever waits goes to the device in one run, so that the images of several clients fill its buffers. Any
    thread may ask. Where the device fails, all that wait get the error, and the next image is tried anew. A
    block that ends with an exception, an interrupt for example, does not wait for images: they end where the
    caller closes the accelerator.

    Arguments:
        accelerator: the device and model, used by nobody else; the caller closes it, after the service.
        most_waiting: how many images may wait at a time.

    Members:
        accelerator: the same.
        most_waiting: the same.
    """

    def __init__(self, accelerator: Accelerator, most_waiting: int = MOST_WAITING):
        self.accelerator, self.most_waiting, self._ending = accelerator, most_waiting, False
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock, self._began = threading.Lock(), time.monotonic()
        self._counts = dict.fromkeys(("waiting", "answered", "failed", "dropped", "refused"), 0)
        self._seconds, self._problem = 0.0, ""
        self._thread = threading.Thread(target=self._serve, name="device", daemon=True)
        self._thread.start()

    @contextmanager
    def room(self, images: int) -> Iterator[Room]:
        """Room for that many images, for the time of the block. Those that got neither an answer nor an error
        in it are counted as dropped, and are not computed unless the device has them already.

        Raises `Full` where too many wait, or after `end`.
        """
        with self._lock:
            if self._ending or self._counts["waiting"] + images > self.most_waiting:
                raise Full
            self._counts["waiting"] += images
        room = Room(self._queue)
        try:
            yield room
        finally:
            self._leave(room, images)

    def refuse(self) -> None:
        """Count a request that was refused."""
        with self._lock:
            self._counts["refused"] += 1

    def health(self) -> Health:
        """The counts, all of the same moment."""
        with self._lock:
            answered = self._counts["answered"]
            return Health(
                device=self.accelerator.device.name,
                model=self.accelerator.model_config.name,
                **self._counts,
                mean_seconds=self._seconds / answered if answered else None,
                uptime_seconds=time.monotonic() - self._began,
                problem=self._problem or None,
            )

    def end(self) -> None:
        """Take no more images; those that wait are answered."""
        with self._lock:
            self._ending = True

    def close(self) -> None:
        """End, once the images that wait are answered."""
        self.end()
        self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.end()
            self._queue.put(None)

    def _leave(self, room: Room, images: int) -> None:
        """Count what became of the images of a room."""
        for job in room.jobs:
            job.future.cancel()
        ended = [job for job in room.jobs if job.future.done() and not job.future.cancelled()]
        failed = sum(job.future.exception() is not None for job in ended)
        with self._lock:
            self._counts["waiting"] -= images
            self._counts["failed"] += failed
            self._counts["answered"] += len(ended) - failed
            self._counts["dropped"] += images - len(ended)
            self._seconds += sum(job.seconds for job in ended)

    def _serve(self) -> None:
        feed: Feed[_Job] = Feed(self._queue, _taken)
        while feed.wait():
            try:
                with closing(feed.answers(self.accelerator.stream)) as answers:
                    for job, result in answers:
                        self._problem, job.seconds = "", time.monotonic() - job.began
                        job.future.set_result(result)
            except Exception as error:  # noqa: BLE001 (each client gets it, and the thread goes on)
                self._fail(feed, error)

    def _fail(self, feed: Feed[_Job], error: Exception) -> None:
        """Give the error to all that were with the device, or wait for it."""
        self._problem = (
            str(error) if isinstance(error, DeviceError) else f"a mistake in this program: {error!r}"
        )
        for _ in feed:  # takes all that wait
            pass
        for job in feed.give_back():
            job.future.set_exception(error)


def _taken(job: _Job) -> np.ndarray | None:
    """The pixels of a job, unless nobody waits for it any more."""
    return job.pixels if job.future.set_running_or_notify_cancel() else None
