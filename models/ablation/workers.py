"""Train trials in this process, one after the other, or in several processes at once."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import torch

from haarlequin.models.ablation.trial import Trial
from haarlequin.models.data import DataSet
from haarlequin.models.training.computer import Computer

_POLL_SECONDS = 0.5


def one_by_one(
    trials: Sequence[Trial],
    data: DataSet,
    computer: Computer,
    stop: Callable[[], bool],
    advance: Callable[[int], None],
) -> Iterator[Trial]:
    """Train them in this process until ``stop()``, and yield each that is finished. See `Trial.train`."""
    for trial in trials:
        if stop() or not trial.train(data, computer, stop, advance):
            return
        yield trial


def at_once(
    trials: Sequence[Trial],
    read: Callable[[], DataSet],
    computer: Computer,
    jobs: int,
    stop: Callable[[], bool],
    advance: Callable[[int], None],
) -> Iterator[Trial]:
    """As `one_by_one`, in ``jobs`` processes with an equal number of cores each. They get their images from
    ``read``, which must be picklable. All of them save and end after the step in which ``stop()`` becomes
    true or this process ends.
    """
    context = multiprocessing.get_context("spawn")
    stopped, steps = context.Event(), context.Value("q", 0)
    told = 0
    threads = max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // jobs))
    arguments = read, computer, stopped, steps, threads
    with ProcessPoolExecutor(jobs, context, _Worker.begin, arguments) as pool:
        try:
            with _no_interrupts():
                left = {pool.submit(_Worker.train, trial): trial for trial in trials}
            while left:
                done, _ = wait(left, _POLL_SECONDS, FIRST_COMPLETED)
                made = steps.value
                advance(made - told)
                told = made
                if stop() and not stopped.is_set():
                    stopped.set()
                for future in done:
                    trial = left.pop(future)
                    if future.result():
                        yield trial
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes that are started in this block never get Ctrl-C: their parent tells them to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """The state of a process that trains trials."""

    given: tuple = ()
    """The arguments of `begin`, with the images in place of ``read``."""
    busy = threading.Lock()
    """Locked while it trains."""

    @classmethod
    def begin(
        cls,
        read: Callable[[], DataSet],
        computer: Computer,
        stopped: Event,
        steps: "Synchronized[int]",
        threads: int,
    ) -> None:
        threading.Thread(target=cls._end_with_parent, args=(stopped,), daemon=True).start()
        torch.set_num_threads(threads)
        cls.given = read(), computer, stopped, steps

    @classmethod
    def train(cls, trial: Trial) -> bool:
        data, computer, stopped, steps = cls.given

        def advance(count: int) -> None:
            with steps.get_lock():
                steps.value += count

        with cls.busy:
            return not stopped.is_set() and trial.train(data, computer, stopped.is_set, advance)

    @classmethod
    def _end_with_parent(cls, stopped: Event) -> None:
        """End this process after its parent has ended: it would wait for work for ever."""
        parent = multiprocessing.parent_process()
        if parent is None:  # this is no child of another process
            return
        parent.join()
        stopped.set()
        with cls.busy:
            os._exit(1)
