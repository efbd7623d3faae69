"""`haarlequin ablate --preset digits --epochs 30 --seeds 3`: which parts of the network help.

Trains the grid of `models.ablation.grid`, each cell with each seed on the same images in the same order for
the same number of epochs, and writes `table.md`, `table.csv` and `plot.png` of all that are finished. All
numbers are validation accuracies at the end of a phase. The same command continues where it was stopped.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from haarlequin.models.ablation.grid import BASELINES, PARTS, PILOTS, choose
from haarlequin.models.ablation.networks import CostOf
from haarlequin.models.ablation.study import Study
from haarlequin.models.ablation.trial import Trial
from haarlequin.models.ablation.workers import at_once, one_by_one
from haarlequin.models.common.cli import one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.data import DataSet
from haarlequin.models.presets import PRESETS, override, preset
from haarlequin.models.training.computer import SWITCH, Computer, open_device
from haarlequin.models.training.recipe import RECIPES, Recipe
from haarlequin.models.training.train import Stop, open_data, takes_own_classes


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="haarlequin ablate",
        description="Train variants of a network alike and compare them. The same command goes on where it "
        "was stopped.",
    )
    option = parser.add_argument
    option("--preset", required=True, help=f"which network: {', '.join(PRESETS)}")
    option(
        "--grid",
        choices=(PARTS, PILOTS, BASELINES),
        default=PARTS,
        help="what to compare: parts of the network, networks of other stages, ways of other papers",
    )
    option("--set", action="append", default=[], metavar="KEY=VALUE", help="change the network of all cells")
    option("--data", type=Path, metavar="DIR", help="images to learn from, as for haarlequin train")
    option("--images", type=int, metavar="N", help="learn from, and validate on, N images only")
    option("--epochs", type=int, help="of the float phase (default: the preset's)")
    option(
        "--deploy-epochs",
        type=int,
        help="of deploy mode (default: in the preset's proportion); 0 compares the float phase only",
    )
    option("--batch", type=int, help="images per step (default: the preset's)")
    option("--seeds", type=int, default=3, help="train each cell with seeds 0 to this (default: %(default)s)")
    option("--only", nargs="+", metavar="CELL", help="train these cells only: full, no-diba, …")
    option("--jobs", type=int, default=1, help="train this many at once (default: %(default)s)")
    option("--device", default="auto", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)")
    option(
        "--compile",
        choices=tuple(SWITCH),
        default="auto",
        help="torch.compile, except in deploy mode; auto: on a GPU, and on a CPU where it is faster",
    )
    option("--minutes", type=float, help="stop after that time")
    option("--out", type=Path, help="folder of the results (default: runs/ablate/PRESET)")
    option("--report", action="store_true", help="train nothing: write the table of what is finished")
    option("-v", "--verbose", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def run(argv: list[str] | None = None, cost_of: CostOf | None = None) -> None:
    """Do what the command line asks for. In tables of whole networks, ``cost_of`` says what each costs."""
    arguments = _arguments(argv)
    with one_line_errors(arguments.verbose):
        if arguments.jobs < 1 or arguments.seeds < 1:
            raise UsageError("--jobs and --seeds must be at least 1")
        config = override(preset(arguments.preset), arguments.set)
        config.check_deployable()
        recipe = _recipe(arguments)
        device = open_device(arguments.device)
        computer = Computer(device, bfloat16=device.type == "cuda", compile=SWITCH[arguments.compile])
        # Other processes read the data, too, with this configuration, whose classes have no names yet.
        own_classes = takes_own_classes(arguments.set)
        read = partial(open_data, config, arguments.data, arguments.images, own_classes)
        data = read()
        config = replace(config, classes=data.classes)
        folder = arguments.out or _folder(config.name, arguments.grid)
        command = _command(arguments, recipe)
        study = Study(config, arguments.grid, recipe, arguments.seeds, data, command, folder, cost_of)
        trials = study.trials(choose(config, arguments.only, arguments.grid))
        if arguments.report or _train(study, trials, arguments, computer, read):
            print(study.report(), end="")


def _folder(name: str, grid: str) -> Path:
    return Path("runs") / "ablate" / (name if grid == PARTS else f"{name}-{grid}")


def _train(
    study: Study,
    trials: Sequence[Trial],
    arguments: argparse.Namespace,
    computer: Computer,
    read: Callable[[], DataSet],
) -> bool:
    """Train all that is not finished. Returns whether time was enough; raises `UsageError` on Ctrl-C."""
    done = study.results(trials)
    left = [trial for trial in trials if trial not in done]
    again = f"go on with: {_command_to_go_on(arguments)}"
    batches = -(-len(study.data.train) // study.recipe.batch)
    steps = 0
    for trial in left:
        epoch, step = trial.progress()
        steps += (trial.recipe.total - epoch) * batches - step
    # As often as a person, or a log, wants to read it. The estimate is over all steps, because phases differ.
    interval = 0.5 if sys.stderr.isatty() else 60
    count = len(done)
    stop = Stop(arguments.minutes)
    try:
        with tqdm(total=steps, unit=" steps", smoothing=0, miniters=1, mininterval=interval) as bar:
            if arguments.jobs == 1 or len(left) < 2:
                finished = one_by_one(left, study.data, computer, stop, bar.update)
            else:
                jobs = min(arguments.jobs, len(left))
                finished = at_once(left, read, computer, jobs, stop, bar.update)
            for trial in finished:
                count += 1
                bar.write(f"{trial.name}: finished, {count} of {len(trials)}")
    except KeyboardInterrupt:
        raise UsageError(f"stopped at once; {again}") from None
    except BrokenProcessPool:
        raise UsageError(f"a process ended unexpectedly, perhaps for lack of memory; {again}") from None
    finally:
        stop.restore()
    if count == len(trials):
        return True
    message = f"{stop.why}, {count} of {len(trials)} trials finished, all of it saved; {again}"
    if stop.why == "interrupted":
        raise UsageError(message)
    print(message)
    return False


def _words(arguments: argparse.Namespace) -> list[str]:
    """The beginning of the command, which says what is compared."""
    words = ["haarlequin", "ablate", "--preset", arguments.preset]
    words += [f"--grid={arguments.grid}"] if arguments.grid != PARTS else []
    return words + [f"--set={setting}" for setting in arguments.set]


def _command_to_go_on(arguments: argparse.Namespace) -> str:
    words = _words(arguments)
    for name in ("data", "images", "epochs", "deploy_epochs", "batch", "seeds", "jobs", "minutes", "out"):
        if (value := getattr(arguments, name)) is not None:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += [f"--device={arguments.device}"] if arguments.device != "auto" else []
    words += [f"--compile={arguments.compile}"] if arguments.compile != "auto" else []
    words += ["--only", *arguments.only] if arguments.only else []
    return shlex.join(words)


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe of the preset, with the epochs that were asked for."""
    recipe = RECIPES[arguments.preset]
    epochs = recipe.epochs if arguments.epochs is None else arguments.epochs
    deploy_epochs = arguments.deploy_epochs
    if deploy_epochs is None:
        deploy_epochs = max(1, round(epochs * recipe.deploy_epochs / recipe.epochs))
    batch = recipe.batch if arguments.batch is None else arguments.batch
    return replace(recipe, epochs=epochs, deploy_epochs=deploy_epochs, batch=batch)


def _command(arguments: argparse.Namespace, recipe: Recipe) -> str:
    words = _words(arguments)
    words += ["--data=DIR"] if arguments.data else []
    words += [f"--images={arguments.images}"] if arguments.images else []
    words += ["--epochs", str(recipe.epochs), "--deploy-epochs", str(recipe.deploy_epochs)]
    words += ["--batch", str(arguments.batch)] if arguments.batch else []
    return shlex.join([*words, "--seeds", str(arguments.seeds)])
