"""Two processes on this machine, over gloo."""

import os
import socket
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.presets import preset
from haarlequin.models.training.distributed import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of the two left."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = Path(__file__).parents[3]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    shared |= {"PYTHONPATH": str(root), "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(folder)],
            env=os.environ | shared | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


def part(found, prefix):
    return {name.removeprefix(prefix): v for name, v in found.items() if name.startswith(prefix)}


def test_the_gradients_are_the_mean_of_both_ranks(ranks):
    first, second = (part(rank, "own.") for rank in ranks)
    for rank in ranks:
        mean = part(rank, "mean.")
        assert mean.keys() == first.keys()
        for name, gradient in mean.items():
            torch.testing.assert_close(gradient, (first[name] + second[name]) / 2, msg=name)
    # They saw different images.
    assert not torch.equal(first["head.linear.weight"], second["head.linear.weight"])


def test_both_end_with_the_same_weights_and_statistics(ranks):
    first, second = (part(rank, "weights.") for rank in ranks)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_a_batch_is_shared_in_equal_parts():
    batch = torch.arange(11)
    parts = [World(rank, 3).shard(batch).tolist() for rank in range(3)]
    assert parts == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert World().shard(batch).tolist() == batch.tolist()


def test_norms_over_the_whole_batch_fold_as_ordinary_ones_do():
    """On GPUs; here the converted network runs as one process alone would."""
    config = preset("digits").with_(dim=8, layers=1, mlp_ratio=2)
    torch.manual_seed(0)
    ordinary = DIDBViT(config)
    converted = World(0, 2).norms(deepcopy(ordinary), torch.device("cuda"))
    kinds = {type(module) for module in converted.modules()}
    assert torch.nn.SyncBatchNorm in kinds
    assert torch.nn.BatchNorm1d not in kinds
    pixels = torch.randint(0, 256, (32, 8, 8, 1), dtype=torch.uint8)
    torch.testing.assert_close(converted(pixels), ordinary(pixels))
    for model in (ordinary, converted):
        model.eval()
        model.deploy()
    assert ordinary.state_dict().keys() == converted.state_dict().keys()
    assert torch.equal(converted.integer_logits(pixels), ordinary.integer_logits(pixels))
