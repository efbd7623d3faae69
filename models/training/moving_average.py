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

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow ``model`` after its ``step``-th step, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine, theirs = self.model.state_dict(), model.state_dict()
        real = [name for name, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in real], [theirs[name] for name in real], weight)
        for name in mine.keys() - real:
            mine[name].copy_(theirs[name])
