"""`python sw/infer.py` as a person meets it, and a program."""

import base64
import functools
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from haarlequin.hw.presets import CONFIGS, accelerator
from haarlequin.models.common.places import build_folder
from haarlequin.sim.serve import Board
from haarlequin.sim.simulate import simulator
from haarlequin.sw import accelerator as accelerator_module
from haarlequin.sw import infer
from haarlequin.sw.devices import DeviceError, Result
from haarlequin.sw.devices.golden import GoldenDevice
from haarlequin.sw.devices.serial_port import SerialLine
from haarlequin.sw.images import find
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.verilated.simulation import Simulation
from tests.said import said
from tests.sw.conftest import MACHINE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
INFER = ROOT / "sw" / "infer.py"
GOLDEN = ["--device", "golden"]
KEYS = ["path", "label", "index", "logits", "cycles"]
FIRST = "digits/test/0: 7 80.5%, 4918 cycles"
"""What the trained model says of the first test image, on a device that counts its cycles."""


@pytest.fixture(autouse=True)
def read_once(monkeypatch):
    """A model is read from its file once for all the tests."""
    monkeypatch.setattr(accelerator_module, "ModelSource", _source)


@functools.cache
def _source(name):
    return ModelSource(name)


@pytest.fixture(scope="session")
def simulated():
    """The simulator is there: whichever test would build it would also say so."""
    simulator(CONFIGS["16x64"], build_folder("sim"), notice=lambda line: None)


@pytest.fixture
def run(simulated, capsys):
    """Run the command line; its exit code, and the lines of stdout and of stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            infer.main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        assert "Traceback" not in out + error
        return stop.value.code, out.splitlines(), error.splitlines()

    return run


@pytest.fixture
def digit(pictures, tmp_path):
    """An 8×8 PNG, the first test image, a 7."""
    path = tmp_path / "digit.png"
    Image.fromarray(pictures[0][..., 0]).save(path)
    return path


def child(*arguments, **options):
    """The command in a process of its own, without arguments of the Python that runs it."""
    settings = {"cwd": ROOT, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, *map(str, arguments)], **settings)


# What comes out


def test_the_simulator_is_what_runs_by_default(run):
    simulator(
        accelerator("16x64"), build_folder("sim"), notice=lambda line: None
    )  # or it would say that it builds it
    code, out, error = run("--limit", 2)
    assert (code, error) == (0, [])
    assert out[:2] == [FIRST, "digits/test/1: 6 96.6%, 4918 cycles"]
    pattern = r"2 images, 100\.00% right \(2 of 2\), 4918 cycles an image, ([0-9.]+) images/s"
    found = re.fullmatch(pattern + ", ([0-9.]+) ms for the first", out[2])
    rate, milliseconds = map(float, found.groups())
    assert 0 < milliseconds / 1000 < 2 / rate + 0.1  # within the time that both took
    assert len(out) == 3


def test_the_golden_model_only_predicts_cycles(run):
    code, out, error = run(*GOLDEN, "--limit", 1)
    assert (code, error) == (0, [])
    assert out[0] == f"{FIRST} predicted"
    assert " 4918 cycles an image predicted, " in out[1]


def test_a_serial_port(run, monkeypatch, small_onnx, digit):
    monkeypatch.setattr(SerialLine, "latency", 2.0)
    with Simulation(simulator(MACHINE, build_folder("sim"))) as simulation, Board(simulation) as board:
        code, out, error = run("--device", board.device, "--model", small_onnx, digit, "--check")
    assert (code, error) == (0, [])
    assert re.fullmatch(rf"{digit}: (ant|bee|cat) [0-9.]+%, \d+ cycles", out[0])
    assert out[1].endswith(", 1 of 1 equal to the golden model")


def test_all_of_the_models_own_images(run, test_set):
    """The published accuracy is of these."""
    code, out, error = run(*GOLDEN)
    assert (code, error, len(out)) == (0, [], 361)
    wrong = [line for line in out[:-1] if "(it is " in line]
    right = 360 - len(wrong)
    card = json.loads((ROOT / "models" / "zoo" / "digits" / "card.json").read_text())
    assert right / 360 == pytest.approx(card["accuracy"]["test_deploy"])
    assert f"360 images, {right / 360:.2%} right ({right} of 360), " in out[-1]
    for line in wrong:
        number, said, truth = re.match(r"digits/test/(\d+): (\d) .* \(it is (\d)\), 4918 ", line).groups()
        assert said != truth == str(test_set.labels[int(number)].item())


@pytest.mark.parametrize("device", ["sim", "golden"])
def test_objects_for_programs(run, device, expected, test_set):
    code, out, error = run("--device", device, "--json", "--limit", 3)
    assert code == 0
    entries = [json.loads(line) for line in out]
    more = {"cycles_predicted": True} if device == "golden" else {}
    for i, entry in enumerate(entries):
        logits, cycles, _ = expected[i]
        label = int(np.argmax(logits))
        wanted = {"path": f"digits/test/{i}", "label": str(label), "index": label, "logits": logits}
        assert entry == wanted | {"cycles": cycles, "target": test_set.labels[i].item()} | more
        assert list(entry)[: len(KEYS)] == KEYS
        assert type(entry["index"]) is int
    assert len(entries) == 3
    assert len(error) == 1
    assert error[0].startswith("3 images, 100.00% right (3 of 3), 4918 cycles an image")


def test_two_devices_share_the_images(run, test_set, trained_digits):
    """The lines are those of one device, in order."""
    code, out, error = run("--device", "golden,sim", "--check", "--json", "--limit", 30)
    assert (code, len(error)) == (0, 1)
    assert error[0].endswith(", 30 of 30 equal to the golden model")
    entries = [json.loads(line) for line in out]
    assert [each["path"] for each in entries] == [f"digits/test/{i}" for i in range(30)]
    assert [each["logits"] for each in entries] == trained_digits.golden(test_set.pixels[:30]).tolist()
    assert {each["cycles"] for each in entries} == {4918}


def test_one_of_two_devices_fails(run, monkeypatch):
    """The run goes on, which one line says."""
    monkeypatch.setattr("haarlequin.sw.devices.golden.GoldenDevice", Failing)
    code, out, error = run("--device", "golden,sim", "--limit", 12)
    assert code == 0
    assert [line.split(":")[0] for line in out[:-1]] == [f"digits/test/{i}" for i in range(12)]
    assert error == ["golden: tried an image 6 times, and nothing came; the run goes on with sim"]


@pytest.mark.parametrize(
    ("device", "more", "message"),
    [
        ("sim,sim", [], "sim and sim are the same device: name it once"),
        ("golden,", [], "the devices 'golden,' have an empty entry: name them as A,B"),
        ("golden,sims", [], "unknown device 'sims': there are sim, golden, "),
        ("golden,sim", ["--benchmark", "3"], "a benchmark is of one accelerator: name one of golden,sim"),
    ],
)
def test_several_devices_that_cannot_be(run, device, more, message):
    code, out, error = run("--device", device, *more)
    assert (code, out, len(error)) == (2, [], 1)
    assert error[0].startswith(f"error: {message}")


def test_logits_of_an_image_need_not_be_asked_for(run):
    printed = [run(*GOLDEN, "--json", "--limit", 2, *more)[1] for more in ([], ["--logits"])]
    assert printed[0] == printed[1]
    assert all(len(json.loads(line)["logits"]) == 10 for line in printed[0])


def test_an_image_is_computed_many_times(run):
    code, out, error = run("--benchmark", 3, "--check")
    assert (code, error, out[0]) == (0, [], FIRST)
    assert re.fullmatch(r"3 times: [0-9,.]+ cycles an image, [0-9,.]+ images/s at 50 MHz", out[1])
    assert len(out) == 2
    code, (line,), error = run("--benchmark", 3, "--json")
    found = json.loads(line)["benchmark"]
    assert (code, error, found["images"], found["clock_hz"]) == (0, [], 3, 50_000_000)
    assert 3 * 4918 <= found["cycles"] < 6 * 4918
    assert found["images_per_second"] == pytest.approx(3 * 50e6 / found["cycles"], abs=0.05)


def test_the_golden_model_has_no_speed_of_its_own(run):
    code, out, error = run(*GOLDEN, "--benchmark", 3)
    assert (code, out, len(error)) == (1, [], 1)
    assert error[0].startswith("error: golden: its cycles are predicted")


def test_what_cannot_be_computed_many_times(run, digit, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no")
    code, out, error = run("--benchmark", 3, tmp_path / "no.png")
    assert (code, out, len(error)) == (2, [], 1)
    code, out, error = run("--benchmark", 3, digit, tmp_path / "gone.png")
    assert (code, len(out)) == (2, 2)


def test_no_target_where_none_is_known(run, digit):
    code, out, _ = run(*GOLDEN, "--json", digit)
    assert code == 0
    assert sorted(json.loads(out[0])) == sorted([*KEYS, "cycles_predicted"])


def test_the_likeliest_labels(run):
    code, out, _ = run(*GOLDEN, "--limit", 1, "--top", 3)
    assert code == 0
    shares = re.findall(r"(\d) ([0-9.]+)%", out[0].split(": ")[1])
    assert shares[0][0] == "7"
    assert len(shares) == 3
    assert [float(share) for _, share in shares] == sorted(
        (float(share) for _, share in shares), reverse=True
    )
    for top in (10, 99):
        _, out, _ = run(*GOLDEN, "--limit", 1, "--top", top)
        assert sorted(re.findall(r"(\d) [0-9.]+%", out[0].split(": ")[1])) == list("0123456789")
        assert sum(float(share) for share in re.findall(r"([0-9.]+)%", out[0])) == pytest.approx(100, abs=0.6)


def test_files_folders_and_patterns(run, pictures, tmp_path):
    for number, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        Image.fromarray(pictures[number][..., 0]).save(tmp_path / name / "2.png")
        Image.fromarray(pictures[2][..., 0]).save(tmp_path / name / "10.png")
    code, out, error = run(*GOLDEN, tmp_path / "b" / "10.png", tmp_path / "a", tmp_path / "*" / "*.png")
    assert (code, error) == (0, [])
    wanted = ["b/10.png: 3", "a/2.png: 7", "a/10.png: 3", "b/2.png: 6"]
    assert [line.removeprefix(f"{tmp_path}/").split(" ")[:2] for line in out[:-1]] == [
        each.split(" ") for each in wanted
    ]
    code, out, _ = run(*GOLDEN, tmp_path, "--limit", 3)
    assert (code, len(out)) == (0, 4)


def test_the_folders_name_is_the_true_class(run, pictures, tmp_path):
    for folder in ("7", "3", "seven"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pictures[0][..., 0]).save(tmp_path / folder / "x.png")
    code, out, _ = run(*GOLDEN, tmp_path)
    assert code == 0
    assert out[0].startswith(f"{tmp_path}/3/x.png: 7 80.5% (it is 3), ")
    assert out[1] == f"{tmp_path}/7/x.png: 7 80.5%, 4918 cycles predicted"
    assert out[3].startswith("3 images, 50.00% right (1 of 2), ")
    _, out, _ = run(*GOLDEN, tmp_path, "--json")
    assert [json.loads(line).get("target") for line in out] == [3, 7, None]


def test_what_was_done_to_images_is_said_once(run, pictures, tmp_path):
    for i in range(3):
        Image.fromarray(pictures[i][..., 0]).resize((16 + i, 16)).save(tmp_path / f"{i}.png")
    code, out, error = run(*GOLDEN, tmp_path)
    assert (code, len(out)) == (0, 4)
    assert error == [f"{tmp_path}/0.png: 16×16 grey: scaled to 8×8; others are converted likewise"]


def test_another_model(run, small_onnx, digit, tmp_path):
    code, out, error = run(*GOLDEN, "--model", small_onnx, "--config", "16x64", digit, "--top", 3)
    assert (code, error) == (0, [])
    assert sorted(re.findall("ant|bee|cat", out[0])) == ["ant", "bee", "cat"]
    code, out, error = run(*GOLDEN, "--model", small_onnx, "--config", "16x64")
    assert (code, out) == (2, [])
    assert len(error) == 1  # it has no images of its own
    assert error[0].startswith("error: name images, or give --data DIR, the data set of small, ")
    code, out, error = run(*GOLDEN, "--data", tmp_path, digit)
    assert (code, out) == (2, [])
    assert error == ["error: --data is for the model's own test images: leave out --data, or the images"]


def test_tables_alone(run, digits_tables, digit):
    code, out, error = run("--model", digits_tables, digit)
    assert (code, error) == (0, [])
    assert out[0] == f"{digit}: 7 80.5%, 4918 cycles"


# The check


def test_a_check_that_holds(run):
    code, out, error = run("--check", "--limit", 2)
    assert (code, error) == (0, [])
    assert out[-1].endswith(", 2 of 2 equal to the golden model")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (
            lambda r: Result(r.logits + (np.arange(10) == 3).astype(np.int32), r.cycles, r.saturations),
            "class 3",
        ),
        (lambda r: Result(r.logits, r.cycles + 1, r.saturations), "cycles"),
        (lambda r: Result(r.logits, r.cycles, r.saturations - 1), "saturations"),
    ],
    ids=["logits", "cycles", "saturations"],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_check_that_fails(run, monkeypatch, wrong, what, as_json, expected):
    """The second image of three comes out wrong."""
    stream = accelerator_module.Accelerator.stream

    def wrong_stream(self, pixels):
        for i, result in enumerate(stream(self, pixels)):
            yield wrong(result) if i == 1 else result

    monkeypatch.setattr(accelerator_module.Accelerator, "stream", wrong_stream)
    code, out, error = run(*GOLDEN, "--check", "--limit", 3, *(["--json"] if as_json else []))
    assert code == 1
    right = {"class 3": expected[1][0][3], "cycles": 4918, "saturations": expected[1][2]}[what]
    came = right - 1 if what == "saturations" else right + 1
    assert error[0] == f"error: digits/test/1: {what}: expected {right}, got {came}"
    assert (error if as_json else out)[-1].endswith(", 2 of 3 equal to the golden model")
    assert len(out) == (3 if as_json else 4)  # all three images were answered
    code, out, error = run(*GOLDEN, "--limit", 3)  # unseen, unless it is looked for
    assert code == 0


def test_tables_cannot_be_checked(run, digits_tables, digit):
    code, out, error = run("--model", digits_tables, "--check", digit)
    assert (code, out) == (2, [])
    assert error == ["error: --check: tables cannot be checked, give the model's name or its ONNX file"]


# The page


@pytest.fixture
def shown(run, tmp_path):
    """Run the command with ``--show``; its exit code, its lines, and the content of the page."""

    def shown(*arguments):
        path = tmp_path / "out" / "page.html"
        code, out, error = run(*arguments, "--show", path)
        return code, out, error, path.read_text(encoding="utf-8")

    return shown


def answers(content):
    """(name, classes with their shares, what is said below) of each image of a page."""
    text = [
        re.sub(r"<wbr>|</?span[^>]*>|</?strong[^>]*>", "", card) for card in content.split("<article ")[1:]
    ]
    found = []
    for card in text:
        name, rows, said = re.search(r"<h2>(.*)</h2><ol>(.*)</ol><p>(.*)</p>", card).groups()
        found.append((name, re.findall(r"<li>(\w+?)([0-9.]+%)</li>", rows), said))
    return found


@pytest.mark.parametrize("device", ["sim", "golden"])
def test_a_page_of_the_answers(shown, run, device, pictures, expected, golden_scores):
    """Three classes of each image; the lines are as they are without it."""
    code, out, error, content = shown("--device", device, "--limit", 3)
    assert (code, error) == (0, [])
    plain = run("--device", device, "--limit", 3)[1]
    assert out[:-1] == plain[:-1]
    assert f"<p>{out[-1]}</p>" in content
    name = {"sim": "the simulated accelerator", "golden": "the integer model"}[device]
    assert f"<h1>digits on {name}</h1>" in content
    predicted = " predicted" if device == "golden" else ""
    for i, (path, rows, note) in enumerate(answers(content)):
        order = np.argsort(-golden_scores[i])[:3]
        assert path == f"digits/test/{i}"
        assert rows == [(str(k), f"{golden_scores[i][k]:.1%}") for k in order]
        assert note == f"✓ right 4918 cycles{predicted}"
    assert i == 2
    data = re.findall(r'src="data:image/png;base64,([^"]+)"', content)
    drawn = [np.array(Image.open(io.BytesIO(base64.b64decode(each)))) for each in data]
    assert np.array_equal(drawn, pictures[:3, ..., 0])
    assert "images were answered" not in content
    assert "Could not be used" not in content


@pytest.fixture
def golden_scores(expected):
    logits = np.array([logits for logits, *_ in expected])
    return accelerator_module.scores(logits, _source("digits").config.logit_scale)


def test_a_page_with_everything_else(shown, digit, pictures, tmp_path, monkeypatch, expected):
    """True classes, images that cannot be used, a difference, JSON, and as many labels as are asked for."""
    (tmp_path / "3").mkdir()
    wrong = tmp_path / "3" / "<script>alert('x')<script>.png"
    shutil.copy(digit, wrong)
    text(tmp_path / "bad.png")
    stream = accelerator_module.Accelerator.stream

    def wrong_stream(self, pixels):
        for i, result in enumerate(stream(self, pixels)):
            yield Result(result.logits, result.cycles + i, result.saturations)

    monkeypatch.setattr(accelerator_module.Accelerator, "stream", wrong_stream)
    arguments = digit, tmp_path / "bad.png", wrong, tmp_path / "gone.png"
    code, out, error, content = shown(*GOLDEN, *arguments, "--check", "--top", 2, "--json")
    assert (code, len(out)) == (1, 2)
    assert [json.loads(line)["index"] for line in out] == [7, 7]
    first, second = answers(content)
    assert (first[0], len(first[1]), first[2]) == (str(digit), 2, "4918 cycles predicted")
    said = "differs from the golden model: cycles: expected 4918, got 4919"
    assert second[2] == f"✗ wrong: it is 3 4919 cycles predicted {said}"
    assert "<script" not in content
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;script&gt;.png" in content
    refused = content.partition("Could not be used")[2]
    assert [line.removeprefix("error: ") for line in error if "expected" not in line][:2] == re.findall(
        "<li>(.*)</li>", refused
    )
    assert error[-1].endswith(", 1 of 2 equal to the golden model, 2 could not be used")
    assert f"<p>{error[-1]}</p>" in content


def test_a_page_through_a_serial_port(shown, monkeypatch, small_onnx, digit):
    monkeypatch.setattr(SerialLine, "latency", 2.0)
    with Simulation(simulator(MACHINE, build_folder("sim"))) as simulation, Board(simulation) as board:
        code, _, error, content = shown("--device", board.device, "--model", small_onnx, digit)
        assert f"<h1>small on {board.device}</h1>" in content
    assert (code, error) == (0, [])
    ((_, rows, said),) = answers(content)
    assert sorted(name for name, _ in rows) == ["ant", "bee", "cat"]
    assert re.fullmatch(r"\d+ cycles", said)


def test_a_page_of_a_path_that_is_no_text(shown, digit):
    path = Path(os.fsdecode(os.fsencode(digit.parent) + b"/\xff.png"))
    shutil.copy(digit, path)
    code, _, _, content = shown(*GOLDEN, path)
    assert code == 0
    assert "\\udcff.png</h2>" in content


def test_a_page_of_a_device_that_fails_midway(shown, monkeypatch):
    """It has what came until then, and says so."""
    monkeypatch.setattr("haarlequin.sw.devices.golden.GoldenDevice", Failing)
    code, _, _, content = shown(*GOLDEN, "--limit", 6)
    assert code == 1
    assert len(answers(content)) == Failing.answers
    assert "The run ended early: 4 images had no answer by then." in content


def test_a_page_after_an_interrupt(shown, monkeypatch):
    stream = accelerator_module.Accelerator.stream

    def interrupted(self, pixels):
        for i, result in enumerate(stream(self, pixels)):
            if i == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(accelerator_module.Accelerator, "stream", interrupted)
    code, _, _, content = shown(*GOLDEN, "--limit", 5)
    assert (code, len(answers(content))) == (130, 2)
    assert "3 images had no answer by then" in content


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("page.png", [], "--show writes a page: {path} must end in .html"),
        ("dir.html", [], "{path} is a folder: name a file"),
        ("file/page.html", [], "{path} cannot be written: Not a directory"),
        ("page.html", ["--benchmark", "2"], "--show has the answers of a run, --benchmark its speed: leave"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_any_work(
    run, tmp_path, monkeypatch, name, more, message
):
    (tmp_path / "dir.html").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(infer, "Accelerator", lambda *_: pytest.fail("it began to work"))
    path = tmp_path / name
    code, out, error = run(*GOLDEN, "--show", path, *more)
    assert (code, out, len(error)) == (2, [], 1)
    assert error[0].startswith(f"error: {message.format(path=path)}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dir.html", "file"]


def test_no_page_is_left_half_written(run, tmp_path, monkeypatch):
    """The older one stays."""
    path = tmp_path / "page.html"
    path.write_text("older")

    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    code, out, error = run(*GOLDEN, "--limit", 2, "--show", path)
    assert (code, len(out), error) == (2, 3, ["error: No space left on device"])
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text() == "older"


# What cannot be used


def text(path):
    path.write_text("What is on these pictures?")


def truncated(path):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-500])


def animated(path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


BAD = {
    "text.png": (text, "not an image that can be read"),
    "truncated.jpg": (truncated, "damaged or incomplete"),
    "tiny.png": (
        lambda path: Image.new("L", (1, 1)).save(path),
        "1×1 is less than a quarter of the model's 8×8",
    ),
    "huge.png": (lambda path: Image.new("1", (10_000, 10_000)).save(path), "more than 64 million pixels"),
    "cmyk.jpg": (lambda path: Image.new("CMYK", (8, 8)).save(path), "CMYK"),
    "deep.png": (lambda path: Image.new("I;16", (8, 8)).save(path), "more than 8 bits a sample"),
    "film.gif": (animated, "2 frames"),
    "empty.png": (lambda path: path.touch(), "zero bytes"),
    "folder": (lambda path: path.mkdir(), "no images in this folder"),
    "vanished.png": (lambda path: None, "no such file or folder"),
    "link.png": (lambda path: path.symlink_to("nowhere"), "no such file or folder"),
    "no*.png": (lambda path: None, "no images match this pattern"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_that_cannot_be_used_among_good_ones(run, digit, tmp_path, name):
    path, (make, message) = tmp_path / name, BAD[name]
    make(path)
    other = tmp_path / "other.png"
    shutil.copy(digit, other)
    code, out, error = run(*GOLDEN, digit, path, other)
    assert code == 2
    assert len(error) == 1
    assert error[0].startswith(f"error: {path}: ")
    assert message in error[0]
    assert [line.split(":")[0] for line in out[:2]] == [str(digit), str(other)]
    assert len(out) == 3
    assert out[2].startswith("2 images, ")
    assert out[2].endswith(", 1 could not be used")
    code, out, error = run(*GOLDEN, path)
    assert (code, out, len(error)) == (2, ["0 images, 1 could not be used"], 1)


def test_all_of_them_in_the_simulator(run, digit, tmp_path):
    for name, (make, _) in BAD.items():
        make(tmp_path / name)
    code, out, error = run("--json", digit, *(tmp_path / name for name in BAD), digit.with_name("x"), digit)
    assert (code, len(out), len(error)) == (2, 1, len(BAD) + 2)
    assert json.loads(out[0])["index"] == 7
    assert error[-1].endswith(f", {len(BAD) + 1} could not be used")


def test_an_image_that_vanishes_after_it_was_found(run, digit, tmp_path, monkeypatch):
    other = tmp_path / "other.png"
    shutil.copy(digit, other)
    monkeypatch.setattr(infer, "find", lambda names: (find(names), other.unlink())[0])
    code, out, error = run(*GOLDEN, digit, other)
    assert code == 2
    assert error == [f"error: {other}: cannot be opened: No such file or directory"]
    assert out[0].startswith(f"{digit}: 7 ")


def test_a_path_that_is_no_text(run, digit):
    path = Path(os.fsdecode(os.fsencode(digit.parent) + b"/\xff\xe9.png"))
    shutil.copy(digit, path)
    for more in ([], ["--json"]):
        code, out, error = run(*GOLDEN, path, *more)
        assert code == 0
        assert len(out) + len(error) == 2
        assert "\\udcff" in out[0]
    path.write_text("x")
    sys.stderr.reconfigure(errors="backslashreplace")  # as the stderr of a process is
    code, _, error = run(*GOLDEN, path)
    assert (code, len(error)) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model", "letters"], 2, "unknown model 'letters': give "),
        (["--model", "nothing.onnx"], 2, "nothing.onnx: no such file"),
        (["--model", "x" * 5000], 2, "too long"),
        (
            ["--device", "usb"],
            2,
            "unknown device 'usb': there are sim, golden, serial:PORT[@BAUD], spi:BUS[@HZ], usb:",
        ),
        (["--device", "serial:/dev/no-such-port"], 1, "serial:/dev/no-such-port@3000000: "),
        (["--device", "serial:/dev/null@fast"], 2, "the baud rate in serial:/dev/null@fast must be"),
        (["--config", "3x3"], 2, "unknown accelerator '3x3': there are 2x64"),
        (["--device", "serial:/dev/null", "--config", "16x64"], 2, "a board has its own configuration"),
    ],
    ids=range(8),
)
def test_bad_input_is_one_line(run, arguments, code, message):
    came, out, error = run(*arguments)
    assert (came, out, len(error)) == (code, [], 1)
    assert error[0].startswith("error: ")
    assert message in error[0]


def test_tables_for_another_accelerator(run, other_tables, digit):
    code, out, error = run("--model", other_tables, "--config", "16x64", digit)
    assert (code, out, len(error)) == (1, [], 1)
    assert error[0].startswith("error: sim: the tables are for 2x64 ")


def test_damaged_tables(run, digits_tables, digit, tmp_path):
    shutil.copytree(digits_tables, tmp_path / "tables")
    (tmp_path / "tables" / "tables.bin").write_bytes(b"")
    code, out, error = run("--model", tmp_path / "tables", digit)
    assert (code, out, len(error)) == (2, [], 1)
    assert error[0].startswith(f"error: {tmp_path / 'tables'}: tables.bin must have ")


@pytest.mark.parametrize(
    "arguments",
    [["--top", "0"], ["--limit", "-1"], ["--limit", "x"], ["--top", "1.5"], ["--fast"], ["--benchmark", "0"]],
)
def test_arguments_that_there_are_not(run, arguments):
    code, out, error = run(*arguments)
    assert (code, out) == (2, [])
    assert arguments[0] in error[-1]


def test_help_names_the_devices(run):
    code, out, error = run("--help")
    assert (code, error) == (0, [])
    words = " ".join(" ".join(out).split())
    assert "sim: the RTL in Verilator" in words
    assert "serial:PORT[@BAUD]: an accelerator" in words


def test_the_traceback_for_those_who_ask():
    with pytest.raises(DeviceError, match="no-such-port"):
        infer.main(["-v", "--device", "serial:/dev/no-such-port"])


# A device that fails


class Failing(GoldenDevice):
    """Answers some images, has taken two more by then, and fails."""

    answers = 2

    def run(self, images):
        images = iter(images)
        begun = [image for _, image in zip(range(self.answers + 2), images)]  # noqa: B905
        yield from super().run(begun[: self.answers])
        raise DeviceError("golden: tried an image 6 times, and nothing came")


@pytest.mark.parametrize("answers", [0, 1, 3])
def test_a_device_that_fails_midway(run, monkeypatch, answers):
    monkeypatch.setattr("haarlequin.sw.devices.golden.GoldenDevice", Failing)
    monkeypatch.setattr(Failing, "answers", answers)
    code, out, error = run(*GOLDEN, "--limit", 6)
    assert code == 1
    assert [line.split(":")[0] for line in out[:-1]] == [f"digits/test/{i}" for i in range(answers)]
    assert out[-1].startswith(f"{answers} image{'' if answers == 1 else 's'}")
    assert error == [
        "error: golden: tried an image 6 times, and nothing came",
        f"error: {6 - answers} images have no answer, from digits/test/{answers} on",
    ]


def test_a_device_that_fails_after_a_bad_image(run, monkeypatch, digit, tmp_path):
    """The bad image comes after the first one that has no answer."""
    monkeypatch.setattr("haarlequin.sw.devices.golden.GoldenDevice", Failing)
    monkeypatch.setattr(Failing, "answers", 1)
    names = ["1.png", "2.png", "bad.png", "3.png", "4.png"]
    for name in names:
        shutil.copy(digit, tmp_path / name)
    text(tmp_path / "bad.png")
    code, out, error = run(*GOLDEN, tmp_path / "nothing", *(tmp_path / name for name in names))
    assert (code, len(out)) == (1, 2)
    assert error[0] == f"error: {tmp_path}/nothing: no such file or folder"
    assert error[1].startswith(f"error: {tmp_path}/bad.png: not an image")
    assert error[3] == f"error: 3 images have no answer, from {tmp_path}/2.png on"
    assert out[-1].endswith(", 2 could not be used")


# Processes


def test_a_python_without_the_packages(tmp_path):
    """Whatever the folder it is started from, it says which Python to use."""
    for folder, way in ((ROOT, "."), (ROOT / "sw", "..")):
        process = child("-S", "-E", "-s", INFER, "x.png", cwd=folder)
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out) == (3, "")
        wanted = f"run it with {way}/.venv/bin/python, which `make sim` there makes"
        assert error == f"error: this Python lacks numpy: {wanted}\n"


def test_a_python_without_what_the_device_needs(run, monkeypatch):
    """PyTorch may be missing: a board and tables do without."""

    def lacks(*_):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(infer, "Accelerator", lacks)
    code, out, error = run()
    assert (code, out, len(error)) == (3, [], 1)
    assert error[0].startswith("error: this Python lacks torch: ")


def test_a_reader_that_has_had_enough(digit):
    """As with `| head -1`; from a folder of one's own, with a path relative to it."""
    for i in range(100):
        (digit.parent / f"{i}.png").symlink_to(digit)
    process = child(INFER, ".", *GOLDEN, cwd=digit.parent)
    line = process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert line == "0.png: 7 80.5%, 4918 cycles predicted\n"
    assert said(error) == ""


INTERRUPTIBLE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from haarlequin.sw.infer import main; main(sys.argv[1:])"
)
"""Where the tests run, interrupts may be ignored, which children inherit."""


def test_an_interrupt_ends_with_the_summary():
    process = child("-c", INTERRUPTIBLE)
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said(error) == "interrupted\n"
    *lines, summary = [first, *out.splitlines()]
    assert summary.startswith(f"{len(lines)} image")
    assert len(lines) < 360


def test_an_interrupt_among_objects(run, monkeypatch):
    stream = accelerator_module.Accelerator.stream

    def interrupted(self, pixels):
        for i, result in enumerate(stream(self, pixels)):
            if i == 2:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(accelerator_module.Accelerator, "stream", interrupted)
    code, out, error = run(*GOLDEN, "--json")
    assert (code, len(out), len(error)) == (130, 2, 2)
    assert error[0].startswith("2 images, ")
    assert error[1] == "interrupted"


def test_an_interrupt_while_it_opens(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(infer, "Accelerator", interrupted)
    assert run() == (130, [], ["interrupted"])


def test_an_interrupt_while_it_imports():
    """That alone takes seconds."""
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'tqdm': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "import haarlequin.sw.infer"
    )
    process = child("-c", code)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130
