"""The files of training: the state that a run resumes from, and the result of a trial of an ablation."""

import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from unittest.mock import patch

import numpy as np

from haarlequin.models.ablation.grid import Cell
from haarlequin.models.ablation.trial import Trial
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import ModelConfig
from haarlequin.models.data import DataSet, Split
from haarlequin.models.network import checkpoint
from haarlequin.models.training.recipe import Recipe
from haarlequin.models.training.run import Run
from tests.hostile.engine import Reader, Wrong
from tests.hostile.mutate import damaged_json
from tests.hostile.readers.checkpoints import _SMALL, _Ready, mutate, parted

_RECIPE = Recipe(epochs=2, deploy_epochs=1, batch=2)
_PIXELS = np.zeros((4, 4, 4, 1), np.uint8)
_SPLIT = Split(_PIXELS, np.array([0, 1, 0, 1]))
_DATA = DataSet(_SPLIT, _SPLIT, _SPLIT, ("a", "b"))
