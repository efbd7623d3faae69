"""Several devices as one: each image goes to whichever has room."""

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np

from haarlequin.models.common.errors import UsageError
from haarlequin.sw.devices.device import (
    Benchmark,
    CompiledModel,
    Device,
    DeviceError,
    Notice,
    Progress,
    Result,
)
from haarlequin.sw.devices.feed import Feed

SPARE = 2
"""Images at hand for each device, so that none waits while the caller does something else."""

AHEAD = 1024
"""The most images that are taken after the first one without a result: a device that has stopped, and may
come back, holds up the order of the results, not the others' work."""

POLL_SECONDS = 0.005
"""How often images are asked for while there are none and some device may have room: they may come from
people, one by one."""

AGAIN_SECONDS = 60.0
"""How long a device that has failed is left out of later runs; one in which all others have failed, too, is
with all of them."""

STOP_SECONDS = 1.0
"""How long the end of a run waits for a device that is still busy with an image."""

_Job = tuple[int, np.ndarray]
"""The number of an image and its pixels."""


class SeveralDevices(Device):
    """Devices that share the images of a run. Results come in the order of the images.

    A device takes an image whenever it has room for one, so a faster device gets more of them. All have the
    same model; they may be different accelerators, and `Result.digest` says which one computed an image.

    A device that fails is left out: ``notice`` is told in one line, its images go to the others, and the run
    goes on. When all have failed, the run raises `DeviceError`. After `AGAIN_SECONDS`, or once all have
    failed, it takes part again in the next run.

    Counters are the sums of all devices that have not failed. There is no `benchmark` of several devices.
    Closing this device closes all of them.

    Arguments:
        devices: at least one, each used by nobody else.
        notice: is told when a device has failed.

    Members:
        devices: the same.
        digest: that of the first device.
        predicts: whether at least one device predicts its cycles.
    """

    def __init__(self, devices: Sequence[Device], notice: Notice = print):
        if not devices:
            raise ValueError("devices must be at least one")
        super().__init__(",".join(device.name for device in devices))
        self.devices = tuple(devices)
        self.digest = devices[0].digest
        self.predicts = any(device.predicts for device in devices)
        self._notice = notice
        self._failed: dict[Device, float] = {}

    def _load(self, model: CompiledModel, progress: Progress) -> None:
        for number, device in enumerate(self.devices):
            try:
                mine = model.on(device.digest)
            except UsageError as error:
                raise UsageError(f"{device.name}: {error}") from error
            device.load(mine, partial(self._loaded, progress, number))
        self._failed.clear()

    def _loaded(self, progress: Progress, number: int, done: int, total: int) -> None:
        """Tell of all devices how much is loaded, from what one of them tells: as if all took as much."""
        progress(number * total + done, len(self.devices) * total)

    def _run(self, images: Iterator[np.ndarray]) -> Generator[Result, None, None]:
        todo: SimpleQueue[_Job | None] = SimpleQueue()
        done: SimpleQueue[_Event] = SimpleQueue()
        workers = [_Worker(device, todo, done) for device in self._working()]
        for worker in workers:
            worker.start()
        try:
            yield from self._results(images, workers, todo, done)
        finally:
            for worker in workers:
                worker.feed.end()
            for _ in workers:
                todo.put(None)
            for worker in workers:
                if worker is not threading.current_thread():  # which may collect garbage, this run included
                    worker.join(STOP_SECONDS)

    def _results(
        self,
        images: Iterator[np.ndarray],
        workers: "list[_Worker]",
        todo: "SimpleQueue[_Job | None]",
        done: "SimpleQueue[_Event]",
    ) -> Generator[Result, None, None]:
        """The results in order, while ``workers`` take images from ``todo`` and tell ``done`` of it."""
        answers: dict[int, Result] = {}
        given = waiting = first = 0  # images that were given out, wait in todo, and the first without answer
        while True:
            self._turn.check_open()
            while waiting < SPARE * len(workers) and given - first < AHEAD:
                image = next(images, None)
                if image is None:
                    break
                todo.put((given, image))
                given, waiting = given + 1, waiting + 1
            if first in answers:
                yield answers.pop(first)
                first += 1
            elif first == given:
                return
            for event in _events(done, first not in answers):
                if event.error:
                    waiting += self._leave_out(event, workers, todo)
                elif event.result:
                    answers[event.number] = event.result
                else:
                    waiting -= 1

    def _leave_out(self, event: "_Event", workers: "list[_Worker]", todo: "SimpleQueue[_Job | None]") -> int:
        """Go on without a worker that has failed; returns how many images it gives back. Raises its error
        where it was the last one, and where it is none of a device.
        """
        self._turn.check_open()
        assert event.error
        worker, error = event.worker, event.error
        if not isinstance(error, DeviceError):
            raise error
        workers.remove(worker)
        self._failed[worker.device] = time.monotonic()
        if not workers:
            raise DeviceError(f"{error}; no other device is left") from error
        self._notice(f"{error}; the run goes on with {', '.join(each.device.name for each in workers)}")
        back = worker.feed.give_back()
        others: list[_Job] = []
        with suppress(Empty):
            while job := todo.get_nowait():
                others.append(job)
        for job in sorted([*back, *others], key=lambda each: each[0]):  # results wait for the first of them
            todo.put(job)
        return len(back)

    def _working(self) -> list[Device]:
        """The devices for the next run."""
        now = time.monotonic()
        for device, when in [*self._failed.items()]:
            if now - when > AGAIN_SECONDS or len(self._failed) == len(self.devices):
                del self._failed[device]
        return [device for device in self.devices if device not in self._failed]

    def _benchmark(self, image: np.ndarray, count: int, progress: Progress) -> Benchmark:
        raise UsageError(f"a benchmark is of one accelerator: name one of {self.name}")

    def _counters(self) -> Mapping[str, int]:
        spent: Counter[str] = Counter()
        for device in self.devices:
            if device not in self._failed:
                spent.update(device.counters())
        return {name: cycles % (1 << 32) for name, cycles in spent.items()}

    def _reset(self) -> None:
        for device in self.devices:
            if device not in self._failed:
                device.reset()

    def _close(self) -> None:
        with ExitStack() as stack:  # all of them, whatever one of them says
            for device in reversed(self.devices):
                stack.callback(device.close)


@dataclasses.dataclass(frozen=True)
class _Event:
    """A worker has taken an image, has its result, or has failed."""

    worker: "_Worker"
    number: int = -1
    result: Result | None = None
    error: Exception | None = None


def _events(done: "SimpleQueue[_Event]", wait: bool) -> Iterator[_Event]:
    """All that has happened; where that is nothing, with ``wait``, the next event within `POLL_SECONDS`."""
    with suppress(Empty):
        yield done.get(wait, POLL_SECONDS)
        while True:
            yield done.get_nowait()


class _Worker(threading.Thread):
    """Serves one device in a run: takes images from ``todo`` and tells ``done`` of each."""

    def __init__(self, device: Device, todo: "SimpleQueue[_Job | None]", done: "SimpleQueue[_Event]"):
        super().__init__(name=device.name, daemon=True)
        self.device, self._done = device, done
        self.feed: Feed[_Job] = Feed(todo, self._take)

    def _take(self, job: _Job) -> np.ndarray:
        self._done.put(_Event(self))
        return job[1]

    def run(self) -> None:
        """Serve until the feed ends, or the device fails."""
        try:
            while self.feed.wait():
                with closing(self.feed.answers(self.device.run)) as answers:
                    for (number, _), result in answers:
                        result = dataclasses.replace(result, digest=self.device.digest)
                        self._done.put(_Event(self, number, result))
                        if self.feed.ended:  # nobody wants the rest
                            return
        except Exception as error:  # noqa: BLE001 (the caller's thread raises it)
            self._done.put(_Event(self, error=error))
