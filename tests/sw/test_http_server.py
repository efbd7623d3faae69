"""An accelerator over HTTP: a real server on a free port, clients in threads, and strangers."""

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from haarlequin.models.common.errors import UsageError
from haarlequin.sim import serve as command
from haarlequin.sw import http_server, service
from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.devices import DeviceError
from haarlequin.sw.devices.golden import GoldenDevice
from haarlequin.sw.http_server import listen, serve
from tests.browser import chromium, window
from tests.said import said
from tests.sw.gate import SECONDS, Gate

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """A server in a thread, within a ``with`` block; ``stop`` is its Ctrl-C."""

    def __init__(self, accelerator):
        self._accelerator, self._ready = accelerator, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    async def _main(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        waiting = listen("127.0.0.1", 0)
        self.port = waiting.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        await serve(self._accelerator, waiting, lambda line: self._ready.set(), self._stop)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)

    def join(self):
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "it hangs"

    def __exit__(self, *_):
        if self._thread.is_alive():
            self.stop()
        self.join()

    def ask(self, path, body=None, headers=None, method=None):
        """(status, headers, content) of a request."""
        request = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def classify(self, body, more="", headers=None):
        """(status, object) of a picture."""
        status, headers, content = self.ask("/classify" + more, body, headers or {})
        assert headers["Content-Type"] == "application/json"
        return status, json.loads(content)

    def health(self):
        status, _, content = self.ask("/health")
        assert status == 200
        return json.loads(content)

    @contextmanager
    def connection(self, text=b""):
        """A socket that has sent these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as line:
            line.sendall(text)
            yield line

    def counts(self):
        return {key: value for key, value in self.health().items() if type(value) is int}


def until(condition):
    """Wait until it holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def everything(line):
    """All that comes until the other end closes."""
    came = b""
    try:
        while more := line.recv(4096):
            came += more
    except ConnectionResetError:
        pass
    return came


@pytest.fixture(scope="module")
def golden():
    with Accelerator("golden", "digits") as accelerator:
        yield accelerator


@pytest.fixture
def server(golden):
    with Server(golden) as server:
        yield server


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def seven(pictures):
    return png(pictures[0])


def form(**files):
    """(body, headers) of a form with these files."""
    parts = [
        f'--frontier\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.png"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files.items()
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    return b"".join(parts) + b"--frontier--\r\n", headers


# Answers


def test_a_picture(server, seven, expected):
    status, answer = server.classify(seven)
    wanted = {"label": "7", "index": 7, "logits": expected[0][0], "cycles": 4918, "cycles_predicted": True}
    assert (status, answer) == (200, wanted)
    status, answer = server.classify(seven, "?top=3")
    assert len(answer["scores"]) == 3
    assert next(iter(answer["scores"].items())) == ("7", pytest.approx(0.805, abs=0.0005))
    assert len(server.classify(seven, "?top=99")[1]["scores"]) == 10


def test_other_forms_of_a_picture(server, pictures, expected):
    """A photo is converted; the type that a client says does not matter."""
    file = io.BytesIO()
    Image.fromarray(pictures[0].squeeze().repeat(16, 0).repeat(16, 1)).convert("RGB").save(file, "JPEG")
    for kind in ("image/jpeg", "application/x-www-form-urlencoded", "text/html", "multipart/mixed"):
        status, answer = server.classify(file.getvalue(), headers={"Content-Type": kind})
        assert (status, answer["label"]) == (200, "7")


def test_several_pictures_in_a_form(server, pictures, expected):
    body, headers = form(a=png(pictures[0]), b=png(pictures[1]))
    status, answers = server.classify(body, headers=headers)
    assert status == 200
    assert [each["path"] for each in answers] == ["a.png", "b.png"]
    assert [each["logits"] for each in answers] == [logits for logits, *_ in expected[:2]]
    status, answers = server.classify(*(form(a=png(pictures[2]))[:1]), headers=headers)
    assert [each["logits"] for each in answers] == [expected[2][0]]


def test_clients_at_once(server, test_set, trained_digits):
    """Each gets the integer model's answers to its own pictures."""
    pixels = test_set.pixels[:40]
    wanted = trained_digits.golden(pixels).tolist()

    def client(number):
        mine = range(number, 40, 8)
        return {i: server.classify(png(pixels[i]))[1]["logits"] for i in mine}

    with ThreadPoolExecutor(8) as pool:
        came = {i: logits for part in pool.map(client, range(8)) for i, logits in part.items()}
    assert [came[i] for i in range(40)] == wanted
    health = server.health()
    assert health["answered"] == 40
    assert (health["waiting"], health["failed"], health["dropped"], health["refused"]) == (0, 0, 0, 0)
    assert (health["device"], health["model"], health["problem"]) == ("golden", "digits", None)
    assert 0 < health["mean_seconds"] < health["uptime_seconds"]


def test_what_waits_goes_to_the_device_together(server, gate, seven, monkeypatch):
    """So that the images of several clients fill its buffers: they are of one run."""
    runs, original = [], GoldenDevice._run
    monkeypatch.setattr(GoldenDevice, "_run", lambda *given: runs.append(1) or original(*given))
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(server.classify, seven)
        gate.wait()
        others = [pool.submit(server.classify, seven) for _ in range(5)]
        until(lambda: server.health()["waiting"] == 6)
        gate.open.set()
        assert {each.result()[1]["label"] for each in [first, *others]} == {"7"}
    assert len(runs) == 1


def test_a_segmentation_model(monkeypatch):
    with Accelerator("golden", "camvid-16x12") as accelerator, Server(accelerator) as server:
        street = png(np.zeros((*accelerator.model_config.image, 3), np.uint8))
        status, answer = server.classify(street)
        assert (status, next(iter(answer))) == (200, "tokens")
        assert np.shape(answer["tokens"]) == accelerator.model_config.grids[-1]
        assert "logits" not in answer
        assert server.classify(street, "?top=2") == (
            400, {"error": "top names labels of an image: this model has a mask for it"},
        )  # fmt: skip


# Health, and the page


def test_health_adds_up(server, gate, seven):
    """Every image that was taken is in one of four counts."""
    gate.open.set()
    assert server.classify(seven)[0] == 200
    assert server.classify(b"no picture")[0] == 422
    gate.error = DeviceError("golden: nothing came")
    assert server.classify(seven)[0] == 502
    assert server.classify(*form(a=seven, b=b"no")[:1], headers=form()[1])[0] == 422
    assert server.ask("/nothing")[0] == 404
    assert server.counts() == {"answered": 1, "waiting": 0, "failed": 1, "dropped": 3, "refused": 4}


def test_the_page(server, seven):
    assert server.classify(seven)[0] == 200
    server.classify(b"no picture")
    status, headers, content = server.ask("/")
    page = content.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
    assert (headers["X-Content-Type-Options"], headers["Server"]) == ("nosniff", None)
    assert '<meta http-equiv="refresh" content="5">' in page
    assert "<h1>digits on golden</h1>" in page
    assert "<dt>answered</dt><dd>1</dd>" in page
    assert "<dt>refused requests</dt><dd>1</dd>" in page
    assert "<script" not in page


def test_the_page_in_a_browser(golden, seven, monkeypatch):
    """Light and dark; it asks for itself again, shows a failure, and leaves nothing in the console."""
    monkeypatch.setattr(http_server, "REFRESH_SECONDS", 1)
    with chromium() as browser, Server(golden) as server:
        messages, asked = [], []
        page = window(browser, 1280, "dark").new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.url)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 24)"
        server.classify(seven)
        page.locator("dd", has_text="1").first.wait_for()
        page.emulate_media(color_scheme="light")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert {*asked} == {server.url + "/"}
        assert messages == []


# What is refused


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


def test_a_body_in_chunks(server):
    """Its length is not known."""
    text = b"POST /classify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connection(text) as line:
        assert everything(line).startswith(b"HTTP/1.1 411 ")


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


def test_a_slow_body(golden, seven, monkeypatch):
    """It is cut off, and counts as no request; others are answered meanwhile."""
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.5)
    with Server(golden) as server:
        text = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + seven[:10]
        with server.connection(text) as line:
            assert server.classify(seven)[0] == 200
            assert everything(line) == b""
        assert server.counts() == {"answered": 1, "waiting": 0, "failed": 0, "dropped": 0, "refused": 0}


def test_slow_headers(golden, monkeypatch):
    monkeypatch.setattr(http_server, "IDLE_SECONDS", 0.3)
    with Server(golden) as server, server.connection(b"GET / HTT") as line:
        assert everything(line) == b""


def test_a_request_that_is_cut_off(server, seven):
    text = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + seven[:10]
    with server.connection(text):
        pass
    assert server.classify(seven)[0] == 200
    assert server.counts() == {"answered": 1, "waiting": 0, "failed": 0, "dropped": 0, "refused": 0}


def test_many_connections(golden, seven, monkeypatch):
    """Those that are too many are closed, and the next one after them is served."""
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 5)
    with Server(golden) as server:
        lines = [socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS) for _ in range(5)]
        until(lambda: b"503" in refused(server))
        for line in lines:
            line.close()
        until(lambda: b"200" in refused(server)[:15])
        assert server.classify(seven)[0] == 200


def refused(server):
    with server.connection(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as line:
        return everything(line)


def test_too_many_that_wait(golden, seven, gate, monkeypatch):
    monkeypatch.setattr(service, "MOST_WAITING", 3)
    monkeypatch.setattr(service.Service.__init__, "__defaults__", (3,))
    with Server(golden) as server, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(server.classify, seven) for _ in range(3)]
        until(lambda: server.health()["waiting"] == 3)
        status, headers, content = server.ask("/classify", seven)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert json.loads(content) == {"error": "too many images wait already: try again later"}
        gate.open.set()
        assert {each.result()[0] for each in waiting} == {200}
        assert server.classify(seven)[0] == 200
        assert server.counts() == {"answered": 4, "waiting": 0, "failed": 0, "dropped": 0, "refused": 1}


# Clients that go, devices that fail, and the end


def test_a_client_that_goes_away(server, seven, gate):
    """Its image is not computed, and the others are."""
    text = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(seven)}\r\n\r\n".encode() + seven
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.classify, seven)
        gate.wait()
        with server.connection(text):
            until(lambda: server.health()["waiting"] == 2)
        until(lambda: server.health()["waiting"] == 1)
        second = pool.submit(server.classify, seven)
        until(lambda: server.health()["waiting"] == 2)
        gate.open.set()
        assert [each.result()[0] for each in (first, second)] == [200, 200]
    assert server.counts() == {"answered": 2, "waiting": 0, "failed": 0, "dropped": 1, "refused": 0}
    assert gate.computing._value == 1  # of three images two were computed, of which the test took one


def test_a_client_that_goes_away_while_its_image_is_computed(server, seven, gate):
    text = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(seven)}\r\n\r\n".encode() + seven
    with server.connection(text):
        gate.wait()
    until(lambda: server.health()["waiting"] == 0)
    gate.open.set()
    assert server.classify(seven)[0] == 200
    assert server.counts() == {"answered": 1, "waiting": 0, "failed": 0, "dropped": 1, "refused": 0}


def test_a_device_that_fails_and_comes_back(server, seven, gate):
    """All that wait get its line; the next image is tried anew."""
    gate.error = DeviceError("serial:a: No such device; was the board unplugged?")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(server.classify, seven) for _ in range(3)]
        until(lambda: server.health()["waiting"] == 3)
        gate.open.set()
        for each in waiting:
            assert each.result() == (502, {"error": "serial:a: No such device; was the board unplugged?"})
    assert server.health()["problem"] == "serial:a: No such device; was the board unplugged?"
    assert b'<p class="hq-note hq-wrong">serial:a: No such device' in server.ask("/")[2]
    gate.error = None
    assert server.classify(seven)[0] == 200
    assert server.health()["problem"] is None
    assert server.counts() == {"answered": 1, "waiting": 0, "failed": 3, "dropped": 0, "refused": 3}


def test_a_mistake_of_ours(server, seven, gate, caplog):
    """It is said in the log, and the thread goes on."""
    gate.open.set()
    gate.error = ZeroDivisionError("a mistake")
    assert server.classify(seven) == (500, {"error": "Internal Server Error"})
    assert "ZeroDivisionError: a mistake" in caplog.text
    assert server.health()["problem"] == "a mistake in this program: ZeroDivisionError('a mistake')"
    gate.error = None
    assert server.classify(seven)[0] == 200


def test_the_end_waits_for_what_is_in_flight(golden, seven, gate):
    """Images that come after it are refused."""
    text = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(seven)}\r\n\r\n".encode() + seven
    with Server(golden) as server, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(server.classify, seven) for _ in range(2)]
        with server.connection() as late:
            until(lambda: server.health()["waiting"] == 2)
            server.stop()
            until(lambda: closed(server.port))
            late.sendall(text)
            assert late.recv(4096).startswith(b"HTTP/1.1 503 ")
            gate.open.set()
            assert [each.result()[0] for each in waiting] == [200, 200]
        server.join()


def closed(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


# The command line


def child(*arguments):
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from haarlequin.__main__ import main; main(sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", *arguments],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line(kind, seven, expected):
    process = child("--http", "0", "--device", "golden")
    try:
        line = process.stdout.readline()
        assert line.startswith("digits on golden: http://127.0.0.1:")
        assert line.endswith("/; Ctrl-C ends it\n")
        url = line.split()[3].rstrip("/;")
        with urllib.request.urlopen(f"{url}/classify", seven, timeout=SECONDS) as answer:
            assert json.loads(answer.read())["logits"] == expected[0][0]
        process.send_signal(kind)
        out, error = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, out, said(error)) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--http", "65536"], "--http must be a port, 0 to 65535, not 65536"),
        (["--http", "web"], "invalid int value: 'web'"),
        (["--device", "golden"], "--device is for a server: add --http PORT"),
        (["--model", "digits"], "--model is for a server: add --http PORT"),
        (["--host", "::1"], "--host is for a server: add --http PORT"),
        (
            ["--http", "0", "--host", "no.such.host.invalid"],
            "error: cannot listen on no.such.host.invalid:0: ",
        ),
        (["--http", "0", "--device", "sims"], "error: unknown device 'sims'"),
        (["--http", "0", "--device", "golden", "--model", "no"], "error: unknown model 'no'"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_device_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--http", "0", "--device", "serial:/dev/no-such-port"])
    assert stop.value.code == 1
    assert "there is no such port" in capsys.readouterr().err


def test_a_port_that_is_taken():
    with listen("127.0.0.1", 0) as waiting:
        port = waiting.getsockname()[1]
        with pytest.raises(UsageError) as caught:
            listen("127.0.0.1", port)
    said = str(caught.value)
    assert said.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use: give another --http")


@pytest.mark.parametrize(
    ("host", "end"),
    [("127.0.0.1", "/; Ctrl-C ends it"), ("0.0.0.0", "/; whoever reaches this address may use it;")],
)
def test_where_it_listens(host, end, capsys, monkeypatch):
    async def at_once(accelerator, waiting, ready):
        ready("digits on golden: http://x/")

    monkeypatch.setattr(http_server, "_until_interrupted", at_once)
    http_server.run("golden", "digits", None, host, 0)
    assert end in capsys.readouterr().out


def test_nothing_but_this_computer_by_default(monkeypatch):
    given = []
    monkeypatch.setattr(http_server, "run", lambda *arguments: given.append(arguments))
    command.main(["--http", "8000"])
    command.main(["--http", "1", "--host", "::", "--device", "a", "--model", "b", "--config", "c"])
    assert given == [("sim", "digits", None, "127.0.0.1", 8000), ("a", "b", "c", "::", 1)]
