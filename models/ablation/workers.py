"""Trials in this process, one after the other, or in several at once."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager

import torch

from haarlequin.models.ablation.trial import Trial
from haarlequin.models.data import DataSet
from haarlequin.models.training.run import Computer

_POLL_SECONDS = 0.5


def one_by_one(
    trials: Sequence[Trial],
    data: DataSet,
    computer: Computer,
    stop: Callable[[], bool],
    advance: Callable[[int], None],
) -> Iterator[Trial]:
    """Train them here; each as it is finished, until ``stop()``. For ``advance`` see `Trial.train`."""
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
    """The same in ``jobs`` processes that share the cores. Each gets its images from ``read``, which can be
    pickled. All save and end after the step in which ``stop()`` comes true, or this process ends.
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
    """Processes begun in here never hear of a Ctrl-C: the one that began them tells them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a process that trains was given when it began."""

    given: tuple = ()
    busy = threading.Lock()
    """Held while it trains."""

    @classmethod
    def begin(cls, read, computer, stopped, steps, threads) -> None:
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
    def _end_with_parent(cls, stopped) -> None:
        """A process that nobody gives work any more would wait for it for ever."""
        multiprocessing.parent_process().join()
        stopped.set()
        with cls.busy:
            os._exit(1)
