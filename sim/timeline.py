"""The cycles of one image, unit by unit, from the trace of the simulated machine: `make sim` writes them.

`Activity` finds in a job's trace when each unit worked, and on which pass of which image. `timeline` shows
one of its images as data for a page; `faults_of` compares that with the program and the machine's counters.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from haarlequin.hw.codes import OperationCode
from haarlequin.sim.compare_trace import Events, event_counts
from haarlequin.sim.simulate import Outcome, Transfer
from haarlequin.sw.compiler import Program
from haarlequin.sw.compiler.passes import Pass

UNITS = (
    *("link in", "embedding", "loading", "array", "post-processing"),
    *("Haar", "softmax", "head", "link out"),
)
"""The rows of a timeline, in the order in which an image goes through them."""

MARGIN = 20
"""Before and after its image, a timeline shows one cycle in so many of the image's."""

_LOADS = {
    "load_weights": "weights",
    "load_keys": "keys",
    "load_constants": "constants",
    "load_local": "local weights",
}


class TraceError(Exception):
    """A trace does not have the events that the program must have caused; the message is one line."""


@dataclass(frozen=True)
class Span:
    """The cycles from ``start`` to ``stop`` − 1 in which a unit worked on one thing."""

    unit: str
    start: int
    stop: int
    operation: str
    """The operation that the machine counts a pass for, or the unit's work in words."""
    name: str
    """The operation of the program, such as ``layers.0.query.hi``."""
    image: int
    number: int | None = None
    """The pass of the program whose work it is. For ``loading`` it is the pass that loads."""
    tokens: int = 0

    @property
    def layer(self) -> str | int | None:
        """The number of the layer that ``name`` belongs to, or the part of the network before the dot."""
        if found := re.match(r"layers\.(\d+)\.", self.name):
            return int(found[1])
        return self.name.partition(".")[0] if "." in self.name else None

    def data(self, begin: int) -> dict[str, object]:
        """The span as an entry of the timeline whose image begins in cycle ``begin``."""
        return {
            "unit": self.unit,
            "start": self.start - begin,
            "stop": self.stop - begin,
            "operation": self.operation,
            "name": self.name,
            "pass": self.number,
            "layer": self.layer,
            "tokens": self.tokens,
            "image": self.image,
        }


class Activity:
    """The units' work in all images of a job.

    Arguments:
        program: the program that was loaded.
        outcome: the job's outcome, with its events.

    Raises `TraceError` where the trace has too few, too many or other events than the program causes.
    """

    def __init__(self, program: Program, outcome: Outcome):
        if outcome.events is None:
            raise ValueError("an outcome without events has no timeline")
        self.program, self.events = program, outcome.events
        self._passes, self._outcome, self.images = program.lowered.passes, outcome, len(outcome.results)
        self._counts, self._parts = event_counts(program), dict[str, Events]()

    def part(self, name: str) -> Events:
        """The events of a part of the trace."""
        if name not in self._parts:
            self._parts[name] = self.events.where(name)
        return self._parts[name]

    @cached_property
    def issues(self) -> list[Span]:
        """The passes of all images as the sequencer ran them: each pass has one span for each operation for
        which its cycles were counted, `OperationCode.LATE` among them.
        """
        issue = self.part("issue")
        ends = [*issue.cycles.tolist()[1:], None]
        image, spans = -1, []
        columns = (issue["issue_begins"], issue["issue_pass"], issue["issue_operation"])
        rows = zip(issue.cycles.tolist(), ends, *(column.tolist() for column in columns), strict=True)
        for start, stop, begins, number, code in rows:
            image += bool(begins) and number == 0
            # The counters of the cycles before the first image and after each program say WAITING.
            between = code == OperationCode.WAITING and (image < 0 or number == len(self._passes) - 1)
            if not between:
                if stop is None:
                    raise TraceError(f"pass {number} of image {image} never ends")
                operation = OperationCode(code).title
                spans.append(Span("issue", start, stop, operation, self._name(number), image, number))
        if image + 1 != self.images:
            raise TraceError(f"{image + 1} images began in the trace, not {self.images}")
        return spans

    def bounds(self, image: int) -> tuple[int, int]:
        """The first cycle of an image's program, and the one after its last."""
        spans = [span for span in self.issues if span.image == image]
        return spans[0].start, spans[-1].stop

    def counted(self) -> Counter[str]:
        """The cycles of all images by the operation that they were counted for."""
        cycles: Counter[str] = Counter()
        for span in self.issues:
            cycles[span.operation] += span.stop - span.start
        return cycles

    def spans(self, images: Iterable[int]) -> Iterator[Span]:
        """The spans of all `UNITS` for some images."""
        for image in images:
            yield from self._link("link in", "rx", self._outcome.sent, image)
            yield from self._embedding(image)
            yield from self._loading(image)
            yield from self._of_passes("array", "acc", image, self._of_lanes)
            yield from self._of_passes("post-processing", "result", image, self._of_lanes)
            yield from self._of_passes("Haar", "haar", image, self._of_haar)
            yield from self._of_passes("softmax", "attention", image, self._of_softmax)
            yield from self._head(image)
            yield from self._link("link out", "tx", self._outcome.answered, image)

    def of_image(self, part: str, image: int) -> Events:
        """The events of one image in a part of the trace that has the number of a pass."""
        events, loads = self.part(part), sum(map(bool, map(loaded, self._passes)))
        count = loads if part == "load" else self._counts[part]
        if len(events) != count * self.images:
            raise TraceError(f"{len(events)} events of {part}, not {count} for each of {self.images} images")
        return events.rows(slice(image * count, (image + 1) * count))

    def byte_cycles(self, way: str) -> np.ndarray:
        """The cycle in which each byte of the job moved on ``rx`` or ``tx``, as ``way`` says."""
        link = self.part("link")
        moving = link[f"link_{way}"]
        changes = np.flatnonzero(np.diff(moving, prepend=0))
        cycles = link.cycles[changes]
        if len(cycles) % 2:
            raise TraceError(f"the last bytes of {way} do not end in the trace")
        bursts = zip(cycles[::2].tolist(), cycles[1::2].tolist(), strict=True)
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(*burst) for burst in bursts)])

    def _name(self, number: int) -> str:
        return self._passes[number].name

    @cached_property
    def _moved(self) -> dict[str, np.ndarray]:
        return {way: self.byte_cycles(way) for way in ("rx", "tx")}

    def _link(self, unit: str, way: str, frames: Iterable[Transfer], image: int) -> Iterator[Span]:
        cycles, own = self._moved[way], [frame for frame in frames if frame.image == image]
        for frame in own:
            if frame.stop > len(cycles):
                raise TraceError(f"{len(cycles)} bytes moved on {way}, and {frame.stop} were counted")
            # An image for which there was no room was refused, and sent once more.
            name = "result" if way == "tx" else "image" if frame == own[-1] else "refused image"
            start, stop = int(cycles[frame.first]), int(cycles[frame.stop - 1]) + 1
            yield Span(unit, start, stop, f"{frame.stop - frame.first} bytes", name, image)

    def _embedding(self, image: int) -> Iterator[Span]:
        cycles = self.part("embed").cycles.tolist()
        if len(cycles) != 2 * self.images:
            raise TraceError(f"{len(cycles)} embeddings begin or end, not {2 * self.images}")
        start, stop = cycles[2 * image : 2 * image + 2]
        tokens = self.program.model.config.places[0]
        before = tokens.merged or tokens.config
        yield Span("embedding", start, stop, "embedding", "embedding", image, tokens=before.tokens)

    def _loading(self, image: int) -> Iterator[Span]:
        load, lanes = self.of_image("load", image), self.program.machine.lanes
        for start, number in zip(load.cycles.tolist(), load["load_pass"].tolist(), strict=True):
            item, needs = self._passes[number], self._needing(number)
            what = " and ".join(loaded(item))
            yield Span("loading", start, start + lanes, what, needs, image, number)

    def _needing(self, number: int) -> str:
        """The name of the operation that needs what a pass loads."""
        later = (item for item in self._passes[number + 1 :] if item.needs)
        if self._passes[number]["load_moves"]:
            later = (item for item in later if item.needs and item.needs.moves is not None)
        item = next(later)
        return named(item, "haar") if self._passes[number]["load_moves"] else item.name

    def _of_passes(
        self, unit: str, part: str, image: int, told: Callable[[Pass], tuple[str, str, int]]
    ) -> Iterator[Span]:
        """One span for each pass that has events: from the first to the last."""
        events = self.of_image(part, image)
        numbers, cycles = events[f"{part}_pass"], events.cycles
        for rows in np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(numbers)) + 1):
            if len(rows):
                number = int(numbers[rows[0]])
                name, operation, tokens = told(self._passes[number])
                start, stop = int(cycles[rows[0]]), int(cycles[rows[-1]]) + 1
                yield Span(unit, start, stop, operation, name, image, number, tokens)

    def _of_lanes(self, item: Pass) -> tuple[str, str, int]:
        return item.name, OperationCode(item["operation"]).title, item["stop"] - item["skip"]

    def _of_haar(self, item: Pass) -> tuple[str, str, int]:
        return named(item, "haar"), OperationCode.HAAR.title, item["keys"]

    def _of_softmax(self, item: Pass) -> tuple[str, str, int]:
        return named(item, "attention"), "softmax", item["keys"]

    def _head(self, image: int) -> Iterator[Span]:
        """From an image's first pooled sum to the word before its cycles and saturations."""
        answers, sums = self.part("answer"), self.part("sum").cycles
        ends = answers.cycles[answers["answer_last"] == 1]
        if len(ends) != self.images:
            raise TraceError(f"{len(ends)} results came, not {self.images}")
        after = ends[image - 1] if image else -1
        own = sums[(sums > after) & (sums < ends[image])]
        words = answers.cycles[(answers.cycles > after) & (answers.cycles <= ends[image])]
        if len(own) and len(words) > 2:
            tokens = self.program.model.config.places[-1].config.tokens
            stop = int(words[-3]) + 1
            yield Span("head", int(own[0]), stop, "head", "head", image, tokens=tokens)


def loaded(item: Pass) -> list[str]:
    """The kinds of things that a pass loads into the lanes, in words."""
    return [
        "moves" if field == "load_constants" and item["load_moves"] else kind
        for field, kind in _LOADS.items()
        if item[field]
    ]


def named(item: Pass, port: str) -> str:
    """The name of what a unit beside the lanes computes for a pass, after the tensor that it shows."""
    tensor = next((result.tensor for result in item.results if result.port == port), item.name)
    layer = re.match(r"(layers\.\d+)\.", tensor)
    return f"{layer[1]}.{port}" if layer else item.name


def shown_image(images: int) -> int:
    """The image to show of so many: the middle one, with neighbours before and after it, or the last."""
    return images // 2 if images >= 3 else images - 1


def timeline(program: Program, outcome: Outcome, name: str) -> dict[str, object]:
    """The timeline of one image of a job, as JSON can hold it; docs/verification.md has its format.

    Arguments:
        name: the model's name.

    Raises `TraceError` as `Activity` does.
    """
    activity, image = Activity(program, outcome), shown_image(len(outcome.results))
    begin, end = activity.bounds(image)
    margin = (end - begin) // MARGIN
    own = [span for span in activity.issues if span.image == image]
    passes = []
    for number, spans in itertools.groupby(own, lambda span: span.number):
        parts = list(spans)
        first = parts[0]  # it may wait for the next pass's weights only in its last cycle
        passes.append(
            {
                "pass": number,
                "name": first.name,
                "operation": first.operation,
                "layer": first.layer,
                "start": parts[0].start - begin,
                "stop": parts[-1].stop - begin,
            }
        )
    return {
        "model": name,
        "machine": program.machine.name,
        "lanes": program.machine.lanes,
        "width": program.machine.width,
        "image": image,
        "begin": begin,
        "end": end,
        "cycles": end - begin,
        "units": list(UNITS),
        "spans": [span.data(begin) for span in _near(activity, image, begin - margin, end + margin)],
        "passes": passes,
    }


def _near(activity: Activity, image: int, first: int, last: int) -> list[Span]:
    """The spans of an image and its neighbours between two cycles, by unit; the lanes' only of the image."""
    of_lanes = ("loading", "array", "post-processing", "Haar", "softmax")
    near = range(max(0, image - 2), min(activity.images, image + 4))  # the link is three images ahead
    spans = [
        clipped(span, first, last)
        for span in activity.spans(near)
        if span.start < last and span.stop > first and (span.image == image or span.unit not in of_lanes)
    ]
    return sorted(spans, key=lambda span: (UNITS.index(span.unit), span.start))


def clipped(span: Span, first: int, last: int) -> Span:
    """The part of a span between two cycles, ``last`` not included."""
    return replace(span, start=max(span.start, first), stop=min(span.stop, last))


def faults_of(made: dict, program: Program, outcome: Outcome) -> list[str]:
    """List everything in which a timeline and the trace disagree with the program and the machine's counters.

    ``outcome.counters`` are those of all images, and so are the cycles by operation that the trace has.
    """
    passes, found = program.lowered.passes, []
    cycles = outcome.results[made["image"]].cycles
    if not made["cycles"] == made["end"] - made["begin"] == cycles:
        found.append(f"timeline: {made['cycles']} cycles, and the machine counted {cycles}")
    for unit in made["units"]:
        row = [span for span in made["spans"] if span["unit"] == unit]
        for before, after in itertools.pairwise(row):
            if before["stop"] > after["start"]:
                found.append(f"timeline: {unit} does two things in cycle {after['start']}")
        found += [f"timeline: {unit}, an empty span" for span in row if span["start"] >= span["stop"]]
    live = [number for number, item in enumerate(passes) if item["stop"] > item["skip"]]
    for unit in ("array", "post-processing"):
        row = [span["pass"] for span in made["spans"] if span["unit"] == unit]
        if row != live:
            place = next((i for i, (a, b) in enumerate(zip(row, live, strict=False)) if a != b), len(row))
            found.append(f"timeline: {unit} differs from the program from its span {place} on")
    found += _faults_of_issue(made, program)
    counted = Activity(program, outcome).counted()
    due = {operation.name: outcome.counters[operation.name] for operation in program.operations()}
    due[OperationCode.LATE.title] = outcome.late
    for name, spent in due.items():
        if counted[name] != spent:
            found.append(f"timeline: {counted[name]} cycles of {name}, and the machine counted {spent}")
    return found


def _faults_of_issue(made: dict, program: Program) -> list[str]:
    """The disagreements of the passes, as they were issued, with the program."""
    rows, passes, found = made["passes"], program.lowered.passes, []
    if [row["pass"] for row in rows] != list(range(len(passes))):
        found.append(f"timeline: {len(rows)} passes, not the {len(passes)} of the program in order")
    edges = [0, *(row["stop"] for row in rows)]
    if [*(row["start"] for row in rows), made["cycles"]] != edges:
        found.append("timeline: the passes do not follow each other from the image's first cycle to its last")
    late = program.machine.weight_interval > 0
    for row in rows:
        took, due = row["stop"] - row["start"], passes[row["pass"]]["cycles"]
        if took < due or (took > due and not late):
            found.append(f"timeline: pass {row['pass']} took {took} cycles, not {due}")
    by_pass = {span["pass"]: span for span in made["spans"] if span["unit"] == "array"}
    for number, span in by_pass.items():
        item = passes[number]
        if span["tokens"] != item["stop"] - item["skip"]:
            found.append(f"timeline: pass {number} has {span['tokens']} tokens")
    return found
