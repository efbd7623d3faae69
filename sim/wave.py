"""`make wave`: one image on the simulated machine as a waveform, with operations, passes and tokens as text.

It is drawn from the trace that `make sim` compares with the golden model, so it shows the same integers. Exit
codes: 1 is a difference or a simulation that failed, 2 is usage or build.
"""

import argparse
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.hdl import UnusedElaboratable

from haarlequin.models.common.cli import command, one_line_errors
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import write_text
from haarlequin.models.common.places import build_folder
from haarlequin.sim import fst
from haarlequin.sim.compare_trace import Events, attention_rows
from haarlequin.sim.fst import Signal
from haarlequin.sim.simulate import Job, expect, faults_of_job, simulate, simulator
from haarlequin.sim.timeline import MARGIN, Activity, Span, TraceError, shown_image
from haarlequin.sim.workload import workload
from haarlequin.sw.compiler import Program
from haarlequin.sw.resolve import machine_for
from haarlequin.sw.targets import compile_model
from haarlequin.sw.verilated import build

NEIGHBOURS = 3
"""Images simulated before and after the one that is shown, so that the machine is as busy as it ever is."""


@dataclass(frozen=True)
class Group:
    """Signals under a heading in the viewers."""

    heading: str
    signals: list[Signal]
    folded: bool = False
    """Whether the viewer shows only the heading at first."""


@command(interrupted="a simulator that was built is kept, and so is an older waveform")
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    warnings.simplefilter("ignore", UnusedElaboratable)  # an accelerator is made only to ask for its shapes
    with one_line_errors(arguments.verbose, failures=(build.SimulationError, TraceError)):
        exact = _run(arguments)
    if not exact:
        sys.exit(1)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="haarlequin wave",
        description="One image on the simulated machine as a waveform, for Surfer and GTKWave.",
    )
    parser.add_argument("--model", default="digits", help="a preset or an ONNX file (default: digits)")
    parser.add_argument("--config", help="an accelerator (default: what the model is meant for)")
    parser.add_argument(
        "--images", type=int, help="how many there are, as in haarlequin sim (default: as there)"
    )
    parser.add_argument(
        "--image", type=int, help="which of them to show, from 0 on (default: the middle one)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the data set of a trained model, for its test images"
    )
    parser.add_argument(
        "--set", dest="settings", metavar="KEY=VALUE", action="append", default=[], help="of the preset"
    )
    parser.add_argument("--out", type=Path, help="(default: build/wave)")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(argv)
    if arguments.images is not None and arguments.images < 1:
        parser.error(f"--images must be at least 1, not {arguments.images}")
    arguments.out = arguments.out or build_folder("wave")
    return arguments


def _run(arguments: argparse.Namespace) -> bool:
    """Simulate and write the files; returns whether the images are bit-exact."""
    what = workload(arguments.model, arguments.settings, arguments.images, arguments.data)
    count = len(what.pixels)
    image = shown_image(count) if arguments.image is None else arguments.image
    if image not in range(count):
        raise UsageError(f"--image must be 0 to {count - 1}, one of {what.kind}, not {image}")
    machine = machine_for(what.model, arguments.config)
    program = compile_model(what.model, machine)
    if not isinstance(program, Program):
        raise UsageError(
            f"a waveform shows the passes of an array: take another --config than {machine.name}"
        )
    print(f"image {image} of {what.name} on {machine.name}: {what.kind}; {program.cycles} cycles", flush=True)
    first = max(0, image - NEIGHBOURS)
    pixels = what.pixels[first : image + NEIGHBOURS + 1]
    job = Job(program, pixels, expect(what.model, pixels))
    (outcome,) = simulate(simulator(machine, build_folder("sim")), [job])
    activity = Activity(program, outcome)
    begin, end = activity.bounds(image - first)
    margin = (end - begin) // MARGIN
    groups = Drawing(activity, begin, begin - margin, end + margin, first).groups()
    paths = _write(arguments.out / what.name, groups, end - begin + 2 * margin)
    print(f"{paths[0]}: {paths[0].stat().st_size / 1e6:.1f} MB, one ns per cycle; open it with one of")
    print(f"    surfer -c {paths[1]} {paths[0]}\n    gtkwave {paths[0]} {paths[2]}")
    found = faults_of_job(job, outcome)
    for fault in found:
        print(f"DIFFERS: {fault}")
    return not found


def _write(stem: Path, groups: list[Group], cycles: int) -> tuple[Path, Path, Path]:
    """Write the waveform and a save file for each viewer; returns their paths."""
    # A name may have dots.
    wave, surfer, gtkwave = (stem.with_name(f"{stem.name}.{kind}") for kind in ("fst", "sucl", "gtkw"))
    fst.write(wave, [signal for group in groups for signal in group.signals], cycles)
    write_text(surfer, surfer_commands(groups))
    write_text(gtkwave, gtkwave_save(groups))
    return wave, surfer, gtkwave


def surfer_commands(groups: Iterable[Group]) -> str:
    """The commands that show all signals in Surfer; a group that is folded is a scope of its own."""
    lines = []
    for group in groups:
        if group.folded:
            lines.append(f"scope_add_as_group {fst.TOP}.{group.signals[0].scope}")
        else:
            lines += [f"divider_add {group.heading.replace(' ', '_')}"]  # one word, or it is left out
            lines += [f"variable_add {signal.path}" for signal in group.signals]
    return "\n".join([*lines, "group_fold_all", "zoom_fit", ""])


def gtkwave_save(groups: Iterable[Group]) -> str:
    """A save file for GTKWave. The numbers are its flags: 800200 and 1000200 are the ends of a group, c00200
    and 1401200 those of one that is closed, 420 is signed decimal, 28 binary, and 820 text.
    """
    lines = ["[*] haarlequin wave", "[timestart] 0", "[sst_expanded] 1"]
    for group in groups:
        begins, ends = ("c00200", "1401200") if group.folded else ("800200", "1000200")
        lines += [f"@{begins}", f"-{group.heading}"]
        for signal in group.signals:
            lines += [f"@{420 if signal.signed else 28 if signal.width else 820}"]
            lines += [signal.path + signal.range]
        lines += [f"@{ends}", f"-{group.heading}"]
    return "\n".join([*lines, ""])


class Drawing:
    """The signals of a part of a job's trace.

    Arguments:
        begin: the cycle that counts as 0 in the signal ``cycle``.
        first: the first cycle that is shown, which is time 0.
        last: the cycle after the last one that is shown.
        before: how many images of the workload come before the job's first.
    """

    def __init__(self, activity: Activity, begin: int, first: int, last: int, before: int = 0):
        self._activity, self._passes = activity, activity.program.lowered.passes
        self._begin, self._first, self._last, self._before = begin, first, last, before
        self._spans = [
            span for span in activity.spans(range(activity.images)) if span.start < last and span.stop > first
        ]

    def groups(self) -> list[Group]:
        """All signals, in the order in which a viewer shows them."""
        return [
            self._sequencer(),
            self._loading(),
            *self._lanes(),
            *self._haar(),
            self._softmax(),
            *self._embedding(),
            self._head(),
            self._link(),
        ]

    def _sequencer(self) -> Group:
        scope = "sequencer"
        cycles = Signal(scope, "cycle", 32, signed=True)
        for cycle in range(self._first, self._last):
            cycles.changes[cycle - self._first] = f"{(cycle - self._begin) % (1 << 32):032b}".encode()
        issues = [
            span for span in self._activity.issues if span.start < self._last and span.stop > self._first
        ]
        bounds = [self._activity.bounds(image) for image in range(self._activity.images)]
        images = [(*bound, self._image(image)) for image, bound in enumerate(bounds)]
        return Group(
            "sequencer",
            [
                cycles,
                self._text(scope, "image", images),
                self._text(scope, "operation", [(s.start, s.stop, s.operation) for s in issues]),
                self._text(scope, "pass", [(s.start, s.stop, self._pass(s)) for s in issues]),
            ],
        )

    def _loading(self) -> Group:
        loads = [(s.start, s.stop, f"{s.operation} for {s.name}") for s in self._of("loading")]
        return Group("loading", [self._text("loading", "what", loads)])

    def _lanes(self) -> Iterator[Group]:
        for unit, part, names in (
            ("array", "acc", ("acc",)),
            ("post-processing", "result", ("y", "stored")),
        ):
            events, scope = self._events(part), unit.replace("-", "_")
            signals = self._heading(unit, scope, events)
            signals.append(self._tokens(scope, unit, events, events[f"{part}_number"]))
            if part == "result":
                signals += [self._bits(scope, name, events) for name in ("bits_0", "bits_1")]
            yield Group(unit, signals)
            for name in names:
                yield Group(name, self._numbers(name, events), folded=True)

    def _haar(self) -> Iterator[Group]:
        events, scope = self._events("haar"), "haar_unit"
        signals = self._heading("Haar", scope, events)
        signals.append(self._tokens(scope, "Haar", events, events["haar_number"]))
        bands = ["hi" if phase else "lo" for phase in events["haar_phase"].tolist()]
        signals.append(self._per_event(scope, "band", "Haar", events, bands))
        yield Group("Haar", signals)
        yield Group("haar", self._numbers("haar", events), folded=True)

    def _softmax(self) -> Group:
        events, scope = self._events("attention"), "softmax"
        signals = self._heading("softmax", scope, events)
        _, rows, tiles, _ = attention_rows(self._activity.program, events)
        signals.append(self._tokens(scope, "softmax", events, rows))
        texts = [f"tile {tile}" for tile in tiles.tolist()]
        signals.append(self._per_event(scope, "keys", "softmax", events, texts))
        signals.append(self._bits(scope, "attention", events))
        return Group("softmax", signals)

    def _embedding(self) -> Iterator[Group]:
        events, scope = self._events("x"), "embedding"
        spans = [(s.start, s.stop, self._image(s.image)) for s in self._of("embedding")]
        tokens = self._of("embedding")[0].tokens if spans else 1
        machine = self._activity.program.machine
        tiles, token = np.divmod(events["x_address"] % (machine.bank_b // 2), tokens)
        texts = [f"token {n}, tile {t}" for t, n in zip(tiles.tolist(), token.tolist(), strict=True)]
        yield Group(
            "embedding",
            [
                self._text(scope, "image", spans),
                self._strobe(scope, "valid", events),
                self._per_event(scope, "word", "embedding", events, texts),
            ],
        )
        yield Group("x", self._numbers("x", events), folded=True)

    def _head(self) -> Group:
        scope, sums = "head", self._events("sum")
        width = self._activity.events.bits("sum").shape[1]
        value = Signal(scope, "sum", width, signed=True)
        self._fill(value, sums, self._ascii(sums.bits("sum")))
        return Group(
            "head",
            [
                self._text(
                    scope, "image", [(s.start, s.stop, self._image(s.image)) for s in self._of("head")]
                ),
                self._strobe(scope, "sum_valid", sums),
                value,
                self._strobe(scope, "answer_valid", self._events("answer")),
            ],
        )

    def _link(self) -> Group:
        signals = []
        link = self._activity.part("link")
        for way, unit in (("rx", "link in"), ("tx", "link out")):
            frames = [(s.start, s.stop, f"{s.name} {s.image + self._before}") for s in self._of(unit)]
            signals.append(self._text("link", unit.removeprefix("link ") + "_frame", frames))
            moving = Signal("link", f"{way}_moving", 1)
            before = link[f"link_{way}"][link.cycles <= self._first]
            moving.changes[0] = b"1" if len(before) and before[-1] else b"0"
            inside = self._events("link")
            self._fill(moving, inside, self._ascii(inside.bits(f"link_{way}")))
            signals.append(moving)
        return Group("link", signals)

    def _heading(self, unit: str, scope: str, events: Events) -> list[Signal]:
        spans = [(span.start, span.stop, self._pass(span)) for span in self._of(unit)]
        return [self._strobe(scope, "valid", events), self._text(scope, "pass", spans)]

    def _of(self, unit: str) -> list[Span]:
        return [span for span in self._spans if span.unit == unit]

    def _image(self, image: int) -> str:
        return f"image {image + self._before}"

    @staticmethod
    def _pass(span: Span) -> str:
        return f"{span.number} {span.name}"

    def _events(self, part: str) -> Events:
        """The events of a part in the cycles that are shown."""
        events = self._activity.part(part)
        return events.rows((events.cycles >= self._first) & (events.cycles < self._last))

    def _text(self, scope: str, name: str, spans: Iterable[tuple[int, int, str]]) -> Signal:
        """A text that is there from a first cycle to before another one, and empty between these."""
        signal = Signal(scope, name, changes={0: b""})
        for start, stop, text in sorted(spans):
            if start < self._last and stop > self._first:
                signal.changes[max(start, self._first) - self._first] = text.encode()
                if stop < self._last:
                    signal.changes[stop - self._first] = b""
        return signal

    def _tokens(self, scope: str, unit: str, events: Events, numbers: np.ndarray) -> Signal:
        return self._per_event(scope, "token", unit, events, [f"token {n}" for n in numbers.tolist()])

    def _per_event(self, scope: str, name: str, unit: str, events: Events, texts: list[str]) -> Signal:
        """A text that changes with each event, and is empty where the unit has nothing to do."""
        signal = Signal(scope, name, changes={0: b""})
        for span in self._of(unit):
            if span.stop < self._last:
                signal.changes[span.stop - self._first] = b""
        for cycle, text in zip(events.cycles.tolist(), texts, strict=True):
            signal.changes[cycle - self._first] = text.encode()
        return signal

    def _strobe(self, scope: str, name: str, events: Events) -> Signal:
        """High in the cycles of the events."""
        signal, cycles = Signal(scope, name, 1, changes={0: b"0"}), events.cycles - self._first
        signal.changes |= dict.fromkeys((cycles + 1).tolist(), b"0")
        signal.changes |= dict.fromkeys(cycles.tolist(), b"1")
        signal.changes.pop(self._last - self._first, None)
        return signal

    def _bits(self, scope: str, name: str, events: Events) -> Signal:
        """A bit per lane, which stays until the next event."""
        bits = events.bits(name)
        signal = Signal(scope, name, bits.shape[1], changes={0: b"x" * bits.shape[1]})
        self._fill(signal, events, self._ascii(bits))
        return signal

    def _numbers(self, name: str, events: Events) -> list[Signal]:
        """A number per lane in two's complement, which stays until the next event."""
        bits, lanes = events.bits(name), self._activity.program.machine.lanes
        width, signals = bits.shape[1] // lanes, []
        for lane in range(lanes):
            signal = Signal(name, f"lane_{lane:0{len(str(lanes - 1))}}", width, signed=True)
            signal.changes[0] = b"x" * width
            self._fill(signal, events, self._ascii(bits[:, lane * width : (lane + 1) * width]))
            signals.append(signal)
        return signals

    def _fill(self, signal: Signal, events: Events, values: list[bytes]) -> None:
        signal.changes |= dict(zip((events.cycles - self._first).tolist(), values, strict=True))

    @staticmethod
    def _ascii(bits: np.ndarray) -> list[bytes]:
        """Rows of bits as text, the highest first."""
        return [row.tobytes() for row in bits[:, ::-1] + ord("0")]
