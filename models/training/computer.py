"""The computer of a training run: opening its device, and whether that computes the integers of the CPU."""

from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from haarlequin.models.common.errors import UsageError
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.training.distributed import World

SWITCH = {"auto": None, "on": True, "off": False}
"""The values of the option ``--compile``, and `Computer.compile` for each."""


@dataclass(frozen=True)
class Computer:
    """The hardware of a run, and how it is used: none of this is part of the recipe."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    world: World = field(default_factory=World)
    bfloat16: bool = False
    """Whether to use autocast, outside deploy mode."""
    compile: bool | None = False
    """Whether to use `torch.compile`, outside deploy mode. None is for the run to decide: on a GPU it does,
    on a CPU where that is faster."""
    plain: bool = True
    """Whether plain functions take the place of Brevitas' quantisers, to which they are equal."""
    graph: bool = True
    """Whether a GPU runs each step as one CUDA graph."""


def open_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is a GPU if there is one. Raises `UsageError`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return device


class DeviceDiffers(Exception):
    """A GPU computes other integers in deploy mode than the CPU does."""


def check_exact(model: DIDBViT, pixels: Tensor) -> None:
    """Raise `DeviceDiffers` unless a model in deploy mode has the same logits on its device as on the CPU."""
    device = next(model.parameters()).device
    with torch.no_grad():
        there, here = model(pixels.to(device)).cpu(), deepcopy(model).cpu()(pixels)
    if different := int((there != here).any(-1).sum()):
        raise DeviceDiffers(f"{device} has other logits in deploy mode than the CPU on {different} images")
