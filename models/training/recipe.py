"""How each preset is trained: `Recipe`, its phases, and the learning rate at every step."""

import math
from dataclasses import dataclass, fields, replace

from haarlequin.models.common.errors import UsageError


class RecipeError(UsageError, ValueError):
    """A recipe that cannot be followed; the message says what was expected and what came."""


MOST_STEPS = 10**9
"""Steps of an epoch at most."""


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained. Values that cannot be used raise `RecipeError`."""

    epochs: int = 150
    """Epochs of the float phase, with batch statistics in BatchNorm and real constants."""
    deploy_epochs: int = 40
    """Epochs of deploy mode after it, in the integer arithmetic."""
    steps: int = 0
    """Steps of an epoch; 0 is as many as take every image once."""
    batch: int = 64
    """Images of a step. Binary weights learn by the number of steps more than by that of the images."""
    lr: float = 4e-3
    deploy_lr: float = 3e-4
    weight_decay: float = 0.05
    warmup: float = 0.05
    """Proportion of each phase in which the learning rate rises; a cosine then takes it to zero."""
    label_smoothing: float = 0.1
    shift: int = 1
    """Images are moved by up to this many pixels, which crops them."""
    flip: bool = False
    """Whether half of the images are mirrored."""
    ops: int = 0
    """Number of random operations on each image, as in RandAugment."""
    magnitude: float = 0.3
    """Largest strength of these operations, 0 to 1."""
    mixup: float = 0.0
    """Parameter of the beta distribution by which two images are blended; 0 is off."""
    cutmix: float = 0.0
    """The same for a rectangle of one image in another; with both, a coin decides for each image."""
    balanced: bool = False
    """Whether the masks of a segmentation network count rare classes more, by 1/√ of their frequency."""
    ema: float = 0.0
    """Decay per step of a moving average of the weights, which replaces them at the end of a phase if its
    validation accuracy is as good or better; 0 is off."""
    stages: int = 1
    """1: weights are binary from the start. 2: they are real numbers in the first half of the epochs."""
    distillation: float = 0.9
    """Weight of the teacher's answers in the loss, 0 to 1, where there is a teacher."""
    temperature: float = 1.0
    """Temperature of the softmax in distillation, for the teacher and the student."""
    seed: int = 0

    def __post_init__(self):
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise RecipeError(f"{field.name} must be of type {kind.__name__}, not {value!r:.120}")
        limits: dict[str, tuple[float, float]]
        limits = {
            "epochs": (1, 1e6),
            "deploy_epochs": (0, 1e6),
            "steps": (0, MOST_STEPS),
            "batch": (1, 1e6),
            "stages": (1, 2),
        }
        limits |= {
            "label_smoothing": (0, 0.99),
            "distillation": (0, 1),
            "magnitude": (0, 1),
            "ema": (0, 0.99999),
        }
        limits |= {"lr": (0, 10), "deploy_lr": (0, 10), "weight_decay": (0, 10), "temperature": (0.01, 100)}
        limits |= {"warmup": (0, 1), "mixup": (0, 100), "cutmix": (0, 100), "shift": (0, 1e3), "ops": (0, 16)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise RecipeError(f"{name} must lie within {low} to {high:g}, not {value!r}")
        if self.stages == 2 and self.epochs < 2:
            raise RecipeError("two stages need two epochs")

    def phases(self) -> list[tuple[str, int]]:
        """The phases and how many epochs each has: `real` weights, `float`, `deploy`."""
        real = self.epochs // 2 if self.stages == 2 else 0
        phases = [("real", real), ("float", self.epochs - real), ("deploy", self.deploy_epochs)]
        return [(name, epochs) for name, epochs in phases if epochs]

    def phase(self, epoch: int) -> tuple[str, int, int]:
        """(name, first epoch, epochs) of the phase that an epoch, counted from 0, is in."""
        first = 0
        for name, epochs in self.phases():
            if epoch < first + epochs:
                return name, first, epochs
            first += epochs
        raise IndexError(f"the recipe has {first} epochs, there is no epoch {epoch}")

    @property
    def total(self) -> int:
        """Epochs of all phases."""
        return self.epochs + self.deploy_epochs

    def learning_rate(self, epoch: int, step: int, steps: int) -> float:
        """The learning rate at a step of an epoch that has ``steps`` steps."""
        name, first, epochs = self.phase(epoch)
        peak = self.deploy_lr if name == "deploy" else self.lr
        return learning_rate((epoch - first) * steps + step, epochs * steps, peak, self.warmup)


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up to ``peak``, then a cosine to zero at ``steps``."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


# For two cores, where an epoch of CIFAR-10 takes minutes. Few epochs with light augmentation use them best.
_SHORT = Recipe(
    epochs=20,
    deploy_epochs=2,
    deploy_lr=2e-4,
    label_smoothing=0.0,
    shift=2,
    flip=True,
    ema=0.998,
)

# Networks in stages learn from more epochs than those on patches do.
_STAGED = replace(_SHORT, epochs=40, deploy_epochs=3, batch=64)

# 367 images: many epochs of few steps.
_CAMVID = replace(_SHORT, epochs=150, deploy_epochs=20, batch=16, lr=2e-3, shift=4, balanced=True)

# For a full-precision network on a GPU, where there is time enough to overfit.
_TEACHER = Recipe(
    epochs=200,
    deploy_epochs=0,
    batch=128,
    lr=2e-3,
    shift=4,
    flip=True,
    ops=1,
    cutmix=1.0,
    ema=0.999,
)

RECIPES = {
    "digits": Recipe(),
    "cifar10-nano": _SHORT,
    "cifar10-tiny": _SHORT,
    # Learning rate and distillation are those of the paper, whose batch is twice as large. It is for one GPU
    # or several.
    "deit-tiny-224": Recipe(
        epochs=300,
        deploy_epochs=10,
        batch=128,
        lr=1e-3,
        deploy_lr=1e-4,
        shift=28,
        flip=True,
        ops=2,
        mixup=0.8,
        cutmix=1.0,
        ema=0.9999,
    ),
    "cifar10-hybrid": _STAGED,
    "cifar10-hybrid-large": _STAGED,
    "cifar10-pyramid": _STAGED,
    "cifar10-windows": _STAGED,
    "cifar10-convolutions": _STAGED,
    "cifar10-plain": _STAGED,
    "camvid-16x12": _CAMVID,
    "camvid-8x6": _CAMVID,
    "camvid-real": replace(_CAMVID, deploy_epochs=0),
    "teacher-cifar10": _TEACHER,
    "teacher-cifar10-small": replace(_TEACHER, epochs=20, lr=4e-3, ops=0, cutmix=0.0),
}
"""The recipe of each preset, before the options of the command line."""
