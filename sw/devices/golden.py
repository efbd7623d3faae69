"""The golden model as a device."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from haarlequin.models import arithmetic
from haarlequin.sw.devices.device import (
    Benchmark,
    CompiledModel,
    Device,
    DeviceError,
    Progress,
    Result,
)
from haarlequin.sw.table_folder import Compiled

if TYPE_CHECKING:
    from haarlequin.models.golden import GoldenModel


class GoldenDevice(Device):
    """Computes the same integers as the accelerator; its cycles are those that the compiler predicts.

    Its results always have logits, also those of a segmentation model.

    Arguments:
        digest: that of the accelerator; None for a model that no accelerator runs, which has no cycles.
    """

    predicts = True

    def __init__(self, digest: int | None):
        super().__init__("golden")
        self.digest = 0 if digest is None else digest
        self._needs_tables = digest is not None
        self._loaded: tuple[GoldenModel, Compiled | None] | None = None
        self._spent: Counter[str] = Counter()

    def _load(self, model: CompiledModel, progress: Progress) -> None:
        golden = model.golden
        if golden is None:
            raise DeviceError("golden: tables are not enough, give the model's name or its ONNX file")
        tables = model.tables
        if self._needs_tables and (tables is None or tables.digest != self.digest):
            said = f"for {tables.accelerator} ({tables.digest:#010x})" if tables else "missing"
            raise DeviceError(
                f"golden: the tables are {said}, the accelerator is another ({self.digest:#010x}): "
                "compile for it"
            )
        self._loaded = golden, tables

    def _run(self, images: Iterator[np.ndarray]) -> Generator[Result, None, None]:
        if self._loaded is None:
            raise DeviceError("golden: load a model first")
        golden, tables = self._loaded
        for image in images:
            self._turn.check_open()
            with arithmetic.count_saturations() as counter:
                logits = golden(image[None])[0]
            if tables:
                self._spent.update(tables.operations)
            cycles = tables.cycles if tables else 0
            yield Result(logits.astype(np.int32), cycles, counter.clipped)

    def _benchmark(self, image: np.ndarray, count: int, progress: Progress) -> Benchmark:
        raise DeviceError("golden: its cycles are predicted: only an accelerator counts them, sim or a board")

    def _counters(self) -> Mapping[str, int]:
        return dict(self._spent)

    def _reset(self) -> None:
        """Do nothing, because no image is ever under way."""

    def _close(self) -> None:
        """Do nothing, because nothing is open."""
