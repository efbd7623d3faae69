"""`make wave`: the waveform has the golden model's integers in their cycles; the viewers' files fit it."""

import os
import re
from bisect import bisect_right
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pylibfst
import pytest

from haarlequin.hw.link.protocol import Frame, FrameType, encode
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.places import build_folder
from haarlequin.sim import fst, wave
from haarlequin.sim.fst import Signal
from haarlequin.sim.simulate import Job, expect, simulate, simulator
from haarlequin.sim.timeline import MARGIN, Activity
from haarlequin.sim.wave import Drawing
from haarlequin.sim.workload import workload
from haarlequin.sw.targets import compile_model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SHOWN = 3
"""The image in the waveform; images 0 to 6 were simulated with it."""


class Read:
    """An FST file by another reader than the one that wrote it: the library's own."""

    def __init__(self, path):
        reader = pylibfst.lib.fstReaderOpen(os.fsencode(path))
        assert reader != pylibfst.ffi.NULL
        try:
            found = pylibfst.get_scopes_signals2(reader)[1].by_name
            self.names = list(found)
            self.widths = {name.partition(" ")[0]: one.length for name, one in found.items()}
            self.end = pylibfst.lib.fstReaderGetEndTime(reader)
            self.scale = pylibfst.lib.fstReaderGetTimescale(reader)
            by_handle = {one.handle: name.partition(" ")[0] for name, one in found.items()}
            self._changes = {name.partition(" ")[0]: ([], []) for name in found}

            def change(_, time, handle, value, length=None):
                size = self.widths[by_handle[handle]] if length is None else length
                times, values = self._changes[by_handle[handle]]
                times.append(time)
                values.append(bytes(pylibfst.ffi.buffer(value, size)).decode())

            pylibfst.lib.fstReaderSetFacProcessMaskAll(reader)
            pylibfst.fstReaderIterBlocks2(reader, change, change)
        finally:
            pylibfst.lib.fstReaderClose(reader)

    def at(self, name, cycle):
        """The value of a signal in a cycle."""
        times, values = self._changes[f"haarlequin.{name}"]
        return values[bisect_right(times, cycle) - 1]

    def number(self, name, cycle):
        bits = self.at(name, cycle)
        return int(bits, 2) - (bits[0] == "1") * (1 << len(bits))

    def highs(self, name):
        """The cycles in which a strobe is high."""
        return [cycle for cycle in range(self.end) if self.at(name, cycle) == "1"]

    def lanes(self, name, cycle):
        places = sorted(key for key in self._changes if key.startswith(f"haarlequin.{name}.lane_"))
        return [self.number(place.removeprefix("haarlequin."), cycle) for place in places]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The waveform of one of seven test digits, as it is read back, with what was simulated."""
    what = workload("digits", [], 7)
    program = compile_model(what.model, CONFIGS["16x64"], check=False)
    job = Job(program, what.pixels, expect(what.model, what.pixels))
    (outcome,) = simulate(simulator(program.machine, build_folder("sim")), [job])
    activity = Activity(program, outcome)
    begin, end = activity.bounds(SHOWN)
    margin = (end - begin) // MARGIN
    groups = Drawing(activity, begin, begin - margin, end + margin).groups()
    folder = tmp_path_factory.mktemp("wave")
    paths = wave._write(folder / "digits", groups, end - begin + 2 * margin)
    assert sorted(path.name for path in folder.iterdir()) == ["digits.fst", "digits.gtkw", "digits.sucl"]
    return SimpleNamespace(
        program=program,
        activity=activity,
        trace=job.expected[SHOWN].trace,
        paths=paths,
        begin=begin,
        margin=margin,
        first=begin - margin,
        read=Read(paths[0]),
        groups=groups,
    )


def own(digits, part):
    """The events of the image that is shown, with their times in the waveform."""
    events = digits.activity.of_image(part, SHOWN)
    return events, (events.cycles - digits.first).tolist()


def test_time(digits):
    read = digits.read
    assert read.scale == -9
    assert read.end == 4918 + 2 * digits.margin
    cycles = [read.number("sequencer.cycle", time) for time in range(read.end)]
    assert cycles == list(range(-digits.margin, 4918 + digits.margin))
    images = [read.at("sequencer.image", digits.margin + cycle) for cycle in (-1, 0, 4917, 4918)]
    assert images == ["image 2", "image 3", "image 3", "image 4"]


@pytest.mark.parametrize(
    ("part", "scope"), [("acc", "array"), ("result", "post_processing"), ("haar", "haar_unit")]
)
def test_at_each_event_the_text_names_its_pass_and_token(digits, part, scope):
    read, passes = digits.read, digits.program.lowered.passes
    events, times = own(digits, part)
    assert set(times) <= set(read.highs(f"{scope}.valid"))
    for time, index, token in zip(
        times, events[f"{part}_pass"].tolist(), events[f"{part}_number"].tolist(), strict=True
    ):
        number, _, name = read.at(f"{scope}.pass", time).partition(" ")
        assert int(number) == index
        assert name == passes[index].name if part != "haar" else re.fullmatch(r"layers\.\d\.haar", name)
        assert read.at(f"{scope}.token", time) == f"token {token}"


def test_operations_are_in_the_cycles_in_which_the_machine_counts_them(digits):
    read, counted = digits.read, {}
    for time in range(digits.margin, digits.margin + 4918):
        operation = read.at("sequencer.operation", time)
        counted[operation] = counted.get(operation, 0) + 1
    due = {one.name: one.cycles for one in digits.program.operations() if one.cycles}
    assert counted == due


def values_of(digits, port):
    """For each event of a port whose pass shows a tensor: its time, and the golden values of its lanes."""
    part = "acc" if port == "acc" else "result"
    events, times = own(digits, part)
    results = {
        index: result
        for index, item in enumerate(digits.program.lowered.passes)
        for result in item.results
        if result.port == port
    }
    for time, index, token in zip(
        times, events[f"{part}_pass"].tolist(), events[f"{part}_number"].tolist(), strict=True
    ):
        result = results.get(index)
        if result and not result.tensor.endswith(".scores"):
            tensor = digits.trace[result.tensor][0]
            row = token - digits.program.lowered.passes[index]["skip"]
            yield time, tensor[row, result.first : result.first + result.channels].tolist()


@pytest.mark.parametrize(("port", "scope"), [("acc", "acc"), ("y", "y"), ("stored", "stored")])
def test_values_are_the_golden_models(digits, port, scope):
    seen = 0
    for time, expected in values_of(digits, port):
        assert digits.read.lanes(scope, time)[: len(expected)] == expected
        seen += len(expected)
    assert seen > 1000 or port == "stored"


@pytest.mark.parametrize("memory", ["bits_0", "bits_1"])
def test_signs_are_the_golden_models(digits, memory):
    seen = 0
    for time, expected in values_of(digits, memory):
        bits = digits.read.at(f"post_processing.{memory}", time)
        assert [bit == "1" for bit in bits[::-1]][: len(expected)] == [value > 0 for value in expected]
        seen += 1
    assert seen > 100


def test_bands_and_rows_of_attention_are_the_golden_models(digits):
    read = digits.read
    events, times = own(digits, "haar")
    passes, seen = digits.program.lowered.passes, 0
    columns = (events["haar_pass"], events["haar_number"], events["haar_phase"])
    for time, index, token, phase in zip(times, *(column.tolist() for column in columns), strict=True):
        assert read.at("haar_unit.band", time) == ("hi" if phase else "lo")
        (result,) = (one for one in passes[index].results if (one.port, one.phase) == ("haar", phase))
        expected = digits.trace[result.tensor][0][token, result.first : result.first + result.channels]
        assert read.lanes("haar", time)[: len(expected)] == expected.tolist()
        seen += 1
    assert seen == len(events)
    events, times = own(digits, "attention")
    for time, index in zip(times, events["attention_pass"].tolist(), strict=True):
        (result,) = (one for one in passes[index].results if one.port == "attention")
        query = int(read.at("softmax.token", time).removeprefix("token "))
        assert read.at("softmax.keys", time) == "tile 0"
        expected = digits.trace[result.tensor][0][result.head][query]
        assert [bit == "1" for bit in read.at("softmax.attention", time)[::-1]] == [v > 0 for v in expected]


def test_embedding_and_head(digits):
    """The next image's x goes into its bank beside the lanes, word by word."""
    read, activity = digits.read, digits.activity
    expected = expect(digits.program.model, workload("digits", [], 7).pixels[[4]])[0].trace["embedding.x"][0]
    seen = 0
    for time in read.highs("embedding.valid"):
        if read.at("embedding.image", time) == "image 4":
            token, tile = map(
                int, re.fullmatch(r"token (\d+), tile (\d+)", read.at("embedding.word", time)).groups()
            )
            assert read.lanes("x", time) == expected[token, 16 * tile : 16 * tile + 16].tolist()
            seen += 1
    assert seen == expected.size // 16
    sums = [read.number("head.sum", time) for time in read.highs("head.sum_valid")]
    pooled = digits.trace["pooled"][0].tolist()
    assert sums[-len(pooled) :] == pooled
    assert len(read.highs("head.answer_valid")) == len(
        activity.part("answer").rows(
            (activity.part("answer").cycles >= digits.first)
            & (activity.part("answer").cycles < digits.first + read.end)
        )
    )


def test_the_link(digits):
    read = digits.read
    frames = {read.at("link.in_frame", time) for time in range(read.end)}
    assert frames == {"", "image 6", "refused image 6"}
    inside = [time for time in range(read.end) if read.at("link.in_frame", time) == "image 6"]
    frame = len(encode(Frame(FrameType.IMAGE, 0, payload=bytes(64))))
    assert sum(read.at("link.rx_moving", time) == "1" for time in inside) == frame
    assert {"result 2", "result 3"} <= {read.at("link.out_frame", time) for time in range(read.end)}


def test_save_files_name_signals_that_exist(digits):
    read, (_, surfer, gtkwave) = digits.read, digits.paths
    exact = {name.replace(" ", "") for name in read.names}
    plain = {name.partition(" ")[0] for name in read.names}
    scopes = {name.rpartition(".")[0] for name in plain}
    lines = gtkwave.read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if not line.startswith(("@", "-", "["))]
    assert set(named) == exact
    assert len(named) == len(exact)
    shown = set()
    for line in surfer.read_text(encoding="utf-8").splitlines():
        verb, _, what = line.partition(" ")
        if verb == "variable_add":
            assert what in plain
            shown.add(what)
        elif verb == "scope_add_as_group":
            assert what in scopes
            shown |= {name for name in plain if name.rpartition(".")[0] == what}
        else:
            assert verb in ("divider_add", "group_fold_all", "zoom_fit")
            assert " " not in what
    assert shown == plain


def test_sizes(digits):
    wave_file, surfer, gtkwave = digits.paths
    assert 100_000 < wave_file.stat().st_size < 2_000_000
    assert surfer.stat().st_size < gtkwave.stat().st_size < 20_000


def small(value=b"1"):
    return [
        Signal("a", "text", changes={0: b"", 3: "α = 1".encode(), 5: b""}),
        Signal("a", "bit", 1, changes={0: b"0", 2: value}),
        Signal("b", "number", 5, signed=True, changes={4: b"10000", 0: b"xxxxx", 6: b"10000"}),
    ]


def test_a_small_file(tmp_path):
    fst.write(tmp_path / "deep" / "small.fst", small(), 10)
    read = Read(tmp_path / "deep" / "small.fst")
    assert read.names == ["haarlequin.a.text", "haarlequin.a.bit", "haarlequin.b.number [4:0]"]
    assert [read.at("a.text", time) for time in (0, 2, 3, 4, 5, 9)] == ["", "", "α = 1", "α = 1", "", ""]
    assert read.highs("a.bit") == list(range(2, 10))
    assert read.number("b.number", 4) == -16
    assert read._changes["haarlequin.b.number"][0] == [0, 4]  # the same value again is no change
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["small.fst"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch, error):
    path = tmp_path / "small.fst"
    real = fst.lib

    class Lib:
        def __getattr__(self, name):
            return getattr(real, name)

        def fstWriterEmitTimeChange(self, context, time):
            if time == 4:
                raise error
            real.fstWriterEmitTimeChange(context, time)

    monkeypatch.setattr(fst, "lib", Lib())
    with pytest.raises(error):
        fst.write(path, small(), 10)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    fst.write(path, small(), 10)
    before = path.read_bytes()
    monkeypatch.setattr(fst, "lib", Lib())
    with pytest.raises(error):
        fst.write(path, small(b"x"), 10)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_was_cut_is_seen(tmp_path, monkeypatch):
    """As on a full disk, which the library does not tell."""
    real = fst.lib

    class Lib:
        def __getattr__(self, name):
            return getattr(real, name)

        def fstWriterClose(self, context):
            real.fstWriterClose(context)
            (draft,) = tmp_path.glob(".*/small.fst")
            draft.write_bytes(draft.read_bytes()[:-20])

    monkeypatch.setattr(fst, "lib", Lib())
    with pytest.raises(OSError, match=r"small\.fst cannot be written whole"):
        fst.write(tmp_path / "small.fst", small(), 10)
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    wave.main(["--model", "digits", "--images", "2", "--image", "0", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "image 0 of digits on 16x64: trained weights, 2 test images; 4918 cycles"
    assert lines[-2:] == [
        f"    surfer -c {tmp_path}/digits.sucl {tmp_path}/digits.fst",
        f"    gtkwave {tmp_path}/digits.fst {tmp_path}/digits.gtkw",
    ]
    read = Read(tmp_path / "digits.fst")
    assert read.at("sequencer.image", 4918 // MARGIN) == "image 0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "letters"], "unknown preset 'letters'"),
        (["--config", "3x3"], "unknown accelerator '3x3'"),
        (["--config", "scalar"], "take another --config than scalar"),
        (["--image", "16"], "--image must be 0 to 15, one of trained weights, 16 test images, not 16"),
        (["--image", "-1"], "not -1"),
        (["--model", "nothing.onnx"], "nothing.onnx: no such file"),
    ],
)
def test_bad_input_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        wave.main([*arguments, "--out", str(tmp_path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fst, "_scope", interrupted)
    with pytest.raises(SystemExit) as ended:
        wave.main(["--images", "1", "--out", str(tmp_path)])
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted: a simulator that was built is kept")
    assert list(tmp_path.iterdir()) == []


def test_a_difference_shows_and_fails(tmp_path, monkeypatch, capsys):
    """The waveform is there all the same: it is what a person needs then."""
    monkeypatch.chdir(ROOT)
    real = wave.expect

    def other(model, pixels):
        expected = real(model, pixels)
        expected[0].trace["pooled"] = expected[0].trace["pooled"] + np.eye(1, 64, dtype=np.int64)
        return expected

    monkeypatch.setattr(wave, "expect", other)
    with pytest.raises(SystemExit) as stop:
        wave.main(["--images", "1", "--out", str(tmp_path)])
    assert stop.value.code == 1
    assert "DIFFERS: image 0: pooled, channel 0: expected" in capsys.readouterr().out
    assert (tmp_path / "digits.fst").exists()
