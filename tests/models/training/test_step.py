"""How a step runs: which way is taken, that trying leaves no trace, and that a step never waits for a GPU."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from haarlequin.models.data import DataSet, load
from haarlequin.models.presets import preset
from haarlequin.models.training import run as run_module
from haarlequin.models.training import step as step_module
from haarlequin.models.training.computer import Computer
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run
from haarlequin.models.training.step import Step, Way, keep_at_hand, ways

SMALL = preset("digits").with_(dim=8, layers=2, mlp_ratio=2)
STAGES = preset("digits").with_(stages="/1 c8x1 t16x1w2 a16x1")
RECIPE = Recipe(epochs=2, deploy_epochs=1, batch=32, flip=True, ops=1, mixup=0.8, cutmix=1.0, ema=0.9)


class Toy:
    """A step that draws, adds to a sum and, from the first call on, has a moment."""

    def __init__(self):
        self.sum, self.moments, self.calls = torch.zeros(3), {}, 0
        self.generator = torch.Generator().manual_seed(1)
        self.said = []

    def body(self, indices):
        self.calls += 1
        moment = self.moments.setdefault("moment", torch.zeros(3))
        moment += 1
        self.sum += moment * torch.rand(3, generator=self.generator) + indices

    def state(self):
        return {"sum": self.sum, **self.moments}

    def step(self, *tried, capture=None):
        return Step(
            self.body, nn.Identity(), self.state, self.generator, list(tried), self.said.append, capture
        )


def capture(times=3):
    """In place of `cuda_graph`: what is replayed is the body with the tensors that it saw."""

    def captured(body, generator):
        for _ in range(times):
            body()
        return body

    return captured


def broken(body, generator):
    body()
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def test_the_fastest_way_is_tried_first():
    assert ways(compiled=True, graph=True) == [Way(True, True), Way(True), Way()]
    assert ways(compiled=False, graph=True) == [Way(False, True), Way()]
    assert ways(compiled=True, graph=False) == [Way(True), Way()]
    assert ways(compiled=False, graph=False) == [Way()]


@pytest.mark.parametrize("way", [Way(graph=True), Way()], ids=str)
def test_trying_a_way_leaves_no_trace(way):
    expected, subject = Toy(), Toy()
    expected.body(torch.arange(3))
    step = subject.step(way, capture=capture())
    step(torch.arange(3))
    assert torch.equal(subject.sum, expected.sum)
    assert torch.equal(subject.moments["moment"], torch.ones(3))
    assert not subject.said


def test_a_captured_step_finds_new_indices_in_the_same_place():
    subject, places = Toy(), []
    body = subject.body
    subject.body = lambda indices: (places.append(indices.data_ptr()), body(indices))
    step = subject.step(Way(graph=True), capture=capture())
    for start in (0, 10):
        subject.sum.zero_()
        step(torch.arange(3) + start)
        assert (subject.sum >= torch.arange(3) + start).all()
    assert len(places) == 5
    assert len(set(places)) == 1


def test_what_fails_is_said_and_the_next_way_is_taken():
    expected, subject = Toy(), Toy()
    expected.body(torch.zeros(3))
    step = subject.step(Way(graph=True), Way(), capture=broken)
    step(torch.zeros(3))
    assert subject.said == [
        "a CUDA graph failed, so the step runs as single operations: "
        "operation not permitted when stream is capturing"
    ]
    assert torch.equal(subject.sum, expected.sum)
    step(torch.zeros(3))
    assert (len(subject.said), subject.calls) == (1, 3)


def test_an_error_of_the_step_itself_is_not_hidden():
    subject = Toy()
    subject.body = lambda indices: torch.ones(2) + torch.ones(3)
    with pytest.raises(RuntimeError, match="must match the size"):
        subject.step(Way(graph=True), Way(), capture=broken)(torch.zeros(3))


@pytest.mark.parametrize(
    ("compiled", "plain", "pays"), [(1.0, 1.5, True), (1.0, 1.05, False), (2.0, 1.5, False)]
)
def test_a_cpu_compiles_where_that_pays(monkeypatch, compiled, plain, pays):
    measured = iter([plain, compiled])
    monkeypatch.setattr(step_module, "seconds", lambda run: next(measured))
    monkeypatch.setattr(step_module, "compiler", lambda: "g++")
    compiled_blocks = []
    monkeypatch.setattr(step_module, "compile_blocks", lambda model, on=True: compiled_blocks.append(on))
    subject = Toy()
    assert subject.step(Way()).compiling_pays(torch.arange(60), steps=5000) is pays
    assert subject.said == [
        f"compiled blocks: {60 / compiled:.0f} images/s, {60 / plain:.0f} without; "
        f"the run goes on {'with' if pays else 'without'} them"
    ]
    assert compiled_blocks == [True, False]


@pytest.mark.parametrize(
    ("steps", "seconds", "compiler"), [(999, 9.0, "g++"), (5000, 0.1, "g++"), (5000, 9.0, None)]
)
def test_a_short_run_tries_nothing(monkeypatch, steps, seconds, compiler):
    calls = []
    monkeypatch.setattr(step_module, "seconds", lambda run: calls.append(run) or seconds)
    monkeypatch.setattr(step_module, "compiler", lambda: compiler)
    subject = Toy()
    assert not subject.step(Way()).compiling_pays(torch.arange(60), steps)
    assert len(calls) <= 1
    assert not subject.said


@pytest.fixture(scope="module")
def data():
    whole = load("digits")
    few = torch.arange(72)
    return DataSet(*(split.take(few) for split in (whole.train, whole.validation, whole.test)))


class NoWaiting(TorchDispatchMode):
    """Refuses what makes a GPU's step wait, or copy from the CPU's memory: a CUDA graph cannot contain it.
    What is computed from the tensors ``at_hand`` alone is in the CPU's memory, too, and may be read.
    """

    def __init__(self, at_hand):
        super().__init__()
        self.at_hand = list(at_hand)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        tensors = [argument for argument in arguments if isinstance(argument, torch.Tensor)]
        at_hand = bool(tensors) and all(any(t is known for known in self.at_hand) for t in tensors)
        if not at_hand:
            refused = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "lift_fresh"}
            assert name not in refused, f"a step calls {name}"
        result = function(*arguments, **(options or {}))
        if at_hand and isinstance(result, torch.Tensor):
            self.at_hand.append(result)
        return result


@pytest.mark.parametrize("deployed", [False, True], ids=["float phase", "deploy mode"])
@pytest.mark.parametrize("config", [SMALL, STAGES], ids=["one stage", "stages"])
def test_a_step_waits_for_nothing(data, tmp_path, config, deployed):
    run = Run(config, RECIPE, data, tmp_path)
    indices = torch.arange(run.batch)
    run.advance(indices)
    if deployed:
        run.enter("deploy")
    keep_at_hand(run.model)
    run.advance(indices)
    integers = [b for b in run.model.buffers() if not (b.dim() or b.is_floating_point())]
    with NoWaiting(integers):
        run._train_step(indices)


def test_a_run_of_captured_steps_equals_one_of_single_operations(data, tmp_path, monkeypatch):
    alone = Run(SMALL, RECIPE, data, tmp_path / "alone")
    assert alone.train()
    captures = []

    def make(body, model, state, generator, ways, say):
        def captured(*arguments):
            captures.append(1)
            return capture()(*arguments)

        return Step(body, model, state, generator, [Way(graph=True)], say, captured)

    monkeypatch.setattr(run_module, "Step", make)
    first = Run(SMALL, RECIPE, data, tmp_path / "captured")
    asked = iter(range(100))
    assert not first.train(lambda: next(asked) == 2)  # the end of an epoch
    resumed = Run(SMALL, RECIPE, data, tmp_path / "captured")
    resumed.resume()
    assert resumed.train()
    assert len(captures) == 3  # of the float phase, before and after the stop, and of deploy mode
    expected = alone.model.state_dict()
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert resumed.history == alone.history


def test_the_choice_is_saved_and_taken_again(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Step, "compiling_pays", lambda *_: True)
    compiled = []
    monkeypatch.setattr(step_module, "compile_blocks", lambda model, on=True: compiled.append(on))
    asked = iter(range(100))
    undecided = Computer(compile=None)
    run = Run(SMALL, RECIPE, data, tmp_path, computer=undecided)
    assert not run.train(lambda: next(asked) == 1)
    assert run.computer.compile
    monkeypatch.setattr(Step, "compiling_pays", lambda *_: pytest.fail("measured again"))
    resumed = Run(SMALL, RECIPE, data, tmp_path, computer=undecided)
    resumed.resume()
    assert resumed.train()
    assert compiled == [True, True, False]  # deploy mode is never compiled
