import hashlib

import pytest

from haarlequin.models.data import DataError, fetch

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def url(tmp_path):
    (tmp_path / "there").write_bytes(CONTENT)
    return (tmp_path / "there").as_uri()


def test_it_is_fetched_once(tmp_path, url):
    target = tmp_path / "data" / "archive"
    assert fetch.fetch(url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert not fetch.fetch("file:///nowhere", target, MD5)


def test_a_damaged_file_is_fetched_again(tmp_path, url):
    (tmp_path / "archive").write_bytes(CONTENT[:-1])
    assert fetch.fetch(url, tmp_path / "archive", MD5)
    assert (tmp_path / "archive").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(tmp_path, url):
    with pytest.raises(DataError, match=f"has md5 {MD5}, published is 0123: damaged on its way"):
        fetch.fetch(url, tmp_path / "data" / "archive", "0123")
    assert not list((tmp_path / "data").iterdir())


def test_offline_it_says_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(SystemExit) as stop:
        fetch.main(["--to", str(tmp_path)])
    assert stop.value.code == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no way to http://127.0.0.1:9/" in error
    assert f"bring it to {tmp_path / 'cifar-10-python.tar.gz'}" in error
    assert "c58f30108f718f92721af3b95e74349a" in error
    assert not list(tmp_path.iterdir())
