"""Random tensors for the ONNX functions."""

import pytest
import torch
from torch import Tensor


@pytest.fixture
def draw():
    """Draws an integer tensor of that shape, half of its elements at an edge of the range or around zero."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        edges = torch.tensor([v for v in (low, low + 1, -1, 0, 1, high - 1, high) if low <= v <= high])
        edged = edges[torch.randint(len(edges), shape, generator=generator)]
        inner = torch.randint(low, high + 1, shape, generator=generator)
        return torch.where(torch.rand(shape, generator=generator) < 0.5, edged, inner).to(dtype)

    return draw


@pytest.fixture
def signed(draw):
    """Draws two's complement of that many bits."""
    return lambda bits, *shape, **kind: draw(-(1 << (bits - 1)), (1 << (bits - 1)) - 1, *shape, **kind)


@pytest.fixture
def signs(draw):
    """Draws ±1."""
    return lambda *shape, dtype=torch.int64: 2 * draw(0, 1, *shape, dtype=dtype) - 1
