"""The pictures that a person names."""

from pathlib import Path

from haarlequin.sw.images import Found, class_of, find


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return list(paths)


def test_a_folder_gives_its_images_in_natural_order(tmp_path):
    wanted = touch(*(tmp_path / name for name in ("2.png", "10.PNG", "a/1.jpg", "a/b/x.webp", "c.tiff")))
    touch(*(tmp_path / name for name in (".hidden.png", ".git/1.png", "notes.txt", "a.pdf", "a.eps", "png")))
    assert find([str(tmp_path)]) == [Found(path) for path in wanted]


def test_each_real_folder_once_wherever_links_lead(tmp_path):
    [image, outside, kept] = touch(
        *(tmp_path / name for name in ("all/here/1.png", "outside/2.png", "all/.kept/3.png"))
    )
    here = image.parent
    (here / "up").symlink_to(here)
    (tmp_path / "all" / "again").symlink_to(here)  # comes first, and is the other's name
    for name, target in (("out", outside), ("out again", outside), ("kept", kept)):
        (tmp_path / "all" / name).symlink_to(target.parent)
    (tmp_path / "all" / "gone.png").symlink_to(tmp_path / "nowhere")
    assert find([str(tmp_path / "all")]) == [
        Found(tmp_path / "all/gone.png", "cannot be read: a link to nothing"),
        Found(image),
        Found(tmp_path / "all/kept/3.png"),
        Found(tmp_path / "all/out/2.png"),
    ]


def test_folders_that_all_link_to_each_other(tmp_path, monkeypatch):
    """Of eight, a walk along every path would not end."""
    monkeypatch.chdir(tmp_path)
    images = touch(*(Path(f"f{i}", "p.png") for i in range(8)))
    for one in range(8):
        for other in set(range(8)) - {one}:
            Path(f"f{one}", f"to{other}").symlink_to(f"../f{other}")
    for name in (".", "**", "**/*.png", "f*/**", str(tmp_path)):
        assert [each.path.resolve() for each in find([name])] == [tmp_path / image for image in images]
    assert find([f"f{i}" for i in range(8)]) == [Found(image) for image in images]


def test_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(
        *map(Path, ("2.png", "10.png", ".1.png", "d/3.png", "d/e/4.png", "d/notes.txt", "5.dat", "[x].png"))
    )

    def paths(*names):
        return [str(each.path) for each in find(names)]

    assert paths("[0-9]*.png") == ["2.png", "10.png"]
    assert paths("?.dat") == ["5.dat"]
    assert paths("d/**/*.png") == paths("d/**") == paths("*/**") == ["d/3.png", "d/e/4.png"]
    assert paths("d/**/*.txt") == ["d/notes.txt"]  # it is named, whatever it is
    assert paths("**/e") == paths("**/e/*") == ["d/e/4.png"]
    assert paths("**/f", "f/**/*.png") == ["**/f", "f/**/*.png"]
    assert paths("[d]") == ["d/3.png", "d/e/4.png"]
    assert paths("[x].png") == ["[x].png"]


def test_names_that_yield_nothing_are_problems_in_their_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(Path("1.png"), Path("2.txt"), Path("empty/notes.txt"))
    names = [
        "gone.png",
        "./1.png",
        "empty",
        "1.png",
        "*.gif",
        str(tmp_path / "1.png"),
        "",
        "2.txt",
        "gone.png",
    ]
    assert find(names) == [
        Found(Path("gone.png"), "no such file or folder"),
        Found(Path("1.png")),
        Found(Path("empty"), "no images in this folder"),
        Found(Path("*.gif"), "no images match this pattern"),
        Found(Path(), "no such file or folder"),
        Found(Path("2.txt")),
    ]
    long = "x" * 300
    assert find([long, "1.png"]) == [
        Found(Path(long), "cannot be read: File name too long"),
        Found(Path("1.png")),
    ]


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path, monkeypatch):
    [image] = touch(tmp_path / "b" / "1.png")
    (tmp_path / "a").mkdir()
    listed = Path.iterdir

    def denied(path):  # by hand: root may read everything
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", denied)
    assert find([str(tmp_path)]) == [Found(tmp_path / "a", "cannot be read: Permission denied"), Found(image)]


def test_the_class_is_the_folder(tmp_path, monkeypatch):
    assert class_of(Path("pictures/cat/0001.jpg"), ["dog", "cat"]) == 1
    assert class_of(Path("cat/more/0001.jpg"), ["dog", "cat"]) is None
    assert class_of(Path("Cat/cat.jpg"), ("dog", "cat")) is None
    (tmp_path / "dog").mkdir()
    monkeypatch.chdir(tmp_path / "dog")
    assert class_of(Path("1.jpg"), ["dog", "cat"]) == 0


def test_a_name_with_a_nul_is_no_file(tmp_path):
    for name in (f"{tmp_path}/a\0b", f"{tmp_path}/*\0"):
        assert find([name])[0].problem in ("no such file or folder", "no images match this pattern")


def test_many_stars_in_a_row_are_as_fast_as_two(tmp_path):
    folder = tmp_path.joinpath(*"abcdefghijklmnopqrst")
    [image] = touch(folder / "1.png")
    assert find([f"{tmp_path}/{'**/' * 40}1.png"]) == [Found(image)]
    assert find([f"{tmp_path}/{'**/' * 40}2.png"])[0].problem == "no images match this pattern"
