"""What each of two processes of `test_distributed.py` does: python two_ranks.py FOLDER."""

import sys
from copy import deepcopy
from pathlib import Path

import torch
from safetensors.torch import save_file

from haarlequin.models.data import DataSet, load
from haarlequin.models.presets import preset
from haarlequin.models.training.computer import Computer
from haarlequin.models.training.distributed import join, leave
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run, generator

SMALL = preset("digits").with_(dim=8, layers=1, mlp_ratio=2)
RECIPE = Recipe(epochs=2, deploy_epochs=1, batch=31, shift=0, ema=0.9, seed=3)


def main(folder: Path) -> None:
    """Train; leave this rank's own first gradients, those that it was given, and its weights."""
    world, device = join(torch.device("cpu"))
    whole = load("digits")
    few = torch.arange(72)
    data = DataSet(*(split.take(few) for split in (whole.train, whole.validation, whole.test)))
    run = Run(SMALL, RECIPE, data, folder / "run", computer=Computer(device, world))

    alone = deepcopy(run.model).train()
    order = torch.randperm(72, generator=generator(device, RECIPE.seed, 0))[: RECIPE.batch]
    part = run.train_split.take(order[:15] if world.first else order[15:30])
    loss = torch.nn.functional.cross_entropy(alone(part.pixels), part.labels, label_smoothing=0.1)
    loss.backward()
    found = {f"own.{name}": p.grad for name, p in alone.named_parameters() if p.grad is not None}

    def keep_gradients(*_):
        for name, parameter in run.model.named_parameters():
            found.setdefault(f"mean.{name}", parameter.grad.clone())

    hook = run.optimiser.register_step_pre_hook(keep_gradients)
    # The second rank alone is told to stop; the first must not wait for it for ever.
    asked = iter(range(100))
    assert not run.train(lambda: next(asked) == 1 and not world.first)
    assert (run.epoch, run.step) == (0, 2)
    hook.remove()

    resumed = Run(SMALL, RECIPE, data, folder / "run", computer=Computer(device, world))
    world.from_first(lambda: None)  # until the first has saved
    resumed.resume()
    assert resumed.train()
    found |= {f"weights.{name}": value for name, value in resumed.model.state_dict().items()}
    save_file({k: v.contiguous() for k, v in found.items()}, folder / f"{world.rank}.safetensors")
    leave(world)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
