"""A run in one process, or in several under `torchrun`: all that they exchange."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


class World:
    """The processes of a run. Where there is only one, no method exchanges anything."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes, evaluates and reports."""
        return self.rank == 0

    def shard(self, indices: torch.Tensor) -> torch.Tensor:
        """The images of a batch that belong to this process. All processes get the same number, so that the
        mean of their gradients is that of the batch; a remainder is left out.
        """
        each = len(indices) // self.size
        return indices[self.rank * each : (self.rank + 1) * each]

    def wrap(self, model: nn.Module) -> nn.Module:
        """``model``, wrapped so that its gradients are averaged over the processes."""
        if self.size == 1:
            return model
        # Without HFSC, α has no gradient.
        unused = not getattr(model.config, "hfsc", True)
        return DistributedDataParallel(model, find_unused_parameters=unused)

    def norms(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model`` with norms over the whole batch. These exist on GPUs only; on CPUs, each process computes
        its norms on its own images.
        """
        if self.size == 1 or device.type != "cuda":
            return model
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)

    def same_buffers(self, model: nn.Module) -> None:
        """Copy the buffers of the first process, with the statistics of the norms, to the others."""
        if self.size > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether ``flag`` is true in any process."""
        if self.size == 1:
            return flag
        vote = torch.tensor(int(flag), device=device)
        distributed.all_reduce(vote, distributed.ReduceOp.MAX)
        return bool(vote)

    def from_first(self, function: Callable[[], T]) -> T:
        """The result of ``function``, which the first process calls, in all processes."""
        if self.size == 1:
            return function()
        box: list[Any] = [function() if self.first else None]
        distributed.broadcast_object_list(box, 0)
        return box[0]


def join(device: torch.device) -> tuple[World, torch.device]:
    """The processes that `torchrun` has started, and this one's device: the GPU of its local rank."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(distributed.get_rank(), size), device


def leave(world: World) -> None:
    """End the group of processes."""
    if world.size > 1:
        distributed.destroy_process_group()
