"""Training on a GPU: one CUDA graph per phase, and the integers of the CPU in deploy mode."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from haarlequin.models.data import DataSet, load
from haarlequin.models.presets import preset
from haarlequin.models.training import run as run_module
from haarlequin.models.training.computer import Computer, check_exact
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run
from haarlequin.models.training.step import Step, Way

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch can use"
)

SMALL = preset("digits").with_(dim=16, layers=2, mlp_ratio=2)
RECIPE = Recipe(epochs=2, deploy_epochs=1, batch=32, flip=True, ops=1, mixup=0.8, cutmix=1.0, ema=0.9)


@pytest.fixture(scope="module")
def data():
    whole = load("digits")
    few = torch.arange(72)
    return DataSet(*(split.take(few) for split in (whole.train, whole.validation, whole.test)))


@needs_gpu
def test_a_run_is_a_graph_in_both_phases_and_ends_with_the_cpus_integers(data, tmp_path, monkeypatch):
    steps = []

    class Seen(Step):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            steps.append(self)

    monkeypatch.setattr(run_module, "Step", Seen)
    computer = Computer(torch.device("cuda"), bfloat16=True, compile=None)
    run = Run(SMALL, RECIPE, data, tmp_path, computer=computer)
    assert run.train()
    assert [step.way for step in steps if step.way.graph] == [Way(True, True), Way(False, True)]
    check_exact(run.model, torch.from_numpy(data.test.pixels))


@needs_gpu
def test_a_graph_learns_what_single_operations_do(data, tmp_path):
    losses = []
    for graph in (False, True):
        computer = Computer(torch.device("cuda"), compile=False, graph=graph)
        run = Run(SMALL, replace(RECIPE, epochs=3), data, tmp_path / str(graph), computer=computer)
        assert run.train()
        losses.append([row["loss"] for row in run.history])
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@needs_gpu
def test_products_of_more_than_ten_bits_are_exact(data, tmp_path):
    """A TF32 would round them."""
    Run(SMALL, RECIPE, data, tmp_path, computer=Computer(torch.device("cuda")))
    torch.manual_seed(0)
    features = torch.randint(-(2**15), 2**15, (64, 16, 8, 8)).float()
    weights = torch.randint(0, 2, (32, 16, 3, 3)).float() * 2 - 1
    signs = weights.flatten(1)
    rows = features[:, :16].flatten(2).mT[..., :16].repeat(1, 1, 9)
    on_cpu = F.conv2d(features, weights), F.linear(rows, signs)
    on_gpu = F.conv2d(features.cuda(), weights.cuda()), F.linear(rows.cuda(), signs.cuda())
    for here, there in zip(on_cpu, on_gpu, strict=True):
        assert torch.equal(here, there.cpu())
