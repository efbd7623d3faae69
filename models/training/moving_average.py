"""An exponential moving average of a model in training."""

from copy import deepcopy

import torch
from torch import nn


class Average:
    """A copy of ``model`` whose weights and norm statistics follow it.

    Each step makes them decay·average + (1 − decay)·model. After t steps the decay is at most (1 + t) / (10 +
    t), so that the initial weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        # On the device, so that a CUDA graph finds the weight of each step there.
        self._weight = torch.zeros((), device=next(model.parameters()).device)
        mine, theirs = self.model.state_dict(), model.state_dict()
        real = [name for name, value in mine.items() if value.is_floating_point()]
        self._mine, self._theirs = [mine[name] for name in real], [theirs[name] for name in real]
        self._integers = [(mine[name], theirs[name]) for name in mine.keys() - real]

    def begin(self, step: int) -> None:
        """Set the weight with which the next `update` follows the ``step``-th step, counted from 1."""
        self._weight.fill_(1 - min(self.decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def update(self) -> None:
        """Follow the model after a step."""
        difference = torch._foreach_sub(self._theirs, self._mine)
        torch._foreach_mul_(difference, self._weight)
        torch._foreach_add_(self._mine, difference)
        for mine, theirs in self._integers:
            mine.copy_(theirs)
