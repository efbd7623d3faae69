"""`haarlequin train --preset digits`: train a DIDB-ViT, float phase first, then deploy mode.

A run has a folder of its own, which holds `training.safetensors` (written every minute and after every epoch;
`--resume` continues from it and ends with exactly the same bits), `float.safetensors` (the model that entered
deploy mode), `log.csv` and `curve.png`. A finished run also has `model.safetensors` (with its binary weights
packed), `model.onnx` (the golden model of it), `card.json` and `confusion.png`.

The same command trains teachers. Under `torchrun` several processes work on one run.
"""

import argparse
import shlex
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.data import DataSet, load
from haarlequin.models.network import checkpoint
from haarlequin.models.network.didb_vit import DIDBViT
from haarlequin.models.network.segmenter import SEGMENTERS
from haarlequin.models.network.teacher import TEACHERS, Teacher, TeacherConfig
from haarlequin.models.presets import override, preset
from haarlequin.models.training.card import FILES, NotExact, finish
from haarlequin.models.training.computer import SWITCH, Computer, DeviceDiffers, open_device
from haarlequin.models.training.distributed import join, leave
from haarlequin.models.training.grow import grown
from haarlequin.models.training.plan import Deadline, plan
from haarlequin.models.training.recipe import RECIPES, Recipe
from haarlequin.models.training.run import Run
from haarlequin.models.training.speed import Speed, measure
from haarlequin.models.training.step import WORTH_TRYING

REAL_VALUED = TEACHERS | SEGMENTERS
"""Networks without binary weights."""

_RECIPE_OPTIONS = ("stages", "epochs", "deploy_epochs", "steps", "batch", "lr", "seed")
_MEASURED, _ENOUGH = 0.02, 60.0
"""Proportion of the time of --within for which each phase is measured, and seconds that are enough for it."""


class Stop:
    """Whether to stop: after so many minutes, on Ctrl-C or on SIGTERM. A second signal stops at once."""

    def __init__(self, minutes: float | None):
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self.why: str | None = None
        self._before = {n: signal.signal(n, self._interrupt) for n in (signal.SIGINT, signal.SIGTERM)}

    def _interrupt(self, number: int, _frame: object) -> None:
        self.why = "interrupted"
        signal.signal(number, signal.default_int_handler)

    def restore(self) -> None:
        """Restore the signal handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        if self.end is not None and time.monotonic() > self.end:
            self.why = self.why or "time is up"
        return self.why is not None


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="haarlequin train", description="Train a DIDB-ViT or a teacher.")
    option = parser.add_argument
    option("--preset", required=True, help=f"which network: {', '.join(RECIPES)}")
    option("--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration")
    option(
        "--data",
        type=Path,
        metavar="DIR",
        help="images to learn from: a folder, a tar of one, CIFAR's archives",
    )
    option("--images", type=int, metavar="N", help="learn from, and validate on, N images only")
    option("--teacher", type=Path, metavar="CKPT", help="distil from this full-precision network")
    option(
        "--from", type=Path, dest="start", metavar="CKPT", help="begin with another run's float.safetensors"
    )
    option(
        "--grow",
        type=Path,
        metavar="CKPT",
        help="begin with what fits of a smaller network's float.safetensors",
    )
    option("--stages", type=int, help="1: binary from the start; 2: real weights first")
    option("--epochs", type=int, help="of the float phase, both stages together")
    option("--deploy-epochs", type=int, help="of deploy mode after it")
    option("--steps", type=int, help="of an epoch (default: as many as take every image once)")
    option("--batch", type=int, help="images per step, of all processes together")
    option("--lr", type=float, help="peak learning rate of the float phase")
    option(
        "--recipe",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change another number of the recipe: shift=4",
    )
    option("--seed", type=int)
    option("--device", default="auto", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)")
    option(
        "--bf16", choices=("auto", "on", "off"), default="auto", help="bfloat16 autocast; auto: only on a GPU"
    )
    option(
        "--compile",
        choices=tuple(SWITCH),
        default="auto",
        help="torch.compile, except in deploy mode; auto: on a GPU, and on a CPU where it is faster",
    )
    option("--out", type=Path, help="folder of the run (default: runs/PRESET)")
    option("--resume", action="store_true", help="go on with the run in that folder")
    option("--minutes", type=float, help="stop after that time; --resume goes on")
    option("--within", type=float, metavar="MINUTES", help="plan as many steps as end within that time")
    option("--publish", type=Path, metavar="DIR", help="copy the finished model and its card there")
    option("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    begin = time.monotonic()
    with one_line_errors(arguments.verbose, failures=(NotExact, DeviceDiffers)):
        world, device = join(open_device(arguments.device))
        stop = Stop(arguments.minutes)
        try:
            bfloat16 = arguments.bf16 == "on" or (arguments.bf16 == "auto" and device.type == "cuda")
            computer = Computer(device, world, bfloat16, SWITCH[arguments.compile])
            run = _open_run(arguments, computer, begin)
            finished = run.train(stop)
            if world.first:
                _report(arguments, run, finished, stop)
        except KeyboardInterrupt:
            raise UsageError(f"stopped at once; go on with: {_command_to_resume(arguments)}") from None
        finally:
            stop.restore()
            leave(world)


def _report(arguments: argparse.Namespace, run: Run, finished: bool, stop: Stop) -> None:
    """Write the card of a finished run and publish it, or say how to continue."""
    if not finished:
        where = f"{stop.why} in epoch {run.epoch + 1} of {run.recipe.total}, all of it saved"
        message = f"{where}; go on with: {_command_to_resume(arguments)}"
        if stop.why == "interrupted":
            raise UsageError(message)
        print(message)
        return
    card = finish(run)
    print(
        f"{run.folder / 'model.safetensors'}:", ", ".join(f"{k} {v:.2%}" for k, v in card["accuracy"].items())
    )
    if arguments.publish:
        arguments.publish.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (run.folder / name).exists():
                shutil.copy(run.folder / name, arguments.publish / name)


def _command_to_resume(arguments: argparse.Namespace) -> str:
    words = ["haarlequin", "train", "--preset", arguments.preset]
    for name in ("data", "images", "teacher", "out", "minutes", "publish"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += [f"--device={arguments.device}"] if arguments.device != "auto" else []
    words += [f"--bf16={arguments.bf16}"] if arguments.bf16 != "auto" else []
    words += [f"--compile={arguments.compile}"] if arguments.compile != "auto" else []
    return shlex.join([*words, "--resume"])


def _open_run(arguments: argparse.Namespace, computer: Computer, begin: float) -> Run:
    """A new run or, with --resume, the one in the folder. The time of --within counts from ``begin``."""
    name = arguments.preset
    config = override(REAL_VALUED[name] if name in REAL_VALUED else preset(name), arguments.set)
    given = {option: getattr(arguments, option) for option in _RECIPE_OPTIONS}
    given = {key: value for key, value in given.items() if value is not None}
    recipe = _recipe(name, config, given, arguments.recipe)
    changed = given or arguments.recipe or arguments.set
    if arguments.resume and (changed or arguments.start or arguments.grow or arguments.within):
        raise UsageError("--resume goes on with the run's own settings: leave out what changes them")
    if arguments.within is not None and (arguments.minutes or computer.world.size > 1):
        raise UsageError("--within is for one process, and without --minutes")
    if arguments.within is not None and arguments.within <= 0:
        raise UsageError(f"--within must be more than 0 minutes, not {arguments.within:g}")
    if arguments.batch and arguments.batch < computer.world.size:
        raise UsageError(f"a batch of {arguments.batch} cannot be shared by {computer.world.size} processes")
    data = open_data(config, arguments.data, arguments.images, takes_own_classes(arguments.set))
    config = replace(config, classes=data.classes)
    teacher = _teacher(arguments.teacher, config)
    folder = arguments.out or Path("runs") / config.name
    if arguments.start and arguments.grow:
        raise UsageError("--from and --grow both say what to begin with: leave one out")
    start = _start(arguments.start, config) or _grown(arguments.grow, config, recipe.seed)
    if not arguments.resume and (folder / "training.safetensors").exists():
        raise UsageError(f"{folder} holds a run: {_command_to_resume(arguments)} goes on with it")
    speeds: dict[str, Speed] = {}
    if arguments.within:
        trial = config, recipe, data, computer, teacher
        recipe, computer, speeds = _planned(*trial, 60 * arguments.within, begin)
        given |= {name: getattr(recipe, name) for name in ("epochs", "deploy_epochs", "steps")}
    run = Run(config, recipe, data, folder, _command(arguments, given), computer, teacher, start)
    if arguments.within:
        run.deadline = Deadline(begin + 60 * arguments.within, speeds)
    if arguments.resume:
        run.resume()
    return run


def _planned(
    config: ModelConfig | TeacherConfig,
    recipe: Recipe,
    data: DataSet,
    computer: Computer,
    teacher: Teacher | None,
    seconds: float,
    begin: float,
) -> tuple[Recipe, Computer, dict[str, Speed]]:
    """The recipe that ends ``seconds`` after ``begin``, how the computer is used, and the speeds measured."""
    if computer.compile is None and computer.device.type == "cpu" and seconds < 2 * WORTH_TRYING:
        computer = replace(computer, compile=False)
    print("measuring how fast each phase runs here, to plan the schedule", flush=True)
    with TemporaryDirectory() as folder:
        trial = Run(config, recipe, data, Path(folder), computer=computer, teacher=teacher)
        natural = trial.steps
        speeds = measure(trial, min(_ENOUGH, seconds * _MEASURED))
    recipe = plan(recipe, seconds - (time.monotonic() - begin), speeds, natural)
    rates = ", ".join(f"{recipe.batch / speed.step:.0f} images/s in {name}" for name, speed in speeds.items())
    print(
        f"{rates}: {recipe.epochs} + {recipe.deploy_epochs} epochs of {recipe.steps} steps, "
        f"to end within {seconds / 60:g} minutes",
        flush=True,
    )
    return recipe, trial.computer, speeds


def takes_own_classes(settings: Sequence[str]) -> bool:
    """Whether a network gets the classes of its data set, because no setting names other ones."""
    return not any(setting.startswith("classes=") for setting in settings)


def _recipe(name: str, config: ModelConfig | TeacherConfig, given: dict, settings: Sequence[str]) -> Recipe:
    """The recipe of a preset, changed by options of their own and by `KEY=VALUE` settings."""
    recipe = override(replace(RECIPES[name], **given), settings)
    if isinstance(config, TeacherConfig) and (recipe.deploy_epochs or recipe.stages == 2):
        raise UsageError("a teacher has neither a second stage nor a deploy mode")
    if isinstance(config, ModelConfig):
        config.check_deployable()
    if isinstance(config, ModelConfig) and recipe.deploy_epochs < 1:
        raise UsageError("deploy mode needs at least one epoch")
    return recipe


def open_data(
    config: ModelConfig | TeacherConfig,
    folder: Path | None,
    images: int | None = None,
    own_classes: bool = False,
) -> DataSet:
    """The data set that a network is trained on, with at most ``images`` images for training and as many for
    validation. ``own_classes`` is that of `models.data.load`.
    """
    data = load(config, folder, own_classes)
    if images is None:
        return data
    if images < 1:
        raise UsageError(f"--images must be at least 1, not {images}")
    train, validation = (
        split.take(np.arange(min(images, len(split)))) for split in (data.train, data.validation)
    )
    return replace(data, train=train, validation=validation)


def _teacher(path: Path | None, config: ModelConfig | TeacherConfig) -> Teacher | None:
    """The teacher to distil from. Its image size, channels and classes must be those of ``config``."""
    if path is None:
        return None
    teacher = checkpoint.load_teacher(path)
    for name in ("image", "channels", "classes"):
        if getattr(teacher.config, name) != getattr(config, name):
            raise UsageError(f"{path} cannot teach {config.name}: it has another {name}")
    return teacher


def _start(path: Path | None, config: ModelConfig | TeacherConfig) -> DIDBViT | Teacher | None:
    """The network to start from. It must have the same configuration and be in its float phase."""
    if path is None:
        return None
    start = checkpoint.read(path)[0]
    if start.config != config:
        raise UsageError(f"{path} holds {start.config.name}, configured otherwise than {config.name} here")
    if start.deployed:
        raise UsageError(f"{path} is in deploy mode for good: give its run's float.safetensors")
    return start


def _grown(path: Path | None, config: ModelConfig | TeacherConfig, seed: int) -> DIDBViT | None:
    """The network to start from, with what fits of the one in ``path``, which is in its float phase."""
    if path is None:
        return None
    torch.manual_seed(seed)  # of what is untrained
    source = checkpoint.read(path)[0]
    if isinstance(config, TeacherConfig) or not isinstance(source, DIDBViT):
        raise UsageError("--grow is for binary networks: a teacher has none to begin with")
    if source.deployed:
        raise UsageError(f"{path} is in deploy mode for good: give its run's float.safetensors")
    return grown(config, source)


def _command(arguments: argparse.Namespace, given: dict) -> str:
    """The command that repeats the run, for its card. Paths of this computer are left out."""
    words = ["haarlequin", "train", "--preset", arguments.preset]
    words += [f"--set={setting}" for setting in arguments.set]
    words += ["--data=DIR"] if arguments.data else []
    words += [f"--images={arguments.images}"] if arguments.images else []
    words += ["--teacher=CKPT"] if arguments.teacher else []
    words += ["--from=CKPT"] if arguments.start else []
    words += ["--grow=CKPT"] if arguments.grow else []
    words += [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    words += [f"--recipe={setting}" for setting in arguments.recipe]
    return shlex.join(words)
