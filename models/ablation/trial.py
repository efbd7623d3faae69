"""One cell of the ablation's grid, trained with one seed, and the result that is kept of it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from haarlequin.models.ablation.grid import Cell
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import replacing
from haarlequin.models.config import ModelConfig
from haarlequin.models.data import DataSet
from haarlequin.models.network import checkpoint
from haarlequin.models.training import run_files
from haarlequin.models.training.card import hardware, validation
from haarlequin.models.training.computer import Computer
from haarlequin.models.training.recipe import MOST_STEPS, Recipe
from haarlequin.models.training.run import Run


@dataclass(frozen=True)
class Trial:
    """A cell, the recipe that trains it, which also has the seed, and a folder for this trial alone.

    The folder of a finished trial holds `result.json`, `log.csv` and `curve.png`. `result.json` appears only
    when the trial is finished, and never in part. Until then the folder holds the state of the run, from
    which it goes on.
    """

    cell: Cell
    recipe: Recipe
    folder: Path

    @property
    def seed(self) -> int:
        """The seed of the weights, of the order of the images, and of augmentation."""
        return self.recipe.seed

    @property
    def name(self) -> str:
        """The cell and the seed, as messages name the trial."""
        return f"{self.cell.name}, seed {self.seed}"

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in which it is compared."""
        return self.cell.phases if self.recipe.deploy_epochs else ("float",)

    @property
    def result_file(self) -> Path:
        """The file that holds the result."""
        return self.folder / "result.json"

    @property
    def _state_file(self) -> Path:
        return self.folder / "training.safetensors"

    def progress(self) -> tuple[int, int]:
        """(whole epochs, steps of the epoch after them) that were trained before an interruption. Raises
        `CheckpointError` where the state does not say that.
        """
        if not self._state_file.exists():
            return 0, 0
        _, _, facts = checkpoint.read(self._state_file)
        run_files.check_progress(self._state_file, facts, self.recipe.total, self.recipe.steps or MOST_STEPS)
        return facts["epoch"], facts["step"]

    def result(self, inputs: dict[str, str]) -> dict | None:
        """The result, or None if the trial is not finished. Raises `UsageError` if the result was made with
        other settings or other training images, whose hashes ``inputs`` has (`Run.inputs`).
        """
        try:
            found = json.loads(self.result_file.read_text(encoding="utf-8"))
            config = ModelConfig.from_json(json.dumps(found["config"]))
            self._check(config, Recipe(**found["recipe"]), found["inputs"] == inputs)
            found["accuracy"] = {phase: float(found["accuracy"][phase]) for phase in self.phases}
            return found
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise UsageError(f"{self.result_file} is damaged: delete it") from None

    def train(
        self,
        data: DataSet,
        computer: Computer,
        stop: Callable[[], bool],
        advance: Callable[[int], None],
    ) -> bool:
        """Train the steps that are still missing, and return whether the trial is finished. After every step,
        ``advance(1)`` counts it for a progress bar, and ``stop()`` says whether to stop.
        """
        run = Run(self.cell.config, self.recipe, data, self.folder, computer=computer)
        if self._state_file.exists():
            run.resume()
            self._check(run.model.config, run.recipe)

        def after_a_step() -> bool:
            advance(1)
            return stop()

        if not run.train(after_a_step, quiet=True):
            return False
        self._keep(run)
        return True

    def _check(self, config: ModelConfig, recipe: Recipe, same_inputs: bool = True) -> None:
        if not (config == self.cell.config and recipe == self.recipe and same_inputs):
            raise UsageError(
                f"{self.folder} was trained with other settings or images: choose another --out, or delete it"
            )

    def _keep(self, run: Run) -> None:
        result = {
            "cell": self.cell.name,
            "seed": self.seed,
            "accuracy": validation(run.history),
            "images": {"train": len(run.data.train), "validation": len(run.data.validation)},
            "seconds": round(sum(run.seconds)),
            "hardware": hardware(run),
            "inputs": run.inputs,
            "recipe": asdict(self.recipe),
            "config": self.cell.config.to_dict(),
        }
        with replacing(self.result_file) as draft:
            draft.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        # Both are only for going on with a run, and this one is finished.
        for path in (self._state_file, self.folder / "float.safetensors"):
            path.unlink(missing_ok=True)
