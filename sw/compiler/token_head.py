"""The passes of the head of a segmentation network: a binary linear whose results leave token by token."""

from collections.abc import Iterator

from haarlequin.hw.codes import OperationCode, SignMemory
from haarlequin.hw.timing import POOL_SPARE
from haarlequin.sw.compiler.merge import MergePasses
from haarlequin.sw.compiler.passes import Loads, Pass, Result
from haarlequin.sw.compiler.regions import Signs


class StagePasses(MergePasses):
    """All passes of a stage, those of the head after the last one included."""

    def head_signs(self) -> Signs:
        """Where the signs of x lie for the head."""
        self.uses.grow(signs_1=self.steps * self.n)
        return Signs("head", self.constants["head.move"], SignMemory.SIGNS_1, 0)

    def token_head(self, signs: Signs) -> Iterator[Pass]:
        """The passes of the head. A token takes as long as its logits take to leave the lanes."""
        classes = len(self.model.config.classes)
        constants, shifts = self.head_constants(classes)
        final = {
            "lanes": classes,
            "count": 1,
            "pool": 1,
            "each": 1,
            "wait_head": 1,
            "interval": classes + POOL_SPARE - 1,
        }
        results = [Result("acc", "head.acc", 0, classes), Result("y", "logits", 0, classes)]
        yield from self._projection(
            "head",
            OperationCode.HEAD,
            (signs.memory.activation, signs.base),
            *self._steps(self.constants["head.weight"]),
            Loads(constants=self.tables.add_constants(constants, self.lanes), shifts=shifts),
            final,
            results,
            self.partial_sums(0) if self.steps > 1 else 0,
        )
