"""The accelerator as a program uses it."""

import base64
import doctest
import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import haarlequin
from haarlequin import Accelerator
from haarlequin.hw.presets import CONFIGS
from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.pictures import PictureError
from haarlequin.models.common.places import build_folder
from haarlequin.sim.serve import Board
from haarlequin.sim.simulate import simulator
from haarlequin.sw import accelerator
from haarlequin.sw import table_folder as compiled
from haarlequin.sw.accelerator import Predictions, scores
from haarlequin.sw.devices import DeviceError, Result, serial_port
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.verilated.simulation import Simulation
from tests.sw.devices.fake import PIECES, TABLES, FakeLine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def golden():
    with Accelerator("golden", "digits") as accelerator:
        yield accelerator


def child(code, *arguments):
    """Run it in a Python of its own; (exit status, output, errors)."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    return ran.returncode, ran.stdout, ran.stderr


def test_predictions(golden, pictures, expected, test_set):
    came = golden.classify(pictures)
    assert isinstance(came, Predictions)
    assert came.classes == tuple("0123456789")
    assert came.logits.tolist() == [logits for logits, *_ in expected]
    assert came.cycles.tolist() == [cycles for _, cycles, _ in expected]
    assert came.saturations.tolist() == [clipped for *_, clipped in expected]
    assert came.labels.tolist() == test_set.labels[: len(pictures)].tolist()
    assert came.names == [str(label) for label in came.labels]
    assert [(x.dtype, x.shape) for x in (came.logits, came.scores, came.cycles, came.saturations)] == [
        (np.int32, (6, 10)), (np.float64, (6, 10)), (np.int64, (6,)), (np.int64, (6,)),
    ]  # fmt: skip
    assert (came.labels.dtype, came.labels.shape) == (np.int64, (6,))
    assert came.scores.sum(1) == pytest.approx(np.ones(6))
    assert (came.scores.argmax(1) == came.labels).all()
    powers = np.exp(came.logits * golden.model_config.logit_scale)
    assert came.scores == pytest.approx(powers / powers.sum(1, keepdims=True))
    with pytest.raises(FrozenInstanceError):
        came.logits = None


def test_all_test_digits_through_the_simulated_accelerator(trained_digits, test_set):
    """The figure of the README, on the RTL."""
    with Accelerator("sim", "digits") as accelerator:
        predictions = accelerator.classify(test_set.pixels)
    assert np.array_equal(predictions.logits, trained_digits.golden(test_set.pixels))
    assert set(predictions.cycles) == {4918}
    assert np.sum(predictions.labels == test_set.labels) == 352


def test_of_equal_logits_the_first(golden):
    zero = np.zeros(1, np.int64)
    one = Predictions(np.array([[1, 7, 7]], np.int32), ("a", "b", "c"), zero, zero, 1.0)
    assert one.names == ["b"]


def test_logits_of_an_image_are_always_there(pictures, expected):
    """Asking for them changes nothing."""
    with Accelerator("golden", "digits", logits=True) as accelerator:
        came = accelerator.classify(pictures)
    assert came.logits.tolist() == [logits for logits, *_ in expected]
    assert (came.labels_only, came.scores.shape) == (False, (6, 10))


def test_no_images(golden):
    for none in ([], np.zeros((0, 8, 8), np.uint8), iter(())):
        came = golden.classify(none)
        assert (came.logits.shape, came.logits.dtype) == ((0, 10), np.int32)
        assert (came.scores.shape, came.scores.dtype) == ((0, 10), np.float64)
        assert (came.cycles.shape, came.cycles.dtype) == ((0,), np.int64)
        assert (came.saturations.shape, came.labels.shape, came.names) == ((0,), (0,), [])


def test_every_kind_of_image(golden, pictures, expected, tmp_path):
    images = [Image.fromarray(picture[..., 0]) for picture in pictures]
    paths = [tmp_path / f"{i}.png" for i in range(len(pictures))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    mixed = [pictures[0], pictures[1][..., 0], images[2], paths[3], str(paths[4]), images[5].convert("RGB")]
    forms = [pictures, pictures[..., 0], list(pictures), tuple(images), paths, map(str, paths), mixed]
    forms += [
        np.asfortranarray(pictures),
        np.repeat(pictures, 3, axis=3),
        np.flip(np.flip(pictures, 2).copy(), 2),
    ]
    frozen = pictures.copy()
    frozen.flags.writeable = False
    for form in [*forms, frozen]:
        assert golden.classify(form).logits.tolist() == [logits for logits, *_ in expected]


def test_larger_images_are_scaled(golden, pictures, expected):
    large = pictures.repeat(8, 1).repeat(8, 2)
    assert (
        golden.classify(large).labels.tolist() == np.argmax([logits for logits, *_ in expected], 1).tolist()
    )
    pixels, note = golden.pixels(large[0])
    assert (pixels.shape, pixels.dtype, note) == ((8, 8, 1), np.uint8, "64×64 grey: scaled to 8×8")
    assert golden.pixels(pictures[0])[1] is None


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 8, 8)), PictureError, "an array must be uint8"),
        (np.zeros((2, 8, 8), np.int64), PictureError, "an array must be uint8"),
        (np.zeros((8, 8), np.uint8), PictureError, "an array must be uint8"),
        (np.zeros((2, 8, 8, 2), np.uint8), PictureError, "an array must be uint8"),
        (np.zeros((2, 1, 1), np.uint8), PictureError, "less than a quarter of the model's 8×8"),
        (["/no/such.png"], PictureError, "/no/such.png: cannot be opened: No such file"),
        ([Path("/")], PictureError, "/: a folder, not an image"),
        ([None], TypeError, "source must be a Path, bytes, an Image or an array, not None"),
        ([[[0] * 8] * 8], TypeError, "source must be a Path, bytes, an Image or an array"),
        ("digit.png", TypeError, "images must be several, not 'digit.png': put it into a list"),
        (Path("digit.png"), TypeError, "images must be several"),
        (Image.new("L", (8, 8)), TypeError, "images must be several"),
    ],
    ids=range(12),
)
def test_what_is_no_image(golden, pictures, expected, images, error, message):
    with pytest.raises(error, match=message):
        golden.classify(images)
    assert golden.classify(pictures[:1]).logits[0].tolist() == expected[0][0]


def test_one_bad_image_among_good_ones(pictures, expected):
    with Accelerator("sim") as accelerator:
        with pytest.raises(PictureError, match="no/such"):
            accelerator.classify([pictures[0], pictures[1], "no/such", pictures[2]])
        came = accelerator.classify(pictures[2:4])
        assert came.logits.tolist() == [logits for logits, *_ in expected[2:4]]
        assert came.saturations.tolist() == [clipped for *_, clipped in expected[2:4]]


def test_images_are_taken_as_there_is_room(golden, pictures):
    taken = []
    results = golden.stream(taken.append(i) or picture for i, picture in enumerate(pictures))
    assert taken == []
    next(results)
    assert len(taken) <= 2


def test_the_check_finds_every_difference(golden, pictures):
    (right,) = golden.stream(pictures[:1])
    assert golden.check(pictures[0], right) is None
    for index in (0, 9):
        logits = right.logits.copy()
        logits[index] += 1
        wrong = Result(logits, right.cycles, right.saturations)
        said = f"class {index}: expected {right.logits[index]}, got {logits[index]}"
        assert golden.check(pictures[0], wrong) == said
    wrong = Result(right.logits, 4906, right.saturations)
    assert golden.check(pictures[0], wrong) == "cycles: expected 4918, got 4906"
    wrong = Result(right.logits, 4918, right.saturations + 1)
    said = f"saturations: expected {right.saturations}, got {right.saturations + 1}"
    assert golden.check(pictures[0], wrong) == said
    assert golden.check(pictures[1], right).startswith("class 0: expected ")


# In a notebook


def test_a_notebook_shows_images_and_bars(golden, pictures, expected):
    came = golden.classify(pictures)
    assert (came.pixels.dtype, came.pixels.shape) == (np.uint8, pictures.shape)
    assert np.array_equal(came.pixels, pictures)
    shown = came._repr_html_()
    assert shown.count("<img ") == shown.count("<article ") == len(pictures)
    best = np.argsort(-came.scores, 1)[:, :3]
    said = re.findall(r'hq-name">(\d)</span>.*?hq-share">([0-9.]+%)', shown)
    wanted = [(str(k), f"{came.scores[i, k]:.1%}") for i, row in enumerate(best) for k in row]
    assert said == wanted
    assert shown.count("4918 cycles") == len(pictures)
    files = [base64.b64decode(data) for data in re.findall(r'base64,([^"]+)"', shown)]
    assert np.array_equal(np.stack([Image.open(io.BytesIO(file)) for file in files]), pictures[..., 0])


def test_the_pixels_are_those_that_the_model_saw(golden, pictures):
    large = pictures.repeat(8, 1).repeat(8, 2)
    came = golden.classify(iter(large))
    assert np.array_equal(came.pixels, np.stack([golden.pixels(image)[0] for image in large]))
    assert golden.classify([]).pixels.shape == (0, 8, 8, 1)
    assert "no images" in golden.classify([])._repr_html_()
    assert "pixels" not in repr(came)


def test_predictions_without_pixels_have_bars_only():
    zero = np.zeros(1, np.int64)
    one = Predictions(np.array([[1, 7, 7]], np.int32), ("a", "<b>", "c"), zero, zero, 1.0)
    shown = one._repr_html_()
    assert ("<img" in shown, shown.count("<li>"), "&lt;b&gt;" in shown, "<b>" in shown) == (
        False,
        3,
        True,
        False,
    )


# Threads


@pytest.mark.parametrize("device", ["sim", "golden"])
def test_four_threads_on_one_accelerator(device, pictures, expected):
    """Each gets the results of its own images, and may check them meanwhile."""
    with Accelerator(device, "digits") as accelerator, ThreadPoolExecutor(4) as pool:

        def classified(shift):
            mine = np.roll(pictures, shift, 0)
            came = accelerator.classify(mine)
            results = map(Result, came.logits, came.cycles, came.saturations)
            wrong = [accelerator.check(*each) for each in zip(mine, results, strict=True)]
            return came.logits.tolist(), wrong

        for shift, (came, wrong) in enumerate(pool.map(classified, range(4))):
            assert came == [logits for logits, *_ in expected[-shift:] + expected[:-shift]]
            assert wrong == [None] * len(pictures)


def test_an_unfinished_stream_and_its_own_thread(golden, pictures, expected):
    results = golden.stream(pictures)
    next(results)
    with pytest.raises(RuntimeError, match="exhaust its iterator, or close it, first"):
        golden.classify(pictures)
    results.close()
    assert golden.classify(pictures[:1]).logits[0].tolist() == expected[0][0]


def test_scores():
    far = np.array([[2**31 - 1, -(2**31), 0], [5, 5, 5]], np.int32)
    assert scores(far, 1.0).tolist() == [[1, 0, 0], pytest.approx([1 / 3] * 3)]
    assert scores(np.array([0, 1], np.int32), np.log(3)).tolist() == pytest.approx([0.25, 0.75])


# What there is no accelerator for


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("usb", "digits"), "unknown device 'usb': there are sim, golden, serial:PORT"),
        (("golden", "letters"), "unknown model 'letters'"),
        (("golden", "digits", "3x3"), "unknown accelerator '3x3': there are 2x64"),
        (("serial:/dev/null", "digits", "16x64"), "a board has its own configuration: leave it out"),
        (("serial:/dev/null@0", "digits"), "the baud rate in serial:/dev/null@0 must be"),
    ],
)
def test_what_cannot_be_used(arguments, message):
    with pytest.raises(UsageError, match=message):
        Accelerator(*arguments)


def test_a_device_is_let_go_where_it_cannot_be_used(digits_tables, monkeypatch):
    closed = []
    monkeypatch.setattr("haarlequin.sw.devices.golden.GoldenDevice.close", lambda self: closed.append(self))
    with pytest.raises(DeviceError, match="tables are not enough"):
        Accelerator("golden", digits_tables)
    assert len(closed) == 1


def test_tables_for_another_accelerator(other_tables):
    with pytest.raises(DeviceError, match=r"^sim: the tables are for 2x64 .*, the accelerator is another"):
        Accelerator("sim", other_tables, "16x64")


def test_tables_alone(digits_tables, pictures, expected):
    with Accelerator("sim", digits_tables) as accelerator:
        came = accelerator.classify(pictures[:1])
        assert came.logits[0].tolist() == expected[0][0]
        (result,) = accelerator.stream(pictures[:1])
        with pytest.raises(UsageError, match="tables alone cannot be checked"):
            accelerator.check(pictures[0], result)


def test_a_board_that_only_its_tables_know(tmp_path, monkeypatch):
    """Neither board nor tables are of an accelerator in `hw.config`."""
    line, progress = FakeLine(), []
    monkeypatch.setattr(serial_port, "SerialLine", lambda port, baud: line)
    compiled.save(TABLES, tmp_path)
    with Accelerator(
        "serial:/dev/mine", tmp_path, progress=lambda *done: progress.append(done)
    ) as accelerator:
        came = accelerator.classify(np.zeros((1, 8, 8), np.uint8))
    assert came.classes == ("a", "b", "c")
    assert len(progress) == PIECES
    assert line.closed


def test_a_model_for_a_board_that_nobody_knows(monkeypatch):
    line = FakeLine()
    monkeypatch.setattr(serial_port, "SerialLine", lambda port, baud: line)
    with pytest.raises(UsageError, match=r"does not know \(digest 0x12345678\)"):
        Accelerator("serial:/dev/mine", "digits")
    assert line.closed


def test_another_accelerator_in_the_golden_model(pictures, expected):
    with Accelerator("golden", ModelSource("digits").config.name, "2x64") as accelerator:
        assert accelerator.device.digest == CONFIGS["2x64"].digest
        came = accelerator.classify(pictures[:1])
        assert came.logits[0].tolist() == expected[0][0]
        assert came.cycles[0] > 4918


# The package


def test_the_example_in_its_docstring():
    outcome = doctest.testmod(accelerator)
    assert (outcome.failed, outcome.attempted > 0) == (0, True)


def test_the_package_offers_it():
    assert haarlequin.Accelerator is accelerator.Accelerator
    with pytest.raises(AttributeError, match="module 'haarlequin' has no attribute 'Accelerators'"):
        haarlequin.Accelerators  # noqa: B018


def test_importing_it_leaves_pytorch_alone():
    code = """
import sys
from haarlequin import Accelerator
print({'torch', 'onnx', 'haarlequin.sw.accelerator'} & {*sys.modules})
"""
    assert child(code) == (0, "{'haarlequin.sw.accelerator'}\n", "")


WITHOUT_PYTORCH = """
import sys
missing = "torch", "onnx", "onnxruntime", "sklearn", "brevitas", "cocotb", "matplotlib", "plotly", "IPython"
for name in missing:
    sys.modules[name] = None
import numpy as np
from haarlequin import Accelerator
from haarlequin.sw.devices.serial_port import SerialLine
SerialLine.latency = 2.0
with Accelerator(*sys.argv[1:3]) as accelerator:
    predictions = accelerator.classify(np.load(sys.argv[3]))
    print(predictions.logits.tolist(), predictions._repr_html_().count("<img "))
"""


def test_tables_on_a_board_do_without_pytorch(small_onnx, pictures, tmp_path):
    machine = CONFIGS["16x64"]
    small = ModelSource(str(small_onnx)).compiled(machine.digest)
    compiled.save(small.tables, tmp_path / "tables")
    np.save(tmp_path / "images.npy", pictures[:2])
    with Accelerator("golden", small_onnx, "16x64") as golden:
        wanted = golden.classify(pictures[:2]).logits.tolist()
    with Simulation(simulator(machine, build_folder("sim"))) as simulation, Board(simulation) as board:
        came = child(WITHOUT_PYTORCH, board.device, tmp_path / "tables", tmp_path / "images.npy")
    assert came == (0, f"{wanted} 2\n", "")
