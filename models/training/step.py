"""How a training step runs: as one CUDA graph, with compiled blocks, or as single operations.

A step finds the indices of its images, its learning rate and its random numbers in places that stay the same,
and it waits for nothing. So a CUDA graph that was captured from one step replays it for all others.
"""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WARM_UP = 3
"""Steps before one is captured: in these, blocks are compiled and libraries choose their algorithms."""

WORTH_TRYING = 20 * 60
"""Seconds that a phase must last at least before a CPU tries compiled blocks, which takes some minutes."""

FEWEST_STEPS = 1000
"""A phase of fewer steps is not even timed."""

WORTH_COMPILING = 1.1
"""How many times as fast compiled blocks must be for a CPU to use them."""

Capture = Callable[[Callable[[], None], torch.Generator], Callable[[], None]]


@dataclass(frozen=True)
class Way:
    """A way to run a step."""

    compiled: bool = False
    graph: bool = False

    def __str__(self) -> str:
        return "a CUDA graph" if self.graph else "compiled blocks" if self.compiled else "single operations"


def ways(compiled: bool, graph: bool) -> list[Way]:
    """The ways to try, the fastest one first."""
    tried = [Way(compiled, graph=True)] if graph else []
    return [*tried, Way(compiled=True), Way()] if compiled else [*tried, Way()]


def cuda_graph(body: Callable[[], None], generator: torch.Generator) -> Callable[[], None]:
    """A function that replays ``body``, whose random numbers ``generator`` draws. ``body`` is called several
    times to make it.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        body()
    return graph.replay


class Step:
    """A step that runs in the first of several ways that works; the first call finds out which one does.

    ``body`` does a step with the images at the indices that it gets; ``state`` returns all tensors that it
    changes, by name. What is tried leaves no trace in them. For each way that fails, ``say`` gets a line.
    ``capture`` is `cuda_graph`, or what a test has in its place.
    """

    def __init__(
        self,
        body: Callable[[Tensor], None],
        model: nn.Module,
        state: Callable[[], Mapping[str, Tensor]],
        generator: torch.Generator,
        ways: list[Way],
        say: Callable[[str], None] = print,
        capture: Capture = cuda_graph,
    ):
        self.body, self.model, self.state, self.generator = body, model, state, generator
        self.ways, self.say, self.capture = list(ways), say, capture
        self._indices: Tensor | None = None
        self._run: Callable[[], None] | None = None

    @property
    def way(self) -> Way:
        """The way that is used, or tried next."""
        return self.ways[0]

    def __call__(self, indices: Tensor) -> None:
        """Do a step with the images at ``indices``; each call has as many as the first."""
        if self._indices is None:
            self._indices = indices.clone()
        self._indices.copy_(indices)
        if self._run is None:
            self._run = self._prepare()
        self._run()

    def _prepare(self) -> Callable[[], None]:
        while True:
            try:
                return self._prepared()
            except (RuntimeError, OSError, ImportError) as error:
                if len(self.ways) == 1:
                    raise
                failed, reason = self.ways.pop(0), str(error).strip().partition("\n")[0]
            self.say(f"{failed} failed, so the step runs as {self.way}: {reason}")

    def _prepared(self) -> Callable[[], None]:
        compile_blocks(self.model, self.way.compiled)
        if self.way.graph:
            with unchanged(self.state, self.generator):
                return self.capture(self._once, self.generator)
        if self.way.compiled:
            with unchanged(self.state, self.generator):
                self._once()
        return self._once

    def _once(self) -> None:
        self.body(self._indices)

    def compiling_pays(self, indices: Tensor, steps: int) -> bool:
        """Whether compiled blocks do ``steps`` steps on this CPU so much faster that it is worth the time
        that compiling takes: measured, and said in a line, if the steps take long at all.
        """
        if steps < FEWEST_STEPS or not compiler():
            return False
        with unchanged(self.state, self.generator):
            plain = seconds(lambda: self.body(indices))
            if plain * steps < WORTH_TRYING:
                return False
            compile_blocks(self.model)
            try:
                compiled = seconds(lambda: self.body(indices))
            except (RuntimeError, OSError, ImportError):
                return False
            finally:
                compile_blocks(self.model, on=False)
        pays = compiled * WORTH_COMPILING < plain
        rates = f"{len(indices) / compiled:.0f} images/s, {len(indices) / plain:.0f} without"
        self.say(f"compiled blocks: {rates}; the run goes on {'with' if pays else 'without'} them")
        return pays


@contextmanager
def unchanged(state: Callable[[], Mapping[str, Tensor]], generator: torch.Generator) -> Iterator[None]:
    """After the ``with`` block, what ``state`` returns and the next numbers of ``generator``, which has just
    been seeded, are the same as if it had not run. Tensors that are new after it become zero, with which the
    moments of an optimiser begin.
    """
    before = {name: value.clone() for name, value in state().items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in state().items():
                value.copy_(before[name]) if name in before else value.zero_()
        generator.manual_seed(generator.initial_seed())


def compile_blocks(model: nn.Module, on: bool = True) -> None:
    """Let `torch.compile` run the layers of ``model``, or all of it if it has none; names stay as they are.
    With ``on`` false, take that back.
    """
    # Its look-up of the array library is the same every time.
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
    for block in getattr(model, "layers", [model]):
        if on:
            block.compile(dynamic=False)
        else:
            block._compiled_call_impl = None


def compiler() -> str | None:
    """The C++ compiler that `torch.compile` would call on a CPU, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++"))


def seconds(run: Callable[[], None], times: int = 3) -> float:
    """The shortest time that ``run`` takes, after one call that does not count."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def keep_at_hand(model: nn.Module) -> None:
    """Put what a step reads as Python numbers into the CPU's memory and what it computes with on the GPU, so
    that a step on a GPU neither waits nor copies: the shifts of deploy mode, and the table of the softmax.
    """
    device = next(model.parameters()).device
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not (buffer.dim() or buffer.is_floating_point()):
                setattr(module, name, buffer.cpu())
        if isinstance(getattr(module, "table", None), list):
            module.table = torch.tensor(module.table, device=device)
