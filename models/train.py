"""`python -m models.train --preset digits`: train a DIDB-ViT, float phase first, then deploy mode.

The run lives in one folder: `training.safetensors` (written after every epoch; `--resume` goes on from it and
reaches the same end to the bit), `float.safetensors` (what entered deploy mode), `model.safetensors`
(finished, binary weights packed), `log.csv` and `card.json`.
"""

import argparse
import csv
import json
import math
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from . import checkpoint, cli
from .config import ModelConfig, override, preset
from .data import DataSet, Split, load
from .network import DIDBViT


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained."""

    epochs: int = 150
    """Float phase: BatchNorm on batch statistics, real constants."""
    deploy_epochs: int = 40
    """After it, in the integer arithmetic."""
    batch: int = 64
    lr: float = 4e-3
    deploy_lr: float = 3e-4
    weight_decay: float = 0.05
    warmup: float = 0.05
    """Share of each phase in which the learning rate rises; a cosine takes it to zero after that."""
    label_smoothing: float = 0.1
    shift: int = 1
    """Images are moved by up to this many pixels."""
    seed: int = 0


RECIPES = {"digits": Recipe()}


def augment(pixels: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Each image of (B, H, W, channels) moved by up to ``shift`` pixels both ways, edges filled with zero."""
    batch, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, shift, shift, shift, shift))
    dy, dx = torch.randint(0, 2 * shift + 1, (2, batch, 1), generator=generator)
    rows = (dy + torch.arange(height))[:, :, None]
    columns = (dx + torch.arange(width))[:, None, :]
    return padded[torch.arange(batch)[:, None, None], rows, columns]


def batches(split: Split, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented batches, the last one short; the same for the same seed and epoch."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    for indices in torch.randperm(len(split), generator=generator).split(recipe.batch):
        part = split.take(indices)
        yield augment(part.pixels, recipe.shift, generator), part.labels


@torch.no_grad()
def hits(model: nn.Module, split: Split) -> Tensor:
    """1 for each image of ``split`` that the model classifies rightly, else 0."""
    model.eval()
    predicted = torch.cat([model(part).argmax(1) for part in split.pixels.split(256)])
    return (predicted == split.labels).float()


def accuracy(model: nn.Module, split: Split) -> float:
    """Share of ``split`` that the model classifies rightly."""
    return hits(model, split).mean().item()


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up to ``peak``, then a cosine to zero at ``steps``."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


class Run:
    """A training run in its folder: model, optimiser and how many epochs are done."""

    def __init__(self, config: ModelConfig, recipe: Recipe, data: DataSet, folder: Path, command: str = ""):
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.folder, self.command = recipe, data, folder, command
        self.epoch = 0
        self.history: list[dict] = []
        self.figures: dict[str, float] = {}
        self.model = DIDBViT(config)
        self.optimiser = self._new_optimiser()

    @property
    def state_file(self) -> Path:
        """What `--resume` reads."""
        return self.folder / "training.safetensors"

    def _new_optimiser(self) -> torch.optim.Optimizer:
        # Decay pulls binary weights towards sign flips and constants towards nothing useful: only the multi-
        # bit matrices get it.
        decayed = {id(layer.linear.weight) for layer in (self.model.embedding, self.model.head)}
        groups = {True: [], False: []}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                groups[id(parameter) in decayed].append(parameter)
        return torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": self.recipe.weight_decay},
                {"params": groups[False], "weight_decay": 0.0},
            ]
        )

    def train(self) -> None:
        """Run the epochs that are left, saving after each."""
        recipe = self.recipe
        total = recipe.epochs + recipe.deploy_epochs
        images = len(self.data.train)
        with tqdm(total=total * images, initial=self.epoch * images, unit=" images", smoothing=0.05) as bar:
            while self.epoch < total:
                if self.epoch == recipe.epochs:
                    self._enter_deploy_mode()
                loss = self._train_epoch(bar)
                self.epoch += 1
                phase = "deploy" if self.model.deployed else "float"
                score = accuracy(self.model, self.data.validation)
                self.history.append({"epoch": self.epoch, "phase": phase, "loss": loss, "validation": score})
                bar.set_postfix_str(f"{phase} loss {loss:.3f} validation {score:.1%}")
                self.save()

    def _enter_deploy_mode(self) -> None:
        self.model.eval()
        checkpoint.save(self.folder / "float.safetensors", self.model)
        self.figures["test_float"] = accuracy(self.model, self.data.test)
        self.model.deploy()
        self.figures["test_folded"] = accuracy(self.model, self.data.test)
        self.optimiser = self._new_optimiser()

    def _train_epoch(self, bar: tqdm) -> float:
        recipe, deployed = self.recipe, self.model.deployed
        peak, first, epochs = (
            (recipe.deploy_lr, recipe.epochs, recipe.deploy_epochs)
            if deployed
            else (recipe.lr, 0, recipe.epochs)
        )
        per_epoch = -(-len(self.data.train) // recipe.batch)
        step = (self.epoch - first) * per_epoch
        self.model.train()
        total = 0.0
        for pixels, labels in batches(self.data.train, recipe, self.epoch):
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(step, epochs * per_epoch, peak, recipe.warmup)
            loss = F.cross_entropy(self.model(pixels), labels, label_smoothing=recipe.label_smoothing)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            step += 1
            total += loss.item() * len(labels)
            bar.update(len(labels))
        return total / len(self.data.train)

    def save(self) -> None:
        """Write `training.safetensors` and `log.csv`."""
        moments = {
            f"optimiser.{i}.{key}": value
            for i, state in self.optimiser.state_dict()["state"].items()
            for key, value in state.items()
        }
        facts = {name: getattr(self, name) for name in ("command", "epoch", "history", "figures")}
        checkpoint.save(self.state_file, self.model, extra=moments, recipe=asdict(self.recipe), **facts)
        with (self.folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.history[0])
            writer.writeheader()
            writer.writerows(self.history)

    def resume(self) -> None:
        """Take up what `save` wrote; raises `CheckpointError`."""
        model, extra, facts = checkpoint.read(self.state_file)
        if model.config.name != self.model.config.name:
            raise checkpoint.CheckpointError(f"{self.folder} holds a run of preset {model.config.name!r}")
        self.model, self.command = model, facts["command"]
        self.epoch, self.history, self.figures = facts["epoch"], facts["history"], facts["figures"]
        self.recipe = Recipe(**facts["recipe"])
        self.optimiser = self._new_optimiser()
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in extra.items():
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})

    def finish(self) -> dict:
        """Write the finished model and its card; the card."""
        checkpoint.save(self.folder / "model.safetensors", self.model, pack=True)
        after = hits(self.model, self.data.test)
        self.figures["test_deploy"] = after.mean().item()
        change = after - hits(checkpoint.load(self.folder / "float.safetensors"), self.data.test)
        data = {name: len(getattr(self.data, name)) for name in ("train", "validation", "test")}
        last = {f"validation_{row['phase']}": row["validation"] for row in self.history}
        card = {
            "preset": self.model.config.name,
            "command": self.command,
            "recipe": asdict(self.recipe),
            "images": data,
            "accuracy": {**last, **self.figures},
            "deploy_mode": {
                "change": change.mean().item(),
                "paired_standard_error": change.std().item() / math.sqrt(len(change)),
            },
        }
        (self.folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        return card


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models.train", description="Train a DIDB-ViT.")
    parser.add_argument("--preset", required=True, help="which network, and on what: digits")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration"
    )
    parser.add_argument("--epochs", type=int, help="of the float phase")
    parser.add_argument("--deploy-epochs", type=int, help="of deploy mode after it")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/PRESET)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument(
        "--publish", type=Path, metavar="DIR", help="copy the finished model and its card there"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    with cli.one_line_errors(arguments.verbose):
        run = _open_run(arguments)
        try:
            run.train()
        except KeyboardInterrupt:
            raise cli.UsageError(
                f"interrupted after epoch {run.epoch}; `make train ARGS=--resume` goes on from there"
            ) from None
        card = run.finish()
        print(
            f"{run.folder / 'model.safetensors'}:",
            ", ".join(f"{k} {v:.2%}" for k, v in card["accuracy"].items()),
        )
        if arguments.publish:
            arguments.publish.mkdir(parents=True, exist_ok=True)
            for name in ("model.safetensors", "card.json"):
                shutil.copy(run.folder / name, arguments.publish / name)


def _open_run(arguments: argparse.Namespace) -> Run:
    """A new run or, with --resume, the one in the folder."""
    config = override(preset(arguments.preset), arguments.set)
    data = load(config.name)
    given = {"epochs": arguments.epochs, "deploy_epochs": arguments.deploy_epochs, "seed": arguments.seed}
    given = {key: value for key, value in given.items() if value is not None}
    recipe = replace(RECIPES[config.name], **given)
    if recipe.epochs < 1 or recipe.deploy_epochs < 1:
        raise cli.UsageError("each phase needs at least one epoch")
    settings = [f"--set={setting}" for setting in arguments.set]
    settings += [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    command = shlex.join(["python", "-m", "models.train", "--preset", config.name, *settings])
    run = Run(config, recipe, data, arguments.out or Path("runs") / config.name, command)
    if arguments.resume:
        if given or arguments.set:
            raise cli.UsageError("--resume goes on with the run's own settings: leave out what changes them")
        run.resume()
    elif run.state_file.exists():
        raise cli.UsageError(f"{run.folder} holds a run: make train ARGS=--resume goes on with it")
    return run


if __name__ == "__main__":
    main()
