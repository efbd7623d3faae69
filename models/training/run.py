"""A training run: its loop, and its saved state, from which it ends with the same bits as without a stop."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from haarlequin.models.common import figures
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.data import DataSet
from haarlequin.models.network import checkpoint
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.segmenter import Segmenter, SegmenterConfig
from haarlequin.models.network.teacher import Teacher, TeacherConfig
from haarlequin.models.training import run_files, segmentation
from haarlequin.models.training.augment import augment, mix
from haarlequin.models.training.computer import Computer, check_exact
from haarlequin.models.training.evaluate import accuracy
from haarlequin.models.training.moving_average import Average
from haarlequin.models.training.plain import use_plain_functions
from haarlequin.models.training.recipe import MOST_STEPS, Recipe
from haarlequin.models.training.step import Step, keep_at_hand, ways
from haarlequin.models.training.tensors import TensorSplit, on_device

SAVE_SECONDS = 60.0
"""Time between two saves: a run that is killed loses about this much work at most."""


def never() -> bool:
    """A condition to stop on that is never true."""
    return False


def seed_of(*numbers: int) -> int:
    """A seed that depends only on ``numbers``: to repeat draws, nothing else need be saved."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return seed


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A generator with the seed of ``numbers``."""
    return torch.Generator(device).manual_seed(seed_of(*numbers))


def inputs(data: DataSet) -> dict[str, str]:
    """Hashes of the inputs that a run must resume with: here, of its training images."""
    train = on_device(data.train)
    return {"data": run_files.fingerprint({"pixels": train.pixels, "labels": train.labels})}


def build(config: ModelConfig | TeacherConfig) -> DIDBViT | Teacher:
    """The network of that configuration, untrained."""
    if isinstance(config, SegmenterConfig):
        return Segmenter(config)
    return Teacher(config) if isinstance(config, TeacherConfig) else DIDBViT(config)


class Run:
    """A training run in its folder: model, optimiser, moving average, and progress.

    `training.safetensors` is written after every epoch, every minute and when the run stops, whole or not at
    all. The order of the images and their augmentation depend only on seed, epoch and step, so that nothing
    but these numbers need be saved about them.
    """

    _FACTS = ("command", "phase", "epoch", "step", "history", "seconds", "spent", "inputs")

    def __init__(
        self,
        config: ModelConfig | TeacherConfig,
        recipe: Recipe,
        data: DataSet,
        folder: Path,
        command: str = "",
        computer: Computer | None = None,
        teacher: Teacher | None = None,
        start: DIDBViT | Teacher | None = None,
    ):
        torch.manual_seed(recipe.seed)
        self.computer = computer or Computer()
        self.recipe, self.data, self.folder, self.command = recipe, data, folder, command
        self.train_split = on_device(data.train, self.device)
        self.teacher = teacher and teacher.eval().to(self.device)
        self.inputs = inputs(data)
        if teacher:
            self.inputs |= {
                "teacher": run_files.fingerprint(teacher.state_dict()),
                "teacher_preset": teacher.config.name,
            }
        if start:
            self.inputs["start"] = run_files.fingerprint(start.state_dict())
        self.epoch = self.step = 0
        self.history: list[dict] = []
        self.seconds: list[float] = []
        """Duration of each epoch of the history."""
        self.deadline: Callable[[Run], Recipe] | None = None
        """Called after each epoch for the recipe to go on with, which has fewer epochs if time is short."""
        self.spent = 0.0
        """Seconds that the current epoch has taken so far."""
        self._since = time.perf_counter()
        # Sum over the images of the epoch so far. It stays on the device, so that no step waits for it.
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        # These also stay where they are, for a CUDA graph.
        self._random = torch.Generator(self.device)
        self._one_hot = torch.eye(len(config.classes), device=self.device)
        self._class_weights: Tensor | None = None
        """A factor for each class of the masks, where they are the labels."""
        if data.train.has_masks:
            segmentation.check_recipe(recipe)
            if teacher:
                raise UsageError(f"{config.name} learns from masks: leave the teacher out")
            self._class_weights = torch.ones(len(config.classes))
            if recipe.balanced:
                self._class_weights = segmentation.class_weights(data.train.labels, len(config.classes))
            self._class_weights = self._class_weights.to(self.device)
        self.compiled: dict[str, bool] = {}
        """Whether blocks are compiled, for each kind of device on which that was decided."""
        self._begin(start or build(config), recipe.phases()[0][0])

    @property
    def device(self) -> torch.device:
        """The device that the run is computed on."""
        return self.computer.device

    @property
    def state_file(self) -> Path:
        """The file that `--resume` reads."""
        return self.folder / "training.safetensors"

    @property
    def batch(self) -> int:
        """Images of a step, of all processes together."""
        return min(self.recipe.batch, len(self.train_split))

    @property
    def steps(self) -> int:
        """Steps of an epoch: those of the recipe, or as many as take every image. Images that the last one
        lacks come from the beginning of the epoch, because all steps must be of the same size.
        """
        return self.recipe.steps or -(-len(self.train_split) // self.batch)

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        return self.epoch == self.recipe.total

    def train(self, stop: Callable[[], bool] = never, quiet: bool = False) -> bool:
        """Train the epochs that are left, until ``stop()``, which is called after every step, is true.
        Returns whether the run is finished. ``quiet`` shows no progress.
        """
        images = self.steps * self.batch
        done = self.epoch * images + self.step * self.batch
        quiet = quiet or not self.computer.world.first
        self._since = time.perf_counter()
        with tqdm(
            total=self.recipe.total * images, initial=done, unit=" images", smoothing=0.02, disable=quiet
        ) as bar:
            while not self.finished:
                phase, first, epochs = self.recipe.phase(self.epoch)
                if phase != self.phase:
                    self.enter(phase)
                if not self._train_epoch(bar, stop):
                    self.save()
                    return False
                self._close_epoch(last=self.epoch == first + epochs - 1)
                if self.deadline and not self.finished:
                    self.recipe = self.deadline(self)
                    bar.total = self.recipe.total * images
                row = self.history[-1]
                bar.set_postfix_str(f"{phase} loss {row['loss']:.3f} validation {row['validation']:.1%}")
                self.save()
        return True

    def _begin(self, model: DIDBViT | Teacher, phase: str) -> None:
        """Start a phase with ``model``."""
        world = self.computer.world
        self.model, self.phase = world.norms(model, self.device).to(self.device), phase
        if isinstance(model, DIDBViT):
            model.use_real_weights(phase == "real")
        if self.computer.plain:
            use_plain_functions(self.model)
        if self.device.type == "cuda":
            keep_at_hand(self.model)
            # Deploy mode must be exact, and a TF32 has 10 bits of a product's factors.
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.optimiser = self._new_optimiser()
        self.average = Average(self.model, self.recipe.ema) if self.recipe.ema else None
        self._forward = world.wrap(self.model)
        self._step: Step | None = None

    def enter(self, phase: str) -> None:
        """Go from the present phase to ``phase``."""
        if self.phase == "real":
            self.model.rescale_weights()
        if phase == "deploy":
            self.model.eval()
            if self.computer.world.first:
                checkpoint.save(self.folder / "float.safetensors", self.model)
            self.model.deploy()
        self._begin(self.model, phase)

    def _new_optimiser(self) -> torch.optim.Optimizer:
        decayed = {id(parameter) for parameter in self.model.decayed()}
        groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                groups[id(parameter) in decayed].append(parameter)
        return torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": self.recipe.weight_decay},
                {"params": groups[False], "weight_decay": 0.0},
            ],
            # The learning rate is where a CUDA graph finds that of each step.
            lr=torch.tensor(self.recipe.lr, device=self.device),
            fused=True,
            capturable=self.device.type == "cuda",
        )

    def _new_step(self, indices: Tensor, steps: int) -> Step:
        """How the steps of this phase run: ``steps`` more, each with as many images as ``indices``."""
        alone, kind = self.computer.world.size == 1, self.device.type
        graph = alone and kind == "cuda" and self.computer.graph
        arguments = self._train_step, self.model, self._state, self._random
        if self.phase == "deploy":  # which is exact as single operations only
            return Step(*arguments, ways(False, graph), tqdm.write)
        compiled = self.computer.compile
        if compiled is None:
            compiled = self.compiled.get(kind)
        if compiled is None:
            step = Step(*arguments, ways(False, graph=False), tqdm.write)
            compiled = kind == "cuda" or (alone and step.compiling_pays(indices, steps))
        self.compiled[kind] = compiled
        self.computer = replace(self.computer, compile=compiled)
        return Step(*arguments, ways(compiled, graph), tqdm.write)

    def _state(self) -> dict[str, Tensor]:
        """All tensors that a step changes, by name."""
        state = run_files.state(self.optimiser, self.average, self._loss_sum)
        return state | {f"model.{name}": value for name, value in self.model.state_dict().items()}

    def _train_epoch(self, bar: tqdm, stop: Callable[[], bool]) -> bool:
        """Train the steps that are left of this epoch. Returns False if ``stop()`` ended it early."""
        recipe, world = self.recipe, self.computer.world
        shuffle = generator(torch.device("cpu"), recipe.seed, self.epoch)
        order = torch.randperm(len(self.train_split), generator=shuffle).to(self.device)
        order = order.repeat(-(-self.steps * self.batch // len(order))).split(self.batch)
        self.model.train()
        saved = time.perf_counter()
        while self.step < self.steps:
            self.advance(order[self.step])
            bar.update(self.batch)
            self.step += 1
            if world.any(stop(), self.device):
                return False
            if time.perf_counter() - saved > SAVE_SECONDS:
                self.save()
                saved = time.perf_counter()
        return True

    def advance(self, batch: Tensor) -> None:
        """Do the next step, with the images at the indices ``batch``."""
        recipe, indices = self.recipe, self.computer.world.shard(batch)
        _, first, epochs = recipe.phase(self.epoch)
        done = (self.epoch - first) * self.steps + self.step
        self._random.manual_seed(seed_of(recipe.seed, self.epoch, self.step, self.computer.world.rank))
        for group in self.optimiser.param_groups:
            group["lr"].fill_(recipe.learning_rate(self.epoch, self.step, self.steps))
        if self.average:
            self.average.begin(done + 1)
        self._step = self._step or self._new_step(indices, epochs * self.steps - done)
        self._step(indices)

    def synchronise(self) -> None:
        """Wait until the device has done all steps."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _train_step(self, indices: Tensor) -> None:
        """One step, which on a GPU waits for nothing: a CUDA graph can be made of it."""
        batch = self.train_split.take(indices)
        loss = self._loss(*self._lesson(batch))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if self.average:
            self.average.update()
        self._loss_sum += loss.detach() * self.batch

    def _lesson(self, batch: TensorSplit) -> tuple[Tensor, Tensor]:
        """The augmented pixels and the targets, which are the probabilities of the classes of each image,
        (B, classes), or the weighted `segmentation.shares` of each token, (B, N, classes).
        """
        if self._class_weights is None:
            pixels = augment(batch.pixels, self.recipe, self._random)
            return mix(pixels, self._one_hot[batch.labels], self.recipe, self._random)
        pixels, masks = segmentation.augment_both(batch.pixels, batch.labels, self.recipe, self._random)
        shares = segmentation.shares(masks, self.model.config.grids[-1], len(self._class_weights))
        return pixels, shares * self._class_weights

    def _loss(self, pixels: Tensor, targets: Tensor) -> Tensor:
        # Deploy mode must be exact, so it has no autocast: a bfloat16 cannot represent its products.
        autocast = self.computer.bfloat16 and self.phase != "deploy"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
            logits = self._forward(pixels).float()
        if self._class_weights is not None:
            return segmentation.loss(logits, targets, self.recipe.label_smoothing)
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        if self.teacher is None:
            return loss
        with (
            torch.no_grad(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.computer.bfloat16),
        ):
            answers = self.teacher(pixels).float()
        weight, temperature = self.recipe.distillation, self.recipe.temperature
        soft = F.cross_entropy(logits / temperature, (answers / temperature).softmax(1)) * temperature**2
        return (1 - weight) * loss + weight * soft

    def _close_epoch(self, last: bool) -> None:
        world = self.computer.world
        world.same_buffers(self.model)
        if self.average:
            world.same_buffers(self.average.model)
        row: dict = {
            "epoch": self.epoch + 1,
            "phase": self.phase,
            "loss": float(self._loss_sum) / (self.steps * self.batch),
        }
        self.history.append(world.from_first(lambda: row | self.validate()))
        row = self.history[-1]
        if self.average and last and row["validation_average"] >= row["validation"]:
            self.model.load_state_dict(self.average.model.state_dict())
        self._clock()
        self.seconds.append(round(self.spent, 1))
        self.epoch, self.step, self.spent = self.epoch + 1, 0, 0.0
        self._loss_sum.zero_()

    def validate(self) -> dict[str, float]:
        """The accuracies on the validation images, of the weights and of their average."""
        split = self.data.validation
        # Other batches than those that the blocks were compiled for.
        with torch.compiler.set_stance("force_eager"):
            scores = {"validation": accuracy(self.model, split)}
            if self.average:
                scores["validation_average"] = accuracy(self.average.model, split)
        if self.phase == "deploy" and self.device.type != "cpu":
            check_exact(self.model, on_device(split).pixels[:16])
        return scores

    def _clock(self) -> None:
        now = time.perf_counter()
        self.spent, self._since = self.spent + now - self._since, now

    def save(self) -> None:
        """Write `training.safetensors` and, at the end of an epoch, `log.csv` and `curve.png`."""
        self._clock()
        if not self.computer.world.first:
            return
        extra = run_files.pack(run_files.state(self.optimiser, self.average, self._loss_sum))
        facts = {name: getattr(self, name) for name in (*self._FACTS, "compiled")}
        checkpoint.save(self.state_file, self.model, extra=extra, recipe=asdict(self.recipe), **facts)
        if self.history and self.step == 0:
            run_files.write_log(self.folder / "log.csv", self.history, self.seconds, len(self.train_split))
            figures.curve(self.history, self.folder / "curve.png")

    def resume(self) -> None:
        """Continue from the state that `save` wrote; raises `CheckpointError`."""
        model, extra, facts = checkpoint.read(self.state_file)
        if model.config.name != self.model.config.name:
            raise checkpoint.CheckpointError(f"{self.folder} holds a run of preset {model.config.name!r}")
        try:
            recipe = Recipe(**facts.pop("recipe"))
            run_files.check_progress(self.state_file, facts, recipe.total, recipe.steps or MOST_STEPS)
            self._check_inputs(facts["inputs"])
            self.recipe = recipe
            self._begin(model, facts["phase"])
            for name in self._FACTS:
                setattr(self, name, facts[name])
            self.compiled = facts.get("compiled", {})
            run_files.unpack(extra, self.optimiser, self.average, self._loss_sum)
        except checkpoint.CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise checkpoint.CheckpointError(f"{self.state_file}: of another version ({error})") from None

    def _check_inputs(self, saved: dict[str, str]) -> None:
        """Raise `CheckpointError` unless data and teacher are those that the run began with."""
        for name, what in (("data", "other training images"), ("teacher", "another teacher, or none")):
            if saved.get(name) != self.inputs.get(name):
                raise checkpoint.CheckpointError(f"{self.folder} holds a run that began with {what}")
