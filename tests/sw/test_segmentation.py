"""A segmentation model on the host: `Accelerator`, `haarlequin infer --mask` and `haarlequin evaluate`."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from haarlequin.hw.presets import CONFIGS
from haarlequin.models import data
from haarlequin.models.common.errors import UsageError
from haarlequin.models.config import vit
from haarlequin.models.data import DataSet, Split
from haarlequin.models.network.freeze import freeze
from haarlequin.models.network.random_model import random_model
from haarlequin.models.onnx.graph import export, save
from haarlequin.models.presets import preset
from haarlequin.models.segmentation import IGNORE, enlarge
from haarlequin.sw import accelerator as accelerator_module
from haarlequin.sw import evaluate, infer, table_folder
from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.devices import CompiledModel, Result
from haarlequin.sw.mask_picture import colours
from haarlequin.sw.resolve import ModelSource
from haarlequin.sw.table_folder import Compiled
from tests.small_machines import MACHINES

CONFIG = preset("cifar10-nano").with_(
    name="shades", image=(8, 12), patch=4, classes=("black", "dark", "light", "white"), segmentation=True
)
GRID = (2, 3)
TRUTH = np.array([[0, 1, 2, 3, 3, 3], [1, 1, 1, 1, 0, 2], [3, 2, 1, 0, 1, 2]])


class Shades:
    """Stands in for a golden model: the class of a token is the brightness of its cell."""

    config = CONFIG

    def __call__(self, pixels):
        cells = pixels.astype(np.int64).reshape(len(pixels), 2, 4, 3, 4, 3).mean((2, 4, 5)).reshape(-1, 6, 1)
        return 1000 - np.abs(cells.astype(np.int64) - np.array([0, 80, 160, 240]))


class Source:
    """Stands in for `ModelSource`."""

    cycles = 0
    usual = CONFIGS["16x64"]

    def __init__(self, name):
        self.config = CONFIG if name == "shades" else preset("digits")

    def machine(self, name):
        return CONFIGS["16x64"]

    def compiled(self, digest, logits=False):
        assert not logits, "the golden device has them anyway"
        return CompiledModel(Compiled(self.config, "16x64", digest, (), {}, self.cycles, {}), golden=Shades())


@pytest.fixture(autouse=True)
def shades(monkeypatch):
    monkeypatch.setattr(accelerator_module, "ModelSource", Source)
    monkeypatch.setattr(evaluate, "golden_model", lambda name: Shades())


def picture(tokens):
    """The image whose answer they are."""
    return np.repeat(enlarge(np.asarray(tokens), GRID, (8, 12))[..., None] * 80, 3, -1)


@pytest.fixture
def run(capsys):
    def run(*arguments, model="shades", device="golden"):
        with pytest.raises(SystemExit) as stop:
            infer.main([*map(str, arguments), "--device", device, "--model", str(model)])
        out, error = capsys.readouterr()
        return stop.value.code, out.splitlines(), error.splitlines()

    return run


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / f"{i}.png" for i in range(len(TRUTH))]
    paths[0].parent.mkdir()
    for path, tokens in zip(paths, TRUTH, strict=True):
        Image.fromarray(picture(tokens)).save(path)
    return paths


def test_predictions_of_masks():
    with Accelerator("golden", "shades", logits=True) as accelerator:
        came = accelerator.classify([picture(tokens) for tokens in TRUTH])
        none = accelerator.classify([])
    assert (came.logits.shape, came.logits.dtype) == ((3, 6, 4), np.int32)
    assert came.scores.shape == (3, 6, 4)
    assert came.scores.sum(-1) == pytest.approx(np.ones((3, 6)))
    assert came.labels.tolist() == TRUTH.tolist()
    assert (came.mask().dtype, came.mask().shape) == (np.uint8, (3, 8, 12))
    assert np.array_equal(came.mask(), enlarge(TRUTH, GRID, (8, 12)))
    assert (none.logits.shape, none.mask().shape) == ((0, 6, 4), (0, 8, 12))
    with pytest.raises(UsageError, match=r"no one label for an image: ask for its mask\(\)"):
        came.names  # noqa: B018


def test_logits_that_nobody_asked_for():
    """They are not there, whatever the device: a program that runs with one device runs with all of them."""
    with Accelerator("golden", "shades") as accelerator:
        came = accelerator.classify([picture(tokens) for tokens in TRUTH])
        none = accelerator.classify([])
        (result,) = accelerator.stream([picture(TRUTH[0])])
    assert (came.labels.tolist(), came.labels.dtype) == (TRUTH.tolist(), np.int64)
    assert np.array_equal(came.mask(), enlarge(TRUTH, GRID, (8, 12)))
    assert (none.labels.shape, none.mask().shape) == ((0, 6), (0, 8, 12))
    for predictions in (came, none):
        for name in ("logits", "scores"):
            with pytest.raises(UsageError) as caught:
                getattr(predictions, name)
            assert str(caught.value) == (
                "only the labels came: ask for the logits, with Accelerator(…, logits=True)"
            )
    assert result.labels.tolist() == TRUTH[0].tolist()
    assert result.logits.tolist() == Shades()(picture(TRUTH[0])[None])[0].tolist()


def test_a_notebook_shows_masks():
    """Whether or not the logits came."""
    for logits in (False, True):
        with Accelerator("golden", "shades", logits=logits) as accelerator:
            shown = accelerator.classify([picture(tokens) for tokens in TRUTH])._repr_html_()
        assert shown.count("<img ") == 2 * len(TRUTH)
        assert re.findall(r'hq-share">([0-9.]+%)', shown)[:4] == ["50.0%", "16.7%", "16.7%", "16.7%"]
        assert re.findall(r'</span>(\w+)</span><span class="hq-bar', shown)[:4] == [
            "white", "black", "dark", "light",
        ]  # fmt: skip


def test_labels_have_no_masks():
    zero = np.zeros(1, np.int64)
    one = accelerator_module.Predictions(np.zeros((1, 2), np.int32), ("a", "b"), zero, zero, 1.0)
    assert one.names == ["a"]
    with pytest.raises(UsageError, match="only a segmentation model has masks"):
        one.mask()


def test_the_check_names_the_token():
    with Accelerator("golden", "shades") as accelerator:
        (right,) = accelerator.stream([picture(TRUTH[0])])
        assert accelerator.check(picture(TRUTH[0]), right) is None
        logits = right.logits.copy()
        logits[4, 2] += 5
        said = accelerator.check(picture(TRUTH[0]), Result(logits, right.cycles, right.saturations))
        labels = right.labels.copy()
        labels[4:] = 1
        alone = Result(labels, right.cycles, right.saturations, labels_only=True)
        assert accelerator.check(picture(TRUTH[0]), alone) == "token 4: expected white, got dark"
        right_ones = Result(right.labels, right.cycles, right.saturations, labels_only=True)
        assert accelerator.check(picture(TRUTH[0]), right_ones) is None
        wrong = Result(right.labels, right.cycles, 7, labels_only=True)
        assert accelerator.check(picture(TRUTH[0]), wrong) == "saturations: expected 0, got 7"
    assert said == f"token 4, class light: expected {right.logits[4, 2]}, got {right.logits[4, 2] + 5}"


def test_shares_of_the_image_as_text(run, images):
    code, out, error = run(*images[:2])
    assert (code, error) == (0, [])
    assert out[0] == f"{images[0]}: white 50.0%, black 16.7%, dark 16.7%, light 16.7%"
    assert out[1] == f"{images[1]}: dark 66.7%, black 16.7%, light 16.7%"
    assert re.fullmatch(
        r"2 images, [0-9.]+ images/s, [0-9.]+ ms for the first", out[2]
    )  # no tables, no cycles


def test_cycles_where_they_are_known(run, images, monkeypatch):
    monkeypatch.setattr(Source, "cycles", 77)
    code, out, _ = run(images[0], "--json")
    assert json.loads(out[0])["cycles"] == 77
    code, out, _ = run(images[0])
    assert (code, out[0].endswith("light 16.7%, 77 cycles predicted")) == (0, True)


def test_tokens_for_programs(run, images):
    code, out, _ = run("--json", "--logits", *images)
    assert code == 0
    for line, path, tokens, logits in zip(
        out, images, TRUTH, Shades()(np.stack([picture(t) for t in TRUTH])), strict=True
    ):
        wanted = {"path": str(path), "tokens": tokens.reshape(GRID).tolist(), "logits": logits.tolist()}
        assert json.loads(line) == wanted
    code, out, _ = run("--json", *images)
    assert (code, len(out)) == (0, len(images))
    for line, path, tokens in zip(out, images, TRUTH, strict=True):
        assert json.loads(line) == {"path": str(path), "tokens": tokens.reshape(GRID).tolist()}


def test_a_folder_of_a_classs_name_says_nothing(run, images, tmp_path):
    images[0].parent.rename(tmp_path / "dark")
    code, out, _ = run(tmp_path / "dark")
    assert code == 0
    assert "right" not in out[-1]


def test_a_mask_is_drawn(run, images, tmp_path):
    path = tmp_path / "out" / "mask.PNG"
    code, _, error = run(images[2], "--mask", path)
    assert (code, error) == (0, [])
    drawn, scale = np.array(Image.open(path)), -(-256 // 12)
    shown = drawn[8 : 8 + 8 * scale : scale, 8 + 12 * scale + 8 :][:, : 12 * scale : scale]
    assert np.array_equal(shown, colours(4)[enlarge(TRUTH[2], GRID, (8, 12))])
    assert np.array_equal(drawn[8 : 8 + 8 * scale : scale, 8 : 8 + 12 * scale : scale], picture(TRUTH[2]))


def test_a_page_of_masks(run, images, tmp_path):
    """Each image, its mask in the colours of `--mask`, and the shares that the lines name."""
    code, out, error = run(*images, "--show", tmp_path / "page.html")
    assert (code, error) == (0, [])
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>shades on the integer model</h1>" in content
    data = re.findall(r'src="data:image/png;base64,([^"]+)"', content)
    drawn = [np.array(Image.open(io.BytesIO(base64.b64decode(each)))) for each in data]
    for i, tokens in enumerate(TRUTH):
        assert np.array_equal(drawn[2 * i], picture(tokens))
        assert np.array_equal(drawn[2 * i + 1], colours(4)[enlarge(tokens, GRID, (8, 12))])
    rows = re.findall(r'</span>(\w+)</span><span class="hq-bar.*?hq-share">([0-9.]+%)', content)
    assert " ".join(f"{name} {share}" for name, share in rows) == " ".join(
        line.split(": ")[1].replace(",", "") for line in out[:3]
    )
    assert "right" not in re.sub(r"<style>.*?</style>", "", content, flags=re.S)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{0}", "--mask", "{out}.jpg"], "--mask writes a PNG: {out}.jpg must end in .png"),
        (["{0}", "{1}", "--mask", "{out}.png"], "--mask draws one image, not 2: name one, or add --limit 1"),
        (["{0}", "--top", "2"], "--top names labels of an image: shades has a mask for it, see --mask"),
        (["{0}", "--mask", "{out}.png", "--top", "1"], "--top names labels of an image: shades has a mask"),
        (["{0}", "--mask", "{dir}.png"], "--mask writes a file: {dir}.png is a folder"),
        (["{0}", "--mask", "{0}/x.png"], "{0}"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(run, images, tmp_path, arguments, message):
    (tmp_path / "dir.png").mkdir()
    names = {"out": tmp_path / "out", "dir": tmp_path / "dir"}
    code, _, error = run(*(each.format(*images, **names) for each in arguments))
    assert (code, len(error)) == (2, 1)
    assert error[0].startswith(f"error: {message.format(*images, **names)}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dir.png", "images"]


def test_a_model_of_labels_has_no_mask(run, images, tmp_path):
    code, out, error = run(images[0], "--mask", tmp_path / "mask.png", model="digits")
    assert (code, out, len(error)) == (2, [], 1)
    assert error[0] == "error: --mask needs a segmentation model: digits has one label for an image"
    assert not (tmp_path / "mask.png").exists()


def test_no_mask_of_a_picture_that_cannot_be_used(run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    code, _, error = run(tmp_path / "bad.png", "--mask", tmp_path / "mask.png")
    assert (code, len(error)) == (2, 1)
    assert not (tmp_path / "mask.png").exists()


def test_images_of_the_models_own_data_set(run, tmp_path, data_set):
    code, out, error = run("--data", tmp_path, "--limit", 1, "--mask", tmp_path / "mask.png")
    assert (code, error) == (0, [])
    assert out[0].startswith("shades/test/0: white 50.0%, ")
    assert (tmp_path / "mask.png").exists()


@pytest.fixture
def data_set(monkeypatch):
    """Its test masks are the answers of the model, but for a pixel, a token and an image's edge."""
    masks = enlarge(TRUTH, GRID, (8, 12))
    pixels = np.stack([picture(tokens) for tokens in TRUTH])
    masks[0, 0, 0], masks[1, 4:, 8:], masks[2, :, 0] = 2, 0, IGNORE
    splits = Split(pixels, enlarge(TRUTH, GRID, (8, 12))), Split(pixels, masks)
    found = DataSet(splits[0], splits[1], splits[1], CONFIG.classes)
    monkeypatch.setattr(data, "load", lambda config, folder: found)
    return masks


def masks_line(tokens, truth):
    """How good a class for each token is, counted in NumPy: (IoU of each class as text, the line of all)."""
    answers, known, classes, ious = enlarge(np.array(tokens), GRID, (8, 12)), truth != IGNORE, [], []
    for i in range(len(CONFIG.classes)):
        both = int(((answers == i) & (truth == i))[known].sum())
        either = int(((answers == i) | (truth == i))[known].sum())
        classes.append(f"{both / either:.2%} IoU ({both} of {either} pixels)")
        ious.append(both / either)
    hits, pixels = int((answers == truth)[known].sum()), int(known.sum())
    right = f"{hits / pixels:.2%} of pixels right ({hits} of {pixels})"
    return classes, f"mean IoU {np.mean(ious):.2%}, {right}"


def test_evaluation_counts_pixels(tmp_path, capsys, data_set):
    evaluate.main(["shades", "--data", str(tmp_path)])
    *classes, empty, whole, best, centre, same, constant = capsys.readouterr().out.splitlines()
    ious, line = masks_line(TRUTH, data_set)
    assert classes == [f"{name:<5}  {iou}" for name, iou in zip(CONFIG.classes, ious, strict=True)]
    assert (empty, whole.partition(", in")[0]) == ("", f"shades: {line}")
    majority = TRUTH.copy()
    majority[1, 5] = 0
    line = masks_line(majority, data_set)[1]
    assert line.endswith("(279 of 280)")
    assert best == f"the class with most pixels in each of 2×3 cells: {line}"
    assert centre == f"the class of the pixel in the centre of each: {line}"
    alike = [[0, 1, 1, 0, 0, 2]] * 3  # what the tokens of TRUTH vote
    assert same == f"the same mask for every image: {masks_line(alike, data_set)[1]}"
    dark = masks_line(np.ones_like(TRUTH), data_set)[1]  # the commonest class of the training masks
    assert constant == f"'dark' for every pixel: {dark}"
    evaluate.main(["shades", "--data", str(tmp_path), "--references"])
    assert capsys.readouterr().out.splitlines() == [best, centre, same, constant]


def test_what_the_tokens_of_a_preset_can_say(tmp_path, capsys, monkeypatch):
    """Without a model: its classes are those of the data set."""
    masks = np.zeros((2, 48, 64), np.uint8)
    masks[:, :, 4:], masks[1] = 1, IGNORE
    split = Split(np.zeros((2, 48, 64, 3), np.uint8), masks)
    monkeypatch.setattr(data, "load", lambda config, folder: DataSet(split, split, split, ("left", "right")))
    said = []
    for name in ("camvid-16x12", "camvid-8x6"):
        evaluate.main([name, "--data", str(tmp_path), "--references"])
        said.append(capsys.readouterr().out.splitlines())
    whole = f"mean IoU 100.00%, 100.00% of pixels right ({48 * 64} of {48 * 64})"
    assert said[0][0] == f"the class with most pixels in each of 12×16 cells: {whole}"
    # Cells of 8×8 have four columns of either class: the vote takes the first one, the centre the second.
    best, centre, same, constant = said[1]
    half = f"mean IoU {(4 / 8 + 56 / 60) / 2:.2%}, {60 / 64:.2%} of pixels right ({48 * 60} of {48 * 64})"
    assert best == f"the class with most pixels in each of 6×8 cells: {half}"
    right = f"mean IoU {60 / 64 / 2:.2%}, {60 / 64:.2%} of pixels right ({48 * 60} of {48 * 64})"
    assert centre == f"the class of the pixel in the centre of each: {right}"
    assert same == f"the same mask for every image: {half}"
    assert constant == f"'right' for every pixel: {right}"


def test_labels_need_no_references(tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["digits", "--references"])
    said = capsys.readouterr().err
    assert said == "error: --references needs a segmentation network: digits has no masks\n"


@pytest.mark.slow
def test_a_real_network_from_its_file(run, tmp_path, monkeypatch):
    """Its mask is that of the golden model, and the cycles those of the first accelerator that it fits."""
    config = preset("camvid-8x6").with_(
        name="small", image=(16, 24), stages="/2 c32x1 c64x1", classes=("a", "b")
    )
    model = freeze(random_model(config, 0))
    save(export(model), tmp_path / "small.onnx")
    monkeypatch.setattr(accelerator_module, "ModelSource", ModelSource)
    pixels = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    with Accelerator("golden", tmp_path / "small.onnx", logits=True) as accelerator:
        came = accelerator.classify([pixels])
    assert np.array_equal(came.logits, model(pixels[None]))
    assert came.mask().shape == (1, 16, 24)
    arguments = tmp_path / "image.png", "--check", "--mask", tmp_path / "mask.png"
    code, out, error = run(*arguments, model=tmp_path / "small.onnx")
    assert (code, error) == (0, [])
    said = r"1 image, 1186 cycles an image predicted, [0-9.]+ images/s, [0-9.]+ ms for the first"
    assert re.fullmatch(said + ", 1 of 1 equal to the golden model", out[1])
    shown = np.array(Image.open(tmp_path / "mask.png"))[8 : 8 + 16 * 11 : 11, 8 + 24 * 11 + 8 :][
        :, : 24 * 11 : 11
    ]
    assert np.array_equal(shown, colours(2)[came.mask()[0]])


# On an accelerator

MACHINE = replace(MACHINES["4x16"], answers=80)


@pytest.fixture(scope="module")
def small_masks(tmp_path_factory):
    """A random network of 3×5 tokens and its file: neither labels nor logits fill their last word."""
    names = ("ant", "bee", "cat")
    config = vit(
        name="masks", image=(9, 15), channels=3, mean=(128.0,) * 3, patch=3, dim=16, heads=1, layers=1,
        classes=names, mlp_ratio=1, segmentation=True,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("masks") / "masks.onnx"
    model = freeze(random_model(config, 2))
    save(export(model), path)
    return path, model


@pytest.fixture
def accelerated(small_masks, monkeypatch):
    """The same, and an accelerator that has a name on the command line; random images and their logits."""
    monkeypatch.setattr(accelerator_module, "ModelSource", ModelSource)
    monkeypatch.setitem(CONFIGS, MACHINE.name, MACHINE)
    path, model = small_masks
    pixels = np.random.default_rng(1).integers(0, 256, (4, 9, 15, 3), np.uint8)
    logits = model(pixels)
    assert (logits[0].argmax(-1) != logits[1].argmax(-1)).any()
    return path, pixels, logits


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True])
def test_masks_of_a_simulated_accelerator(accelerated, asked):
    path, pixels, logits = accelerated
    with Accelerator("sim", path, MACHINE.name, logits=asked) as accelerator:
        came = accelerator.classify(pixels)
        results = list(accelerator.stream(pixels))
        for image, result in zip(pixels, results, strict=True):
            assert accelerator.check(image, result) is None
            assert result.labels_only != asked
        said = accelerator.check(pixels[1], results[0])
        cycles = accelerator.model.placed.cycles
    assert np.array_equal(came.labels, logits.argmax(-1))
    assert np.array_equal(came.mask(), enlarge(logits.argmax(-1), (3, 5), (9, 15)))
    assert came.cycles.tolist() == [cycles] * len(pixels)
    got, wanted = (logits if asked else came.labels)[:2]
    token, *of_class = np.argwhere(got != wanted)[0]
    if asked:
        assert np.array_equal(came.logits, logits)
        (i,) = of_class
        where = f"token {token}, class {came.classes[i]}"
        assert said == f"{where}: expected {wanted[token, i]}, got {got[token, i]}"
    else:
        names = [came.classes[each[token]] for each in (wanted, got)]
        assert said == f"token {token}: expected {names[0]}, got {names[1]}"
        with pytest.raises(UsageError, match="only the labels came"):
            came.logits  # noqa: B018


@pytest.mark.slow
def test_a_mask_that_is_drawn_from_a_simulation(run, accelerated, tmp_path):
    path, pixels, logits = accelerated
    Image.fromarray(pixels[0]).save(tmp_path / "image.png")
    drawn = []
    for device in ("sim", "golden"):
        options = tmp_path / "image.png", "--config", MACHINE.name, "--check", "--mask", tmp_path / "mask.png"
        code, out, error = run(*options, model=path, device=device)
        assert (code, error) == (0, [])
        assert out[1].endswith(", 1 of 1 equal to the golden model")
        drawn.append((tmp_path / "mask.png").read_bytes())
    assert drawn[0] == drawn[1]
    for more in ([], ["--logits"]):
        _, out, _ = run(
            tmp_path / "image.png", "--config", MACHINE.name, "--json", *more, model=path, device="sim"
        )
        said = json.loads(out[0])
        assert said["tokens"] == logits[0].argmax(-1).reshape(3, 5).tolist()
        assert said.get("logits") == (logits[0].tolist() if more else None)


def test_logits_that_an_accelerator_does_not_keep(small_masks, monkeypatch):
    """23 words have the 45 logits."""
    source = ModelSource(str(small_masks[0]))
    for answers, enough in ((23, True), (22, False)):
        machine = replace(MACHINE, name="mine", answers=answers)
        monkeypatch.setitem(CONFIGS, "mine", machine)
        labels = source.compiled(machine.digest).tables
        assert labels.words["settings"][0] == 4 + 2 | 15 << 17
        if enough:
            settings = source.compiled(machine.digest, logits=True).tables.words["settings"]
            assert settings == [23 + 2 | 1 << 16 | 15 << 17, *labels.words["settings"][1:]]
        else:
            with pytest.raises(UsageError, match="the logits of an image take 23 words, mine keeps 22"):
                source.compiled(machine.digest, logits=True)


def test_logits_by_tables_alone(small_masks, monkeypatch, tmp_path):
    """Where the accelerator is one that this version knows."""
    monkeypatch.setitem(CONFIGS, MACHINE.name, MACHINE)
    table_folder.save(ModelSource(str(small_masks[0])).compiled(MACHINE.digest).tables, tmp_path)
    tables = ModelSource(str(tmp_path)).compiled(MACHINE.digest, logits=True).tables
    assert tables == ModelSource(str(small_masks[0])).compiled(MACHINE.digest, logits=True).tables
    monkeypatch.delitem(CONFIGS, MACHINE.name)
    source = ModelSource(str(tmp_path))
    assert source.compiled(MACHINE.digest).tables.model.segmentation
    with pytest.raises(UsageError, match="this version does not know 4x16"):
        source.compiled(MACHINE.digest, logits=True)
