"""Requests that an accelerator over HTTP refuses: no pictures, no forms, no HTTP, too much."""

import io
import json

import pytest
from PIL import Image

from haarlequin.sw import http_server
from tests.sw.http_server.server import Server, everything, form

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("path", "body", "method", "status", "line"),
    [
        ("/", b"", "POST", 405, "this address takes GET"),
        ("/classify", None, "GET", 405, "this address takes POST"),
        ("/classify", b"x", "PUT", 405, "this address takes POST"),
        ("/health", None, "DELETE", 405, "this address takes GET"),
        ("/health", None, "BREW", 405, "this address takes GET"),
        ("/nothing", None, "GET", 404, "there are only /, /health and /classify"),
        ("/../../etc/passwd", None, "GET", 404, "there are only /, /health and /classify"),
        ("/classify/../health", None, "GET", 404, "there are only /, /health and /classify"),
        ("/%2e%2e/%2e%2e/etc/passwd", None, "GET", 404, "there are only /, /health and /classify"),
        ("//etc/passwd", b"x", "POST", 404, "there are only /, /health and /classify"),
        ("/classify", b"What is on it?", "POST", 422, "not an image that can be read"),
        ("/classify", b"", "POST", 422, "zero bytes: get or save it again"),
        ("/classify?top=0", b"x", "POST", 400, "top must be how many classes to name, at least 1"),
        ("/classify?top=-1", b"x", "POST", 400, "top must be how many classes to name, at least 1"),
        ("/classify?top=%EF%BC%91", b"x", "POST", 400, "top must be how many classes to name, at least 1"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(server, path, body, method, status, line):
    came, headers, content = server.ask(path, body, method=method)
    assert came == status
    error = json.loads(content)["error"]
    assert error.startswith(line)
    assert "\n" not in error
    assert (headers["Allow"] is not None) == (status == 405)
    assert server.counts() | {"dropped": 0} == {
        "answered": 0, "waiting": 0, "failed": 0, "dropped": 0, "refused": 1,
    }  # fmt: skip


def test_pictures_that_are_refused(server, seven):
    """By the one line that `infer` prints."""
    huge = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(huge, "PNG")
    status, answer = server.classify(huge.getvalue())
    assert status == 422
    assert "more than 64 million pixels" in answer["error"]
    body, headers = form(good=seven, bad=b"no picture")
    status, answer = server.classify(body, headers=headers)
    assert status == 422
    assert answer["error"].startswith("bad.png: not an image that can be read")


@pytest.mark.parametrize(
    ("body", "kind", "line"),
    [
        (b"x", "multipart/form-data", "the form cannot be read: "),
        (b"x", "multipart/form-data; boundary=frontier", "the form cannot be read: "),
        (b"--frontier--\r\n", "multipart/form-data; boundary=frontier", "the form has no file in it"),
        (b"--frontier\r\nx\r\n\r\n\r\n" * 200 + b"--frontier--", "multipart/form-data; boundary=frontier",
         "the form cannot be read: "),
    ],
)  # fmt: skip
def test_forms_that_are_refused(server, body, kind, line):
    status, answer = server.classify(body, headers={"Content-Type": kind})
    assert status == 400
    assert answer["error"].startswith(line)


def test_a_refusal_is_one_line_whatever_it_quotes(server):
    """Of at most 1,000 characters."""
    body = b"--frontier\r\n" + b"\x01\x1b" * 3000 + b": x\r\n\r\n\r\n--frontier--\r\n"
    status, answer = server.classify(body, headers=form()[1])
    assert status == 400
    assert len(answer["error"]) <= 1000
    assert answer["error"].isprintable()


def test_a_form_of_too_many_pictures(server, seven):
    body, headers = form(**{f"p{i}": seven for i in range(65)})
    assert server.classify(body, headers=headers) == (
        413, {"error": "a request may have 64 pictures, not 65"},
    )  # fmt: skip


def test_a_body_that_is_too_large(server, seven, monkeypatch):
    """One that is not much too large is read first, so that every client hears why."""
    monkeypatch.setattr(http_server, "MOST_BYTES", 100_000)
    wanted = 413, {"error": "the body has more than 100,000 bytes: send smaller pictures, or fewer at a time"}
    assert server.classify(bytes(100_001)) == wanted
    assert server.classify(bytes(3_000_000)) == wanted
    assert server.classify(seven)[0] == 200
    assert server.counts()["refused"] == 2


@pytest.mark.parametrize("length", ["99999999999", "9" * 400, "-1", "x", "5, 6", "٣"])
def test_a_body_of_an_impossible_length(server, seven, length):
    """It is refused before any of it comes, and the connection is closed."""
    text = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    with server.connection(text) as line:
        answer = everything(line)
    assert answer[:12] in (b"HTTP/1.1 413", b"HTTP/1.1 411", b"HTTP/1.1 400")
    assert server.classify(seven)[0] == 200


@pytest.mark.parametrize(
    ("path", "status", "line"),
    [
        ("/nothing", 404, "there are only /, /health and /classify"),
        ("/health", 405, "this address takes GET"),
        ("/classify?top=0", 400, "top must be how many classes to name, at least 1"),
    ],
)
def test_a_refusal_of_a_large_body_is_heard(server, path, status, line):
    """By a client that hears nothing while it sends, as most do."""
    came, _, content = server.ask(path, bytes(8_000_000))
    assert (came, json.loads(content)) == (status, {"error": line})


def test_a_large_body_in_chunks(server):
    """Its refusal is heard, too."""
    status, _, content = server.ask("/classify", iter([bytes(1_000_000)] * 8))
    assert (status, json.loads(content)) == (
        411, {"error": "say how many bytes the body has: Content-Length"},
    )  # fmt: skip


def test_a_body_in_chunks_without_an_end(golden, seven, monkeypatch):
    """Not more of it is read than of any other."""
    monkeypatch.setattr(http_server, "MOST_DISCARDED", 100_000)
    with Server(golden) as server:
        text = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
        with server.connection(text) as line, pytest.raises((BrokenPipeError, ConnectionResetError)):
            line.sendall(chunk * 10_000)
        assert server.classify(seven)[0] == 200


def test_a_body_in_chunks(server):
    """Its length is not known."""
    text = b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connection(text + b"1\r\nx\r\n0\r\n\r\n") as line:
        assert line.recv(4096).startswith(b"HTTP/1.1 411 ")


@pytest.mark.parametrize(
    "text",
    [
        b"\x00\xff" * 1000 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST /classify HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    ],
)
def test_what_is_not_http(server, seven, text):
    with server.connection() as line:
        try:
            line.sendall(text)
            everything(line)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert server.classify(seven)[0] == 200
