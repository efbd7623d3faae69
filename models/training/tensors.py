"""Splits of a data set as PyTorch tensors, on the device that trains."""

from dataclasses import dataclass

import torch
from torch import Tensor

from haarlequin.models.data import Split


@dataclass(frozen=True)
class TensorSplit:
    """Images with their classes: pixels (n, H, W, channels) uint8, labels (n,) int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> "TensorSplit":
        """The images of these indices."""
        return TensorSplit(self.pixels[indices], self.labels[indices])


def on_device(split: Split, device: torch.device | str = "cpu") -> TensorSplit:
    """``split`` as tensors on that device; on the CPU they use the memory of its arrays."""
    return TensorSplit(torch.from_numpy(split.pixels).to(device), torch.from_numpy(split.labels).to(device))
