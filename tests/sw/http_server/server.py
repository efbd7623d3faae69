"""A real HTTP server on a free port, in a thread, and what its clients send and get."""

import asyncio
import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress

from PIL import Image

from haarlequin.sw.http_server import listen, serve
from tests.sw.gate import SECONDS


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
    came = []
    with suppress(ConnectionResetError):
        while more := line.recv(1 << 20):
            came.append(more)
    return b"".join(came)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


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


def closed(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False
