"""Compare what a machine shows of its passes with the golden model's trace, tensor by tensor."""

from dataclasses import dataclass

import numpy as np

from haarlequin.models.golden import Trace
from haarlequin.sw.compiler.passes import Lowered, Result


@dataclass(frozen=True)
class Difference:
    """The first value of a tensor that differs: its place, the expected value, and the value that came."""

    tensor: str
    place: str
    expected: int
    got: int

    def __str__(self) -> str:
        return f"{self.tensor}, {self.place}: expected {self.expected}, got {self.got}"


class Checker:
    """Compares the passes of one image with its golden ``trace`` (a batch of one)."""

    def __init__(self, lowered: Lowered, trace: Trace):
        self.lowered, self.trace = lowered, trace
        self.due = {
            (index, result.port, result.phase): result
            for index, item in enumerate(lowered.passes)
            for result in item.results
        }
        """The results that have not been seen yet, by pass, port and phase."""

    def check(
        self, index: int, port: str, phase: int, numbers: np.ndarray, rows: np.ndarray
    ) -> Difference | None:
        """Compare the rows of lanes that a pass has shown, all at once; ``numbers`` are those of the tokens.

        Returns the first difference, or None. Rows are ignored if no tensor of the golden model corresponds
        to them at all.
        """
        result = self.due.pop((index, port, phase), None)
        if result is None:
            return None
        item = self.lowered.passes[index]
        expected = self._expected(result)
        first = 0 if port == "attention" or port.startswith("haar") else item["skip"]
        if not np.array_equal(numbers, np.arange(first, first + len(expected))):
            return Difference(
                result.tensor, f"pass {index} ({item.name}), tokens", len(expected), len(numbers)
            )
        got = rows[:, : expected.shape[1]]
        wrong = np.argwhere(got != expected)
        if not len(wrong):
            return None
        token, lane = wrong[0]
        kind = "key" if result.tensor.endswith(("attention", "scores")) else "channel"
        place = f"token {token}, {kind} {result.first + lane}"
        if kind == "key":
            place = f"head {result.head}, {place}"
        return Difference(result.tensor, place, int(expected[token, lane]), int(got[token, lane]))

    def missing(self) -> list[str]:
        """The tensors that the passes have not shown completely."""
        return sorted({result.tensor for result in self.due.values()})

    def _expected(self, result: Result) -> np.ndarray:
        """The values that a pass should show, (tokens, valid lanes)."""
        tensor, last = self._tensor(result), result.first + result.channels
        if result.merged:
            rows, columns = (size // 2 for size in result.merged)
            tokens = tensor.reshape(rows, columns, 2, 2, -1).transpose(0, 2, 1, 3, 4)
            tensor = tokens.reshape(4 * rows * columns, -1)
        if result.tensor.endswith(".attention"):
            return tensor[result.head][:, result.first : last]
        if result.tensor.endswith(".scores"):
            # The machine adds halves of the scores, rounded up where a head has an odd number of channels.
            name = result.tensor.removesuffix("scores")
            weights = self.lowered.model.constants[f"{name}attention.score_weight"]
            queries = self.trace[f"{name}query.{self._band(name)}"]
            odd = int((weights & 1).sum()) * (queries.shape[-1] // len(tensor) % 2)
            return (tensor[result.head][:, result.first : last] + odd) // 2
        rows = tensor[:, result.first : last]
        return rows > 0 if "bits" in result.port else rows

    def _tensor(self, result: Result) -> np.ndarray:
        """The tensor that a pass shows a tile of, without its batch."""
        value, window = self.trace[result.tensor], result.window
        if window is None or len(value) > 1:
            return value[window.number if window else 0]
        # Attention and scores of a single window have heads first.
        if result.tensor.endswith((".attention", ".scores")) or value.shape[1] == len(window.tokens):
            return value[0]
        return value[0][window.tokens]

    def _band(self, layer: str) -> str:
        return "lo" if f"{layer}query.lo" in self.trace else "x"
