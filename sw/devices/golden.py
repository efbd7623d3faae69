"""The golden model as a device."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import torch

from models import arithmetic

from .device import Device, DeviceError, Model, Result


class GoldenDevice(Device):
    """Computes what the accelerator computes; its cycles are those that the compiler predicts."""

    name, predicts = "golden", True

    def __init__(self, digest: int):
        self.digest = digest
        self._model: Model | None = None
        self._spent: Counter[str] = Counter()

    def load(self, model: Model, progress: Callable[[int, int], None] | None = None) -> None:
        """Take this model; raises `DeviceError` where there are only tables."""
        if model.golden is None:
            raise DeviceError("golden: tables are not enough, give the model's name or its ONNX file")
        if model.tables.digest != self.digest:
            raise DeviceError(
                f"golden: the tables are for {model.tables.accelerator} ({model.tables.digest:#010x}), "
                f"the accelerator is another ({self.digest:#010x}): compile for it"
            )
        self._model = model

    def run(self, images: Iterable[np.ndarray]) -> Iterator[Result]:
        """The result of each image."""
        if self._model is None:
            raise DeviceError("golden: load a model first")
        tables = self._model.tables
        for image in images:
            with arithmetic.count_saturations() as counter:
                logits = self._model.golden(torch.from_numpy(image)[None])[0]
            self._spent.update(tables.operations)
            yield Result(logits.to(torch.int32).numpy(), tables.cycles, counter.clipped)

    def counters(self) -> Mapping[str, int]:
        """Cycles of each operation, as predicted."""
        return dict(self._spent)

    def reset(self) -> None:
        """Nothing: no image is ever under way."""

    def close(self) -> None:
        """Nothing."""
