"""The server of `haarlequin serve --http`: a client sends anything at all, and the next one is answered."""

import asyncio
import fcntl
import io
import json
import logging
import re
import socket
import struct
import termios
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from tornado.iostream import IOStream

from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.http_server import server_of
from haarlequin.sw.service import Service
from tests.hostile.engine import LONGEST_LINE, Reader, Wrong
from tests.hostile.mutate import damaged

_SECONDS = 60.0
"""After which the server hangs."""

_REFUSED = {400, 404, 405, 411, 413, 422}
"""Every status of a refusal that a client's bytes may have; a mistake of ours has another."""

_FRAMED = re.compile(rb"(?i)content-length:[ \t]*(\d+)")


class Refused(Exception):
    """The server has answered with a line that says what is wrong, or has closed the connection."""


# Requests


def _picture() -> bytes:
    """A small PNG, always the same."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(file, "PNG")
    return file.getvalue()


def _request(line: str, body: bytes | None = None, *headers: str) -> bytes:
    several = ["Host: x", *headers] + ([] if body is None else [f"Content-Length: {len(body)}"])
    return "\r\n".join([line, *several, "", ""]).encode() + (body or b"")


def _form(*dispositions: str) -> bytes:
    parts = [
        f"--frontier\r\nContent-Disposition: form-data; {each}\r\n\r\n".encode() + _picture() + b"\r\n"
        for each in dispositions
    ]
    return b"".join(parts) + b"--frontier--\r\n"


_KIND = "Content-Type: multipart/form-data; boundary=frontier"
_CLASSIFY = "POST /classify HTTP/1.1"


def _corpus(folder: Path) -> list[bytes]:
    """All that the server takes, alone and one after the other on one connection."""
    _site()  # here, where it may still write
    picture, asked = _picture(), _request("GET /health HTTP/1.1")
    one = _form('name="a"; filename="a.png"')
    two = _form('name="a"; filename="a.png"', "name=\"b\"; filename*=UTF-8''%e2%82%ac.png")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(picture), picture)
    return [
        _request(_CLASSIFY, picture),
        _request("POST /classify?top=3 HTTP/1.1", picture, "Content-Type: image/png"),
        _request(_CLASSIFY, one, _KIND),
        _request("POST /classify?top=2 HTTP/1.1", two, _KIND),
        _request(_CLASSIFY, picture, "Expect: 100-continue"),
        _request("POST /classify HTTP/1.0", picture, "Connection: keep-alive") + asked,
        _request(_CLASSIFY, None, "Transfer-Encoding: chunked") + chunks + asked,
        _request("GET / HTTP/1.1", None, "Accept: */*") + asked,
        asked,
    ]


_NAMES = (
    'name=""; filename="a"', "name=a", "name*0=a", 'name=a; filename=""', 'name=a; filename="a\\"b"',
    'name=a; filename="' + "../" * 1000 + '"', "name=a; filename*=utf-8''a%0d%0ab%00%1b[2J",
    "name=a; filename*=utf-7''%2b", "name=a; filename*=x", "name=a; filename*=utf-8''%ff%fe",
    "name=a; filename*=none''b", 'name=a; filename*0="a"; filename*1*=b', "name=a; filename=\u0663",
)  # fmt: skip
_VALUES = {
    "Content-Length": ("0", "-1", "5, 5", "70000000", "17000000", "9" * 11, "9" * 400),
    "Transfer-Encoding": ("chunked", "gzip, chunked", "Chunked", "identity", ""),
    "Connection": ("close", "upgrade", "keep-alive", "x" * 2000),
    "Content-Disposition": ("form-data", "attachment", *(f"form-data; {name}" for name in _NAMES)),
    "Content-Type": (
        "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=-",
        "multipart/form-data; boundary=" + "x" * 5000, "MULTIPART/form-data; boundary=frontier",
        "multipart/form-datax; boundary=y", "application/x-www-form-urlencoded", "image/png",
    ),
    "Content-Encoding": ("gzip",), "Expect": ("100-continue", "x"), "Host": ("y", ""),
    "If-None-Match": ("*",),
    "X": ("y" * 70_000, "\x01" * 3000), "\x01" * 3000: ("y",), "\u0663": ("\x01",),
}  # fmt: skip
_INSTEAD = [f"{name}: {value}" for name, values in _VALUES.items() for value in values]
_INSTEAD += [" folded", ":", "\x00", "--frontier", "--frontier--", "--frontier" * 200]
_INSTEAD += ["7fffffff", "-1", "0", "f" * 20, "5;x=y"]
"""Lines that stand in the place of others: of headers, of the parts of a form, of chunks."""

_LINES = [f"{method} / HTTP/1.1" for method in ("HEAD", "PUT", "POST", "BREW", "OPTIONS", "", "x" * 2000)]
_LINES += [f"POST /classify?top={top} HTTP/1.1" for top in ("0", "%ff", "1&top=9999999999", "1" * 5000, "")]
_LINES += [
    f"POST {to} HTTP/1.1" for to in ("http://x/classify", "//classify", "/../classify", "*", "\x00", "?")
]
_LINES += ["GET /classify HTTP/1.1", "PUT /classify HTTP/1.1", "CONNECT x:443 HTTP/1.1", "GET / HTTP/2.0"]
_LINES += ["POST /classify?" + "a=b&" * 3000 + " HTTP/1.1", "GET / HTTP/1.0", ""]


def _mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Another line of a header, of a part or of a request, or a damaged one; or any damage."""
    if random.random() < 0.3:
        return damaged(data, random, others)
    lines = data.split(b"\r\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(min(len(lines), random.choice((2, 8, 64))))
        match random.randrange(6):
            case 0:
                lines[at] = damaged(lines[at], random, others)
            case 1:
                del lines[at]
            case 2:
                lines.insert(at, lines[at])
            case 3:
                lines[0] = random.choice(_LINES).encode()
            case _:
                new = random.choice(_INSTEAD).encode(errors="replace")
                lines[at : at + random.randrange(2)] = [new]
        lines = lines or [b""]
    return (b"\n" if random.random() < 0.02 else b"\r\n").join(lines)


def mend(data: bytes) -> bytes:
    """A body that is as long as its request says."""
    head, end, body = data.partition(b"\r\n\r\n")
    return _FRAMED.sub(b"Content-Length: %d" % len(body), head) + end + body


# The server


class _Heard(logging.Handler):
    """Keeps what the libraries log as errors: tracebacks among them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class _Site:
    """The server, in the event loop of this thread; its clients have pairs of sockets with it."""

    def __init__(self) -> None:
        self._loop, self._heard = asyncio.new_event_loop(), _Heard()
        logging.getLogger().addHandler(self._heard)
        service = Service(Accelerator("golden", "digits"))
        self._service, self._server = service, self._loop.run_until_complete(self._made(service))
        self._valid = _request(_CLASSIFY, _picture())
        self._wanted = self.say(self._valid)

    async def _made(self, service: Service):
        return server_of(service, ThreadPoolExecutor(1, "pictures"))

    def say(self, data: bytes) -> list[tuple[int, bytes]]:
        """The answers to a client that sends these bytes. Raises `Wrong` where there is no end, or something
        is logged.
        """
        try:
            came = self._loop.run_until_complete(asyncio.wait_for(self._said(data), _SECONDS))
        except TimeoutError:
            raise Wrong("it hangs") from None
        if self._heard.lines:
            lines, self._heard.lines = self._heard.lines, []
            raise Wrong("\n".join(lines))
        return _answers(came, b"HEAD " in data)

    def check(self) -> None:
        """A valid request has the answer that it always has, and nothing is left of others."""
        if (came := self.say(self._valid)) != self._wanted:
            raise Wrong(f"the next client gets {came!r:.2000}")
        if (health := self._service.health()).waiting or health.failed or health.problem:
            raise Wrong(f"{health}")

    async def _said(self, data: bytes) -> bytes:
        mine, theirs = socket.socketpair()
        with mine:
            mine.setblocking(False)
            stream = IOStream(theirs)
            self._server.handle_stream(stream, ("127.0.0.1", 0))
            sending = asyncio.ensure_future(self._sent(mine, data))
            receiving = asyncio.ensure_future(self._received(mine))
            while not receiving.done():
                # The client says that it has ended where the server waits for bytes, and none are on the way:
                # earlier it would be one that has gone away.
                waits = not stream.closed() and stream.reading() and not _unread(theirs)
                if sending.done() and waits:
                    with suppress(OSError):
                        mine.shutdown(socket.SHUT_WR)
                await asyncio.sleep(0.0005)
            await sending
            return receiving.result()

    async def _sent(self, mine: socket.socket, data: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has refused the rest
            await self._loop.sock_sendall(mine, data)

    async def _received(self, mine: socket.socket) -> bytes:
        came = bytearray()
        with suppress(ConnectionResetError):
            while more := await self._loop.sock_recv(mine, 1 << 16):
                came += more
        return bytes(came)


_site = cache(_Site)
"""The one of this process."""


def _unread(theirs: socket.socket) -> int:
    """Bytes that the server has not yet taken from its socket."""
    return struct.unpack("i", fcntl.ioctl(theirs, termios.FIONREAD, bytes(4)))[0]


def _answers(came: bytes, without_bodies: bool) -> list[tuple[int, bytes]]:
    """Status and body of each answer. Raises `Wrong` where there is another thing among them."""
    found, whole = [], came
    while came:
        head, end, came = came.partition(b"\r\n\r\n")
        first = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]+(?:\r\n|\Z)", head)
        if not (first and end):
            raise Wrong(f"no answer: {whole!r:.2000}")
        status, length = int(first[1]), _FRAMED.search(head)
        if status == HTTPStatus.CONTINUE:
            continue
        if length is None:  # of Tornado itself, which then closes the connection
            if came or status not in (400, 304):
                raise Wrong(f"an answer without a length: {whole!r:.2000}")
            found.append((status, b""))
            continue
        size = int(length[1])
        if without_bodies and (not came or came.startswith(b"HTTP/1.1 ")):
            size = 0
        elif len(came) < size:
            raise Wrong(f"an answer that is cut off: {whole!r:.2000}")
        found.append((status, came[:size]))
        came = came[size:]
    return found


def _read(data: bytes, folder: Path) -> None:
    site = _site()
    answers = site.say(data)
    lines = [_line(status, body) for status, body in answers]
    site.check()
    if not any(status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED) for status, _ in answers):
        raise Refused(lines[0] if lines else "closed")


def _line(status: int, body: bytes) -> str:
    """The line of a refusal, or the status alone. Raises `Wrong` where an answer is none of this server."""
    if status in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
        if body and not body.startswith(b"<!doctype html>"):
            json.loads(body)
        return str(status)
    if status not in _REFUSED:
        raise Wrong(f"status {status}: {body!r:.2000}")
    line = json.loads(body)["error"] if body else str(status)
    if not isinstance(line, str) or not line.isprintable() or len(line) > LONGEST_LINE:
        raise Wrong(f"a refusal that is no line: {line!r:.2000}")
    return line


READER = Reader("http", (Refused,), _corpus, _read, _mutate, mend, seconds=5)
