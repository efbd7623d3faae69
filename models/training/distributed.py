"""One process, or several under `torchrun`: what a run needs to know of the others."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


class World:
    """The processes of a run. Alone, every method does nothing, or what it says for one."""

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes, evaluates and reports."""
        return self.rank == 0

    def share(self, indices: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch. All parts are of one size, so that the mean of their gradients is
        that of the batch: what does not divide is left out.
        """
        each = len(indices) // self.size
        return indices[self.rank * each : (self.rank + 1) * each]

    def wrap(self, model: nn.Module) -> nn.Module:
        """``model`` with its gradients averaged over the processes."""
        if self.size == 1:
            return model
        # One switch of the network leaves α without a gradient.
        unused = not getattr(model.config, "hfsc", True)
        return DistributedDataParallel(model, find_unused_parameters=unused)

    def norms(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model`` with norms over the whole batch. They exist on GPUs only: on CPUs each process has its
        own.
        """
        if self.size == 1 or device.type != "cuda":
            return model
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)

    def same_buffers(self, model: nn.Module) -> None:
        """Take over the first process's buffers, the norms' statistics among them."""
        if self.size > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is true anywhere."""
        if self.size == 1:
            return flag
        vote = torch.tensor(int(flag), device=device)
        distributed.all_reduce(vote, distributed.ReduceOp.MAX)
        return bool(vote)

    def from_first(self, function: Callable[[], T]) -> T:
        """What ``function`` returns in the first process, which alone calls it."""
        if self.size == 1:
            return function()
        box = [function() if self.first else None]
        distributed.broadcast_object_list(box, 0)
        return box[0]


def join(device: torch.device) -> tuple[World, torch.device]:
    """The world that `torchrun` says this process is in, and its device: GPUs are dealt out by local rank."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(distributed.get_rank(), size), device


def leave(world: World) -> None:
    """End it."""
    if world.size > 1:
        distributed.destroy_process_group()
