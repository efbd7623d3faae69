import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from haarlequin.models import data
from haarlequin.models.data import DataError, entries
from haarlequin.models.data.folder import read_splits
from haarlequin.models.presets import preset

CONFIG = preset("cifar10-nano").with_(image=(4, 4), classes=("cat", "ant", "bee"))
COUNTS = {"train": 8, "test": 3}


def encoded(value, size=(4, 4)):
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def files():
    """Path → content of a small image folder; each image's grey value tells its class and split."""
    found = {}
    for c, name in enumerate(("ant", "bee", "cat")):
        for split, count in COUNTS.items():
            for i in range(count):
                found[f"{split}/{name}/{i}.png"] = encoded(100 * c + (50 if split == "test" else 0) + i)
    return found


def write_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path, files):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def written(form, folder, files):
    if form == "folder":
        return write_folder(folder / "images", files)
    if form == "tar":
        return write_tar(folder / "images.tar", {f"./set/{name}": content for name, content in files.items()})
    for split in COUNTS:
        part = {name: content for name, content in files.items() if name.startswith(split)}
        write_tar(folder / f"{split}.tar.gz", part)
    return folder


@pytest.mark.parametrize("form", ["folder", "tar", "folder of tars"])
def test_every_form_gives_the_same_splits(tmp_path, files, form):
    found = data.load(CONFIG, written(form, tmp_path, files))
    assert found.classes == ("cat", "ant", "bee")
    assert [len(s) for s in (found.train, found.validation, found.test)] == [21, 3, 9]
    order = np.array([1, 2, 0])  # of grey values: ant, bee, cat
    for split, grey in ((found.train, 0), (found.validation, 0), (found.test, 50)):
        values = split.pixels[:, 0, 0, 0]
        assert np.array_equal(order[values // 100], split.labels)
        assert ((values % 100 >= grey) & (values % 100 < grey + 10)).all()
        assert split.pixels.dtype == np.uint8
        assert split.pixels.shape[1:] == (4, 4, 3)
    assert sorted(found.validation.labels.tolist()) == [0, 1, 2]
    assert np.array_equal(found.train.pixels, data.load(CONFIG, written(form, tmp_path, files)).train.pixels)


def test_val_is_test_and_folders_within_a_class_do_not_matter(tmp_path, files):
    renamed = {}
    for name, content in files.items():
        split, label, file = name.split("/")
        renamed[f"{'val' if split == 'test' else split}/{label}/images/{file}"] = content
    found = data.load(CONFIG, write_folder(tmp_path, renamed))
    assert [len(s) for s in (found.train, found.validation, found.test)] == [21, 3, 9]


def test_images_are_scaled_and_cut_to_the_networks_size(tmp_path, files):
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 4:12] = 200
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    files = {name: file.getvalue() for name in files}
    train, validation, _, _ = read_splits(write_folder(tmp_path, files), (4, 4), 1)
    assert train.pixels.shape == (24, 4, 4, 1)
    assert validation is None
    assert (train.pixels[:, :, 1:3] > 180).all()


def test_placeholder_classes_take_the_names_of_the_data(tmp_path, files):
    config = preset("deit-tiny-224").with_(image=(16, 16))
    found = data.load(config, write_folder(tmp_path, files))
    assert found.classes == ("ant", "bee", "cat")


def without(files, part):
    return {name: content for name, content in files.items() if part not in name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: without(f, "test/bee"), "class 'bee' has train images but no test images"),
        (lambda f: without(f, "train/bee"), "class 'bee' has test images but no train images"),
        (lambda f: without(f, "bee"), "has no class 'bee', which cifar10-nano is to tell apart"),
        (lambda f: without(f, "test"), "no test images: they are looked for in test/<class>/"),
        (lambda f: f | {f"{s}/dog/1{i}.png": encoded(7) for s in COUNTS for i in "ab"}, "a class 'dog' that"),
        (
            lambda f: f | {"train/ant/3.png": b"nonsense", "test/bee/0.png": b""},
            r"2 of 33 pictures cannot be used, the first: .*/[03]\.png: (zero bytes|not an image that can)",
        ),
        (lambda f: f | {"train/ant/4.png": f["train/ant/4.png"][:50]}, r"4\.png: damaged or incomplete \("),
        (
            lambda f: {n: c for n, c in f.items() if "train" not in n or "/0" in n},
            "at least two of each class",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_what_is_missing_or_broken_is_named(tmp_path, files, form, change, message):
    with pytest.raises(DataError, match=message):
        data.load(CONFIG, written(form, tmp_path, change(files)))


@pytest.mark.parametrize("blocks", [0, 1.5, 4, 32])
@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz"])
def test_a_truncated_archive(tmp_path, files, name, blocks):
    path = write_tar(tmp_path / name, files)
    content = path.read_bytes()
    path.write_bytes(content[: int(512 * blocks if path.suffix == ".tar" else len(content) * blocks / 33)])
    with pytest.raises(DataError, match="truncated or no tar archive") as error:
        data.load(CONFIG, path)
    assert "\n" not in str(error.value)


def test_where_there_are_no_images(tmp_path):
    with pytest.raises(DataError, match="say where they are with --data DIR"):
        data.load(CONFIG)
    with pytest.raises(DataError, match="no such file or folder"):
        data.load(CONFIG, tmp_path / "nowhere")
    with pytest.raises(DataError, match="has neither train/<class>/"):
        data.load(CONFIG, tmp_path)
    with pytest.raises(DataError, match="leave --data out"):
        data.load("digits", tmp_path)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_val_beside_test_is_the_validation_split(tmp_path, files, form):
    files |= {f"{split}/{c}/v.png": encoded(70) for c in ("ant", "bee", "cat") for split in ("val", "valid")}
    found = data.load(CONFIG, written(form, tmp_path, files))
    assert [len(s) for s in (found.train, found.validation, found.test)] == [24, 6, 9]
    assert (found.validation.pixels == 70).all()
    (tmp_path / "less").mkdir()
    with pytest.raises(DataError, match="class 'cat' has train images but no validation images"):
        data.load(CONFIG, written(form, tmp_path / "less", without(without(files, "val/cat"), "valid/cat")))


def passed_over(path, capfd):
    """(values of the training images by class, what was said of files that were passed over)."""
    train, _, _, classes = read_splits(path, (4, 4), 3)
    values = {
        name: sorted(train.pixels[train.labels == i, 0, 0, 0].tolist()) for i, name in enumerate(classes)
    }
    lines = capfd.readouterr().err.replace("\r", "\n").splitlines()
    return values, [line for line in lines if "passed over" in line]


BASE = {"ant": list(range(8)), "bee": list(range(100, 108)), "cat": list(range(200, 208))}


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_hidden_files_and_folders_count_for_nothing(tmp_path, files, form, capfd):
    extra = (
        "train/ant/._0.png",
        "train/.ipynb_checkpoints/0.png",
        ".cache/train/ant/0.png",
        "._test/ant/0.png",
    )
    files |= dict.fromkeys((*extra, "__MACOSX/train/ant/._0.png", "train/.DS_Store"), b"\0\5\x16\7")
    path = written(form, tmp_path, files)
    if form == "folder":
        (path / "._more.tar").write_bytes(b"\0\5\x16\7")
    assert passed_over(path, capfd) == (BASE, [])


SUFFIXES = ["tif", "avif", "jp2", "tga", "ico", "PNG", "jpeg"]


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_every_format_that_is_read_is_taken(tmp_path, files, form, capfd):
    for i, suffix in enumerate(SUFFIXES):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), (100 + i,) * 3).save(
            file, Image.registered_extensions()[f".{suffix.lower()}"]
        )
        files[f"train/ant/{suffix}.{suffix}"] = file.getvalue()
    values, said = passed_over(written(form, tmp_path, files), capfd)
    assert len(values["ant"]) == 8 + len(SUFFIXES)
    assert not said


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_files_that_are_passed_over_are_counted(tmp_path, files, form, capfd):
    files |= dict.fromkeys(
        ("train/ant/a.txt", "train/bee/b.txt", "test/cat/c.heic", "train/ant/Thumbs"), b"x"
    )
    files["train/stray.png"] = files["extra/ant/0.png"] = encoded(1)
    path = written(form, tmp_path, files)
    values, [said] = passed_over(path, capfd)
    assert values == BASE
    where = {
        "folder": "1 in no class's folder, 1 in extra/, which is no split",
        "tar": "2 in no split's class",
    }[form]
    assert said.startswith(f"{path}: 6 files passed over: 2 ")
    for part in ("2 that end in .txt", "1 that end in .heic", "1 without a suffix", *where.split(", ")):
        assert part in said


def test_linked_folders_of_a_class_and_linked_files(tmp_path, files, capfd):
    path = write_folder(tmp_path / "set", without(files, "train/cat"))
    outside = write_folder(tmp_path / "outside", {n[6:]: c for n, c in files.items() if "train/cat" in n})
    (path / "train" / "cat").symlink_to(outside / "cat")
    more = write_folder(tmp_path / "more", {"deep/9.png": encoded(9), "0.png": encoded(10)})
    (path / "train" / "ant" / "more").symlink_to(more)
    (more / "deep" / "round").symlink_to(more)
    (path / "train" / "ant" / "11.png").symlink_to(more / "0.png")
    (path / "train" / "ant" / "gone.png").symlink_to(more / "nowhere")
    values, [said] = passed_over(path, capfd)
    assert values == BASE | {"ant": [*range(8), 9, 10, 10]}
    assert said.endswith("1 files passed over: 1 links to nothing")


def test_classes_that_link_to_each_other_keep_their_pictures(tmp_path, files, capfd):
    path = write_folder(tmp_path, files)
    for one in BASE:
        for other in BASE.keys() - {one}:
            (path / "train" / one / f"to {other}").symlink_to(path / "train" / other)
    assert passed_over(path, capfd) == (BASE, [])


def test_two_names_of_one_class(tmp_path, files):
    path = write_folder(tmp_path, files)
    (path / "train" / "dog").symlink_to("cat")
    with pytest.raises(DataError, match=r"train/dog and .*train/cat are the same folder: one of its names"):
        read_splits(path, (4, 4), 3)


@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz"])
def test_links_in_an_archive(tmp_path, files, name, capfd):
    path = write_tar(tmp_path / name, files)
    targets = {
        "train/bee/a.png": (tarfile.LNKTYPE, "train/ant/7.png"),
        "train/bee/b.png": (tarfile.LNKTYPE, "train/cat/0.png"),
        "train/bee/c.png": (tarfile.SYMTYPE, "../ant/3.png"),
        "train/bee/d.png": (tarfile.SYMTYPE, "c.png"),
        "train/bee/gone.png": (tarfile.SYMTYPE, "nowhere.png"),
        "train/bee/self.png": (tarfile.SYMTYPE, "self.png"),
        "train/dog": (tarfile.SYMTYPE, "cat"),
    }
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for at, (link, (kind, target)) in enumerate(targets.items()):
            member = tarfile.TarInfo(link)
            member.type, member.linkname = kind, target
            if at % 2:
                archive.addfile(member)  # in front of what it leads to
        for file, content in files.items():
            member = tarfile.TarInfo(file)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for at, (link, (kind, target)) in enumerate(targets.items()):
            member = tarfile.TarInfo(link)
            member.type, member.linkname = kind, target
            if not at % 2:
                archive.addfile(member)
    values, [said] = passed_over(path, capfd)
    assert values == BASE | {"bee": sorted([*BASE["bee"], 7, 200, 3, 3])}
    assert said.endswith("3 files passed over: 2 links to nothing, 1 links to folders")


def test_what_cannot_be_read_is_not_left_out(tmp_path, files, monkeypatch):
    path = write_folder(tmp_path, files)
    denied = PermissionError(13, "Permission denied")

    def refuses(wanted, before):
        def call(self, *arguments, **options):  # by hand: root may read everything
            if self.name == wanted:
                raise denied
            return before(self, *arguments, **options)

        return call

    for method, name in (("read_bytes", "3.png"), ("iterdir", "bee"), ("iterdir", "train")):
        with monkeypatch.context() as context:
            context.setattr(type(path), method, refuses(name, getattr(type(path), method)))
            with pytest.raises(DataError, match=rf"{name} cannot be read: Permission denied"):
                read_splits(path, (4, 4), 3)
    write_tar(path / "z.tar", {})
    with monkeypatch.context() as context:
        context.setattr(tarfile, "open", lambda path: (_ for _ in ()).throw(denied))
        with pytest.raises(DataError, match=r"z\.tar cannot be read: Permission denied"):
            read_splits(path, (4, 4), 3)


def test_a_picture_of_200_megapixels_is_a_line_with_its_name(tmp_path, files):
    header = struct.pack(">4sIIBBBBB", b"IHDR", 20_000, 10_000, 8, 0, 0, 0, 0)
    chunks = [struct.pack(f">I{len(x)}sI", len(x) - 4, x, zlib.crc32(x)) for x in (header, b"IDAT", b"IEND")]
    files["train/ant/huge.png"] = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    with pytest.raises(DataError, match=r"ant/huge\.png: more than 64 million pixels: scale it down first"):
        read_splits(write_folder(tmp_path, files), (4, 4), 3)


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_file_that_is_too_large_is_not_read(tmp_path, files, form, monkeypatch):
    monkeypatch.setattr(entries, "MOST_BYTES", 1000)
    files["train/ant/large.png"] = bytes(1001)
    with pytest.raises(DataError, match=r"train/ant/large\.png has 1,001 bytes, 1,000 at most: take it out"):
        data.load(CONFIG, written(form, tmp_path, files))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_member_that_says_it_is_larger_than_memory(tmp_path, files, kind):
    """Found with damaged files: a MemoryError, or a member that was read to its end however long it is."""
    member = tarfile.TarInfo("train/ant/large.png")
    member.type, member.size = kind, 1 << 60
    path = write_tar(tmp_path / "images.tar", files)
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + path.read_bytes())
    with pytest.raises(DataError, match=r"at most: take it out|truncated or no tar archive"):
        data.load(CONFIG, path)
