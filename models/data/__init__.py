"""Data sets: decoded once into memory as uint8, split into training, validation and test."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from haarlequin.models.config import ModelConfig, preset
from haarlequin.models.data import cifar
from haarlequin.models.data.digits import digits
from haarlequin.models.data.folder import has_images, read_splits
from haarlequin.models.data.split import DataError, DataSet, Split, hold_out

__all__ = ["BUNDLED", "DataError", "DataSet", "Split", "load"]

BUNDLED = ("digits",)
"""Presets whose data set comes with a package; others are on images that a folder must be named for."""


def load(config: ModelConfig | str, folder: Path | None = None, own_classes: bool = False) -> DataSet:
    """The data set that a configuration, or the preset of that name, is trained on; raises `DataError`.

    `digits` comes with scikit-learn. Everything else is read from ``folder``: the official archives of
    CIFAR-10 and CIFAR-100, or images in `train/<class>/` and `test/<class>/`, or tar archives of such; where
    there is no `val/<class>/` beside them, validation images are held out of the training images. Labels
    count through the configuration's classes. Where those are mere placeholders, or have other names and
    ``own_classes`` is asked for, labels count through the data set's own.
    """
    if isinstance(config, str):
        config = preset(config)
    if config.name in BUNDLED:
        if folder:
            raise DataError("digits comes with scikit-learn: leave --data out")
        return digits()
    if folder is None:
        raise DataError(f"{config.name} is trained on images: say where they are with --data DIR")
    if not folder.exists():
        raise DataError(f"{folder}: no such file or folder; --data takes a folder of images or a tar of one")
    if archive := cifar.find(folder):
        train, test, classes = cifar.read_splits(archive, config.image, config.channels)
        found = hold_out(train, test, classes)
    elif has_images(folder):
        train, validation, test, classes = read_splits(folder, config.image, config.channels)
        found = DataSet(train, validation, test, classes) if validation else hold_out(train, test, classes)
    else:
        raise DataError(
            f"{folder} has neither train/<class>/ with images nor a .tar, .tar.gz or .tgz of them, "
            "nor CIFAR's official files"
        )
    if own_classes and {*found.classes} != {*config.classes}:
        return found
    return _named(found, config, folder)


def _named(data: DataSet, config: ModelConfig, folder: Path) -> DataSet:
    """``data`` with the labels of ``config``."""
    if config.placeholder_classes:
        return data
    for name in config.classes:
        if name not in data.classes:
            raise DataError(f"{folder} has no class {name!r}, which {config.name} is to tell apart")
    for name in data.classes:
        if name not in config.classes:
            raise DataError(f"{folder} has a class {name!r} that {config.name} does not know")
    order = np.array([config.classes.index(name) for name in data.classes])
    splits = {
        name: Split(split.pixels, order[split.labels])
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    return replace(data, **splits, classes=config.classes)
