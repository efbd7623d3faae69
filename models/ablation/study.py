"""The whole grid for one preset: its trials, and the report on those that are finished."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from haarlequin.models.ablation import networks
from haarlequin.models.ablation.grid import PARTS, Cell, grid
from haarlequin.models.ablation.plot import plot
from haarlequin.models.ablation.table import PHASES, Row, markdown, pooled_deviation, rows, write_csv
from haarlequin.models.ablation.trial import Trial
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import replacing
from haarlequin.models.config import ModelConfig
from haarlequin.models.data import DataSet
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import inputs


@dataclass(frozen=True)
class Study:
    """The grid for one preset, with everything that its trials have in common."""

    config: ModelConfig
    kind: str
    """The grid: `PARTS`, `PILOTS` or `BASELINES`."""
    recipe: Recipe
    seeds: int
    data: DataSet
    command: str
    """The command that repeats the study, without paths."""
    folder: Path
    cost_of: networks.CostOf | None = None
    """Says what a network costs, for the grids of networks."""

    def trials(self, cells: Sequence[Cell]) -> list[Trial]:
        """Every cell with every seed: first all cells with the first seed, then with the next."""
        return [
            Trial(cell, self._recipe(cell, seed), self.folder / f"{cell.name}-{seed}")
            for seed in range(self.seeds)
            for cell in cells
        ]

    def _recipe(self, cell: Cell, seed: int) -> Recipe:
        deploy_epochs = self.recipe.deploy_epochs if "deploy" in cell.phases else 0
        return replace(self.recipe, seed=seed, deploy_epochs=deploy_epochs)

    def results(self, trials: Sequence[Trial]) -> dict[Trial, dict]:
        """The results of the trials that are finished."""
        began_with = inputs(self.data)
        found = {trial: trial.result(began_with) for trial in trials}
        return {trial: result for trial, result in found.items() if result}

    def report(self) -> str:
        """Write the table and the plot of all finished trials, and return the table. Raises `UsageError`."""
        cells = grid(self.config, self.kind)
        every = self.trials(cells)
        results = list(self.results(every).values())
        if not results:
            raise UsageError(f"nothing is finished in {self.folder} yet")
        table = rows(cells, results)
        if self.kind == PARTS or self.cost_of is None:
            text = f"{markdown(table)}\n{self._caption(table, results, len(every))}\n"
        else:
            images = results[0]["images"]["validation"]
            text = f"{networks.markdown(table, self.cost_of, images)}\n{self._budget(results, len(every))}\n"
            networks.plot(table, self.cost_of, self.folder / "costs.png")
        with replacing(self.folder / "table.md") as draft:
            draft.write_text(text, encoding="utf-8")
        write_csv(table, self.folder / "table.csv")
        plot(table, self.folder / "plot.png")
        return text

    def _budget(self, results: Sequence[dict], wanted: int) -> str:
        """The recipe that all networks share, and how many of them are finished."""
        images, hours = results[0]["images"], sum(result["seconds"] for result in results) / 3600
        steps = -(-images["train"] // self.recipe.batch)
        return (
            f"`{self.command}`: {self.recipe.epochs} epochs of the float phase, {self.recipe.deploy_epochs} "
            f"of deploy mode, {steps:,} steps of {self.recipe.batch} images in each. Accuracy on "
            f"{images['validation']:,} validation images with its 95 % interval.\n"
            f"{len(results)} of {wanted} trials are finished; they took {hours:.1f} hours of processes."
        )

    def _caption(self, table: Sequence[Row], results: Sequence[dict], wanted: int) -> str:
        images = results[0]["images"]
        devices = ", ".join(sorted({result["hardware"]["device"] for result in results}))
        hours = sum(result["seconds"] for result in results) / 3600
        lines = [
            f"`{self.command}`: {self.recipe.epochs} epochs of the float phase, {self.recipe.deploy_epochs} "
            f"of deploy mode, {images['train']:,} training images.",
            f"Accuracy on {images['validation']:,} validation images, one of which is "
            f"{100 / images['validation']:.2g} points: mean ± standard deviation over the seeds.",
            "Against full: mean of the differences seed by seed ± its standard error. A difference is "
            "bold where it is beyond two of its own standard errors, and beyond two pooled over all cells.",
        ]
        pooled = {name: pooled_deviation(table, phase) for phase, name in PHASES.items()}
        known = {name: value for name, value in pooled.items() if value is not None}
        if len(known) == len(pooled):
            errors = [f"{100 * value / self.seeds**0.5:.1f} ({name})" for name, value in known.items()]
            lines.append(f"Pooled, the standard error of {self.seeds} seeds is {', '.join(errors)} points.")
        lines.append(
            f"{len(results)} of {wanted} trials are finished; they took {hours:.1f} hours of processes on "
            f"{devices}."
        )
        return "\n".join(lines)
