"""Data sets: decoded once into memory as uint8, and split into training, validation and test images.

Open this file first, then `split.py`, which says what a data set is. `digits.py`, `cifar.py` and `folder.py`
read one kind each, `masks.py` reads images with masks, and `fetch.py` is the command that downloads CIFAR-10.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from haarlequin.models.config import ModelConfig
from haarlequin.models.data import cifar
from haarlequin.models.data.digits import digits
from haarlequin.models.data.entries import has_images
from haarlequin.models.data.folder import read_splits
from haarlequin.models.data.masks import read_masks
from haarlequin.models.data.split import DataError, DataSet, Split, hold_out
from haarlequin.models.presets import preset
from haarlequin.models.segmentation import IGNORE

if TYPE_CHECKING:  # importing it at run time would import torch
    from haarlequin.models.network.teacher import TeacherConfig

__all__ = ["BUNDLED", "IGNORE", "DataError", "DataSet", "Split", "load"]

BUNDLED = ("digits",)
"""Presets whose data set comes with a package; all others need a folder of images."""


def load(
    config: "ModelConfig | TeacherConfig | str", folder: Path | None = None, own_classes: bool = False
) -> DataSet:
    """The data set that a configuration, or the preset of that name, is trained on; raises `DataError`.

    `digits` comes with scikit-learn. Everything else is read from ``folder``: the official archives of
    CIFAR-10 and CIFAR-100, or images in `train/<class>/` and `test/<class>/`, or tar archives of these. Where
    there is no `val/<class>/`, validation images are held out of the training images. A segmentation network
    is trained on images with masks, `train/images/…` and `train/masks/…`, and its labels are masks. Labels
    are indices into the configuration's classes. Where those are placeholders, or where ``own_classes`` is
    set and the names differ, labels are indices into the data set's own classes.
    """
    if isinstance(config, str):
        config = preset(config)
    masks = getattr(config, "segmentation", False)
    if config.name in BUNDLED:
        if masks:
            raise DataError(f"{config.name} has no masks: give a segmentation network another name")
        if folder:
            raise DataError("digits comes with scikit-learn: leave --data out")
        return digits()
    if folder is None:
        raise DataError(f"{config.name} is trained on images: say where they are with --data DIR")
    if not folder.exists():
        raise DataError(f"{folder}: no such file or folder; --data takes a folder of images or a tar of one")
    archive = cifar.find(folder)
    if archive and masks:
        raise DataError(f"{archive} has no masks, which {config.name} learns from: name other images")
    if archive:
        train, test, classes = cifar.read_splits(archive, config.image, config.channels)
        found = hold_out(train, test, classes)
    elif has_images(folder):
        read = read_masks if masks else read_splits
        train, validation, test, classes = read(folder, config.image, config.channels)
        found = DataSet(train, validation, test, classes) if validation else hold_out(train, test, classes)
    else:
        raise DataError(
            f"{folder} has neither train/<class>/ with images nor a .tar, .tar.gz or .tgz of them, "
            "nor CIFAR's official files"
        )
    if own_classes and {*found.classes} != {*config.classes}:
        return found
    return _named(found, config, folder)


def _named(data: DataSet, config: "ModelConfig | TeacherConfig", folder: Path) -> DataSet:
    """``data`` with labels that are indices into the classes of ``config``; raises `DataError`."""
    if config.placeholder_classes:
        return data
    for name in config.classes:
        if name not in data.classes:
            raise DataError(f"{folder} has no class {name!r}, which {config.name} is to tell apart")
    for name in data.classes:
        if name not in config.classes:
            raise DataError(f"{folder} has a class {name!r} that {config.name} does not know")
    order = np.array([config.classes.index(name) for name in data.classes])
    if data.train.has_masks:
        order = np.append(order, [IGNORE] * (256 - len(order))).astype(np.uint8)
    splits = {
        name: Split(split.pixels, order[split.labels])
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    return replace(data, **splits, classes=config.classes)
