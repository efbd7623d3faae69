"""`python -m models.train --preset digits`: train a DIDB-ViT, float phase first, then deploy mode.

The run lives in one folder: `training.safetensors` (written every minute and after every epoch; `--resume`
goes on from it and reaches the same end to the bit), `float.safetensors` (what entered deploy mode),
`model.safetensors` (finished, binary weights packed), `log.csv` and `card.json`.
"""

import argparse
import shlex
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import torch

from . import cli
from .card import NotExact, finish
from .config import override, preset
from .data import load
from .recipe import RECIPES, RecipeError
from .run import Run


class Stop:
    """Whether to stop: after so many minutes, or on Ctrl-C or SIGTERM (a second one stops at once)."""

    def __init__(self, minutes: float | None):
        self.end = None if minutes is None else time.monotonic() + 60 * minutes
        self.why: str | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, _frame: object) -> None:
        self.why = "interrupted"
        signal.signal(number, signal.default_int_handler)

    def __call__(self) -> bool:
        if self.end is not None and time.monotonic() > self.end:
            self.why = self.why or "time is up"
        return self.why is not None


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models.train", description="Train a DIDB-ViT.")
    parser.add_argument("--preset", required=True, help=f"which network: {', '.join(RECIPES)}")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="images to learn from: a folder, or a tar of one"
    )
    parser.add_argument("--images", type=int, metavar="N", help="learn from the first N training images only")
    parser.add_argument("--epochs", type=int, help="of the float phase")
    parser.add_argument("--deploy-epochs", type=int, help="of deploy mode after it")
    parser.add_argument("--lr", type=float, help="peak learning rate of the float phase")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument("--seed", type=int)
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)"
    )
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/PRESET)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--minutes", type=float, help="stop after that time; --resume goes on")
    parser.add_argument(
        "--publish", type=Path, metavar="DIR", help="copy the finished model and its card there"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    with cli.one_line_errors(arguments.verbose, RecipeError, failures=(NotExact,)):
        stop = Stop(arguments.minutes)
        run = _open_run(arguments)
        if not run.train(stop):
            where = f"{stop.why} in epoch {run.epoch + 1} of {run.recipe.total}, all of it saved"
            message = f"{where}; go on with: {_command_to_resume(arguments)}"
            if stop.why == "interrupted":
                raise cli.UsageError(message)
            print(message)
            return
        card = finish(run)
        print(
            f"{run.folder / 'model.safetensors'}:",
            ", ".join(f"{k} {v:.2%}" for k, v in card["accuracy"].items()),
        )
        if arguments.publish:
            arguments.publish.mkdir(parents=True, exist_ok=True)
            for name in ("model.safetensors", "card.json"):
                shutil.copy(run.folder / name, arguments.publish / name)


def _command_to_resume(arguments: argparse.Namespace) -> str:
    words = ["python", "-m", "models.train", "--preset", arguments.preset]
    for name in ("data", "images", "out", "minutes", "publish"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join([*words, "--resume"])


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise cli.UsageError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return device


_RECIPE_OPTIONS = ("epochs", "deploy_epochs", "lr", "batch", "seed")


def _open_run(arguments: argparse.Namespace) -> Run:
    """A new run or, with --resume, the one in the folder."""
    config = override(preset(arguments.preset), arguments.set)
    if config.name not in RECIPES:
        raise cli.UsageError(f"no recipe for preset {config.name!r} yet: there are {', '.join(RECIPES)}")
    given = {name: getattr(arguments, name) for name in _RECIPE_OPTIONS}
    given = {key: value for key, value in given.items() if value is not None}
    recipe = replace(RECIPES[config.name], **given)
    if recipe.deploy_epochs < 1:
        raise cli.UsageError("deploy mode needs at least one epoch")
    if arguments.resume and (given or arguments.set):
        raise cli.UsageError("--resume goes on with the run's own settings: leave out what changes them")
    device = _device(arguments.device)
    data = load(config, arguments.data)
    if arguments.images is not None:
        data = replace(data, train=data.train.take(torch.arange(min(arguments.images, len(data.train)))))
    if config.placeholder_classes:
        config = config.with_(classes=data.classes)
    settings = [f"--set={setting}" for setting in arguments.set]
    settings += ["--data=DIR"] if arguments.data else []
    settings += [f"--images={arguments.images}"] if arguments.images else []
    settings += [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
    command = shlex.join(["python", "-m", "models.train", "--preset", config.name, *settings])
    run = Run(config, recipe, data, arguments.out or Path("runs") / config.name, command, device)
    if arguments.resume:
        run.resume()
    elif run.state_file.exists():
        raise cli.UsageError(f"{run.folder} holds a run: {_command_to_resume(arguments)} goes on with it")
    return run


if __name__ == "__main__":
    main()
