"""A queue of jobs as the images of `Device.run`, for a thread that serves whoever fills the queue."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

import numpy as np

from haarlequin.sw.devices.device import Result

Job = TypeVar("Job")


class Feed(Generic[Job]):
    """The images of the jobs that wait in a queue.

    As an iterator it ends where no job waits, so that a device goes on with the images that it has. A device
    asks again whenever it has room, and then takes what has come since. Only one thread may use a feed; any
    thread may fill the queue.

    Arguments:
        queue: the jobs in their order, and None to end the feed.
        pixels: a function from a job to its image, uint8 (H, W, channels), or to None where nobody wants its
            answer any more. It is called when the device takes the job.

    Members:
        ended: whether the queue's None has come, or `end` was called.
    """

    def __init__(self, queue: "SimpleQueue[Job | None]", pixels: Callable[[Job], np.ndarray | None]):
        self._queue, self._pixels = queue, pixels
        self._image: np.ndarray | None = None
        self._unanswered: deque[Job] = deque()
        self.ended = False

    def wait(self) -> bool:
        """Wait for a job and take it; returns whether there is one, or else the feed has ended."""
        while not self.ended and self._image is None:
            self._image = self._taken(self._queue.get())
        return not self.ended

    def end(self) -> None:
        """Take no more jobs. A thread in `wait` goes on only once a job or None comes."""
        self.ended = True

    def answers(
        self, run: Callable[[Iterator[np.ndarray]], Generator[Result, None, None]]
    ) -> Generator[tuple[Job, Result], None, None]:
        """Each job with its result, until none waits and none is with the device.

        Raises what ``run`` raises, which is a device's `run`; `give_back` then has the jobs that it leaves.
        """
        with closing(run(self)) as results:
            for result in results:
                yield self._unanswered.popleft(), result

    def give_back(self) -> list[Job]:
        """The jobs that were taken and not answered, in their order; they are forgotten here."""
        jobs, self._image = list(self._unanswered), None
        self._unanswered.clear()
        return jobs

    def _taken(self, job: Job | None) -> np.ndarray | None:
        """Take a job, or the end; returns its image, or None where there is none to compute."""
        if job is None:
            self.ended = True
            return None
        pixels = self._pixels(job)
        if pixels is not None:
            self._unanswered.append(job)
        return pixels

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> np.ndarray:
        image, self._image = self._image, None
        while image is None and not self.ended:
            try:
                image = self._taken(self._queue.get_nowait())
            except Empty:
                break
        if image is None:
            raise StopIteration
        return image
