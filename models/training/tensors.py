"""Splits of a data set as PyTorch tensors, on the CPU or GPU that trains."""

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
        """The images at ``indices``, with their labels."""
        return TensorSplit(self.pixels[indices], self.labels[indices])


def on_device(split: Split, device: torch.device | str = "cpu") -> TensorSplit:
    """``split`` as tensors on ``device``. On the CPU nothing is copied: they share the arrays' memory."""
    return TensorSplit(torch.from_numpy(split.pixels).to(device), torch.from_numpy(split.labels).to(device))
