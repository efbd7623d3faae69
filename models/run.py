"""A training run: its loop, and the state from which it goes on to the same end, to the bit."""

import csv
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from . import checkpoint
from .augment import augment
from .average import Average
from .config import ModelConfig
from .data import DataSet
from .evaluate import accuracy
from .files import replacing
from .network import DIDBViT
from .recipe import Recipe

SAVE_SECONDS = 60.0
"""A run that is killed loses at most about this much work."""


def never() -> bool:
    """A reason to stop that never comes."""
    return False


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Random numbers that follow from ``numbers`` alone: nothing else need be saved to draw them again."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return torch.Generator(device).manual_seed(seed)


class Run:
    """A training run in its folder: model, optimiser, average, and how far it is.

    `training.safetensors` is written after every epoch, every minute and on stopping, whole or not at all.
    The order of an epoch and its augmentation follow from seed, epoch and step, so that the count of steps is
    all there is to know about them.
    """

    def __init__(
        self,
        config: ModelConfig,
        recipe: Recipe,
        data: DataSet,
        folder: Path,
        command: str = "",
        device: torch.device | str = "cpu",
    ):
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.folder, self.command = recipe, data, folder, command
        self.device = torch.device(device)
        self.train_split = data.train.to(self.device)
        self.epoch = self.step = 0
        self.loss = 0.0
        """Sum over the images of the epoch so far."""
        self.history: list[dict] = []
        self.seconds: list[float] = []
        """How long each epoch of the history took."""
        self.spent = 0.0
        """Seconds in the epoch so far."""
        self._since = time.perf_counter()
        self._begin(DIDBViT(config), recipe.phases()[0][0])

    @property
    def state_file(self) -> Path:
        """What `--resume` reads."""
        return self.folder / "training.safetensors"

    @property
    def steps(self) -> int:
        """Of an epoch; the last one may be a short batch."""
        return -(-len(self.train_split) // self.recipe.batch)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch == self.recipe.total

    def train(self, stop: Callable[[], bool] = never) -> bool:
        """Run the epochs that are left until ``stop()``, asked after every step; whether it is finished."""
        images = len(self.train_split)
        done = self.epoch * images + min(images, self.step * self.recipe.batch)
        self._since = time.perf_counter()
        with tqdm(total=self.recipe.total * images, initial=done, unit=" images", smoothing=0.02) as bar:
            while not self.finished:
                phase, first, epochs = self.recipe.phase(self.epoch)
                if phase != self.phase:
                    self._enter(phase)
                if not self._train_epoch(bar, stop):
                    self.save()
                    return False
                self._close_epoch(last=self.epoch == first + epochs - 1)
                row = self.history[-1]
                bar.set_postfix_str(f"{phase} loss {row['loss']:.3f} validation {row['validation']:.1%}")
                self.save()
        return True

    def _begin(self, model: nn.Module, phase: str) -> None:
        """Start a phase with ``model``."""
        self.model, self.phase = model.to(self.device), phase
        self.optimiser = self._new_optimiser()
        self.average = Average(model, self.recipe.ema) if self.recipe.ema else None

    def _enter(self, phase: str) -> None:
        if phase == "deploy":
            self.model.eval()
            checkpoint.save(self.folder / "float.safetensors", self.model)
            self.model.deploy()
        self._begin(self.model, phase)

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
            ],
            fused=True,
        )

    def _train_epoch(self, bar: tqdm, stop: Callable[[], bool]) -> bool:
        """The steps that are left of this epoch; whether it came to its end before ``stop()``."""
        recipe, split = self.recipe, self.train_split
        shuffle = generator(torch.device("cpu"), recipe.seed, self.epoch)
        order = torch.randperm(len(split), generator=shuffle).to(self.device).split(recipe.batch)
        _, first, _ = recipe.phase(self.epoch)
        self.model.train()
        saved = time.perf_counter()
        while self.step < self.steps:
            part = split.take(order[self.step])
            random = generator(self.device, recipe.seed, self.epoch, self.step)
            for group in self.optimiser.param_groups:
                group["lr"] = recipe.learning_rate(self.epoch, self.step, self.steps)
            loss = self._loss(augment(part.pixels, recipe, random), part.labels)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.step += 1
            if self.average:
                self.average.update(self.model, (self.epoch - first) * self.steps + self.step)
            self.loss += loss.item() * len(part)
            bar.update(len(part))
            if stop():
                return False
            if time.perf_counter() - saved > SAVE_SECONDS:
                self.save()
                saved = time.perf_counter()
        return True

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.model(pixels), labels, label_smoothing=self.recipe.label_smoothing)

    def _close_epoch(self, last: bool) -> None:
        row = {"epoch": self.epoch + 1, "phase": self.phase, "loss": self.loss / len(self.train_split)}
        row["validation"] = accuracy(self.model, self.data.validation)
        if self.average:
            row["validation_average"] = accuracy(self.average.model, self.data.validation)
            if last and row["validation_average"] >= row["validation"]:
                self.model.load_state_dict(self.average.model.state_dict())
        self._clock()
        self.history.append(row)
        self.seconds.append(round(self.spent, 1))
        self.epoch, self.step, self.loss, self.spent = self.epoch + 1, 0, 0.0, 0.0

    def _clock(self) -> None:
        now = time.perf_counter()
        self.spent, self._since = self.spent + now - self._since, now

    def save(self) -> None:
        """Write `training.safetensors`, and `log.csv` once there is an epoch to log."""
        self._clock()
        extra = {
            f"optimiser.{i}.{key}": value
            for i, state in self.optimiser.state_dict()["state"].items()
            for key, value in state.items()
        }
        if self.average:
            extra |= {f"average.{name}": value for name, value in self.average.model.state_dict().items()}
        names = ("command", "phase", "epoch", "step", "loss", "history", "seconds", "spent")
        facts = {name: getattr(self, name) for name in names}
        extra = {name: value.detach().cpu().contiguous() for name, value in extra.items()}
        checkpoint.save(self.state_file, self.model, extra=extra, recipe=asdict(self.recipe), **facts)
        if self.history:
            self._write_log()

    def _write_log(self) -> None:
        images = len(self.train_split)
        with (
            replacing(self.folder / "log.csv") as draft,
            draft.open("w", newline="", encoding="utf-8") as file,
        ):
            names = [*self.history[0], "seconds", "images_per_second"]
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row, seconds in zip(self.history, self.seconds, strict=True):
                speed = round(images / max(seconds, 0.1), 1)
                writer.writerow(row | {"seconds": seconds, "images_per_second": speed})

    def resume(self) -> None:
        """Take up what `save` wrote; raises `CheckpointError`."""
        model, extra, facts = checkpoint.read(self.state_file)
        if model.config.name != self.model.config.name:
            raise checkpoint.CheckpointError(f"{self.folder} holds a run of preset {model.config.name!r}")
        try:
            self.recipe = Recipe(**facts.pop("recipe"))
            self._begin(model, facts.pop("phase"))
            for name in ("command", "epoch", "step", "loss", "history", "seconds", "spent"):
                setattr(self, name, facts[name])
        except (KeyError, TypeError) as error:
            raise checkpoint.CheckpointError(f"{self.state_file}: of another version ({error})") from None
        state: dict[int, dict[str, Tensor]] = {}
        average = {}
        for name, value in extra.items():
            kind, _, rest = name.partition(".")
            if kind == "average":
                average[rest] = value
            else:
                index, key = rest.split(".")
                state.setdefault(int(index), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        if self.average:
            self.average.model.load_state_dict(average)
