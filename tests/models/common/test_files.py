"""Files whole or not at all, and one at a time in a folder."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from haarlequin.models.common.errors import UsageError
from haarlequin.models.common.files import check_replaceable, locked, replacing, write_text


def test_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file"
    write_text(path, "→\n")
    assert path.read_bytes() == "→\n".encode()
    with pytest.raises(ZeroDivisionError), replacing(path) as draft:
        draft.write_text(f"half{1 / 0}")
    assert path.read_bytes() == "→\n".encode()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_is_that_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "file") as draft:
            draft.unlink()
            os.close(os.open(draft, os.O_CREAT, 0o600))  # as a library may
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_whether_it_could_be_written_is_known_before(tmp_path, monkeypatch):
    for path in (tmp_path / "page.html", tmp_path / "no" / "such" / "folder" / "page.html"):
        check_replaceable(path)
    monkeypatch.chdir(tmp_path)
    check_replaceable(Path("page.html"))
    check_replaceable(Path("no/page.html"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.html").write_text("old")
    check_replaceable(tmp_path / "old.html")
    assert (tmp_path / "old.html").read_text() == "old"


def test_what_could_not_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "folder", "is a folder: name a file"),
        (tmp_path / "pipe", "is no regular file: name another"),
        (tmp_path / "file" / "page.html", "cannot be written: Not a directory"),
        (tmp_path / ("x" * 254), "cannot be written: File name too long"),
        (Path("/proc/page.html"), "cannot be written: "),
    ):
        with pytest.raises(UsageError) as caught:
            check_replaceable(path)
        assert str(caught.value).startswith(f"{path} {why}")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder", "pipe"]


def test_threads_that_write_the_same_file(tmp_path):
    def write(text):
        for _ in range(50):
            write_text(tmp_path / "file", text)

    threads = [threading.Thread(target=write, args=(letter * 10_000,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set((tmp_path / "file").read_text())) == 1
    assert len(list(tmp_path.iterdir())) == 1


HOLD = """
import sys; from pathlib import Path; from haarlequin.models.common.files import locked
with locked(Path(sys.argv[1])): print("in", flush=True); sys.stdin.read()
"""


def test_another_process_waits_and_a_dead_one_lets_go(tmp_path, capsys):
    folder = tmp_path / "folder"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        timer = threading.Timer(0.5, other.kill)
        timer.start()
        with locked(folder):
            assert other.wait() < 0
    assert capsys.readouterr().err == f"another process is building in {folder}: waiting until it is done\n"
    with locked(folder):
        pass
    assert capsys.readouterr().err == ""
    assert not folder.exists()
