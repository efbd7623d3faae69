"""An accelerator for the clients of a network: `haarlequin serve --http PORT`.

`POST /classify` takes a picture and answers with JSON, `GET /health` has the counts as JSON, and `GET /` as a
page. The server trusts nobody: it reads no files, and requests are limited in bytes, images and time.
docs/boards.md says how to use it.
"""

import asyncio
import dataclasses
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import numpy as np
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPFile, HTTPInputError, parse_body_arguments
from tornado.iostream import IOStream
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from haarlequin.models.common.errors import OneLine, UsageError, printable
from haarlequin.models.common.pictures import PictureError
from haarlequin.sw.accelerator import Accelerator, answer_shares
from haarlequin.sw.answer_page import status
from haarlequin.sw.devices import DeviceError, Notice, Result
from haarlequin.sw.report import as_object
from haarlequin.sw.service import Full, Service

MOST_BYTES = 16 << 20
"""The largest body of a request."""
MOST_DISCARDED = 4 * MOST_BYTES
"""A larger body is refused before it comes, and the connection closed. A smaller one that is refused is read
and thrown away first, because many clients hear nothing while they send."""
MOST_CONNECTIONS = 64
"""Connections at a time; a further one is closed with 503."""
BODY_SECONDS = 30.0
"""The time in which a body must have come; otherwise the connection is closed."""
TAKEN_SECONDS = 30.0
"""The time in which a client must have taken its answer; otherwise the connection is closed."""
IDLE_SECONDS = 30.0
"""How long a connection may send no request, or only a part of its headers."""
RETRY_SECONDS = 1
"""When a client that was refused because of many others may come again."""
REFRESH_SECONDS = 5
"""How often the page asks for itself again."""
_FORM = "multipart/form-data"

CONVERTERS = 2
"""Threads that read pictures: each may take 256 MB for a large one."""

# Without a handler, the logs of strangers' broken requests would go to stderr.
logging.getLogger("tornado.general").addHandler(logging.NullHandler())


class _Refusal(HTTPError):
    """A status that a client gets, with one line that says why."""

    def __init__(self, status: HTTPStatus, line: str):
        super().__init__(status)
        self.line = str(OneLine(line))  # it may quote what the client sent


@stream_request_body
class _Handler(RequestHandler):
    """Common to all addresses: the body is not kept, and what goes wrong is an object with ``error``."""

    METHOD = "GET"
    """The method that this address has."""

    def initialize(self, service: Service, converters: ThreadPoolExecutor) -> None:
        """Tornado calls this with what the application's table says."""
        self._service, self._converters = service, converters

    def set_default_headers(self) -> None:
        """Nothing is to be kept, and nothing taken for something else than it says."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse a body before it comes that is too large, or of an impossible length."""
        length = self.request.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise self._no_length()
        if len(length) > 15 or int(length) > MOST_DISCARDED:
            raise self._size_refusal()

    def data_received(self, chunk: bytes) -> None:
        """Throw a part of the body away."""

    def write_error(self, status_code: int, **more: object) -> None:
        """Answer with one line that says what is wrong."""
        self._service.refuse()
        information = more.get("exc_info")
        error = information[1] if isinstance(information, tuple) else None
        line = error.line if isinstance(error, _Refusal) else HTTPStatus(status_code).phrase
        if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            line = f"this address takes {self.METHOD}"
            self.set_header("Allow", self.METHOD)
        if status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            self.set_header("Retry-After", str(RETRY_SECONDS))
        self._answer({"error": line})

    def compute_etag(self) -> None:
        """Give an answer no tag: nothing is kept, so nobody has it already, whatever a request says."""

    def log_exception(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        """Log mistakes of ours, and not those of clients."""
        if not isinstance(error, HTTPError):
            super().log_exception(kind, error, trace)

    def finish(self, chunk: str | bytes | dict | None = None) -> "asyncio.Future[None]":
        """Send the answer, to a client that takes it in time."""
        connection: Any = self.request.connection
        sent = super().finish(chunk)
        late = asyncio.get_running_loop().call_later(TAKEN_SECONDS, connection.close)
        sent.add_done_callback(lambda _: late.cancel())
        return sent

    def _no_length(self) -> _Refusal:
        return _Refusal(HTTPStatus.LENGTH_REQUIRED, "say how many bytes the body has: Content-Length")

    def _size_refusal(self) -> _Refusal:
        line = f"the body has more than {MOST_BYTES:,} bytes: send smaller pictures, or fewer at a time"
        return _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)

    def _answer(self, content: object) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content) + "\n")


class _Nothing(_Handler):
    """Every other address."""

    def get(self) -> None:
        """Refuse the request."""
        raise _Refusal(HTTPStatus.NOT_FOUND, "there are only /, /health and /classify")

    head = post = put = patch = delete = options = get


class _Health(_Handler):
    """The counts for a program."""

    def get(self) -> None:
        """Answer with all of `Health`."""
        self._answer(dataclasses.asdict(self._service.health()))


class _Page(_Handler):
    """The counts for a person."""

    def get(self) -> None:
        """Answer with a page."""
        health = self._service.health()
        mean = "–" if health.mean_seconds is None else f"{1000 * health.mean_seconds:,.1f} ms"
        facts = [
            (name, f"{getattr(health, name):,}") for name in ("answered", "waiting", "failed", "dropped")
        ]
        facts += [("refused requests", f"{health.refused:,}"), ("mean time to an answer", mean)]
        facts += [("up for", f"{health.uptime_seconds:,.0f} s")]
        title = f"{health.model} on {health.device}"
        line = "POST a picture to /classify; /health has these figures as JSON."
        self.finish(status(title, line, facts, health.problem, REFRESH_SECONDS))


class _Classify(_Handler):
    """Pictures in, labels out."""

    METHOD = "POST"

    def initialize(self, service: Service, converters: ThreadPoolExecutor) -> None:
        """Tornado calls this with what the application's table says."""
        super().initialize(service, converters)
        self._body = bytearray()
        self._refusal: _Refusal | None = None
        self._asked: asyncio.Task[list[dict]] | None = None

    def prepare(self) -> None:
        """Keep nothing of a body that will be refused."""
        super().prepare()
        length = self.request.headers.get("Content-Length")
        self._refusal = self._no_length() if length is None else None
        if length and int(length) > MOST_BYTES:
            self._refusal = self._size_refusal()

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body, unless it will be refused."""
        if self._refusal is None and self.request.method == self.METHOD:
            self._body += chunk

    async def post(self) -> None:
        """Answer with an object for one picture as the body, or a list for the pictures of a form."""
        if self._refusal:
            raise self._refusal
        top, kind = self._top(), self.request.headers.get("Content-Type", "")
        form = kind[: len(_FORM)].lower() == _FORM
        pictures = self._form(kind) if form else [("", bytes(self._body))]
        if len(pictures) > self._service.most_waiting:
            line = f"a request may have {self._service.most_waiting} pictures, not {len(pictures)}"
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, line)
        self._body.clear()
        # A task of its own, which ends where the client goes away.
        self._asked = asyncio.ensure_future(self._answers(pictures, top))
        try:
            entries = await self._asked
        except asyncio.CancelledError:
            return
        except Full:
            line = "too many images wait already: try again later"
            raise _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, line) from None
        except PictureError as error:
            raise _Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
        except DeviceError as error:
            raise _Refusal(HTTPStatus.BAD_GATEWAY, str(error)) from None
        self._answer(entries if form else entries[0])

    def on_connection_close(self) -> None:
        """Forget a request whose client has gone away."""
        super().on_connection_close()
        if self._asked:
            self._asked.cancel()

    def _top(self) -> int:
        """How many likeliest classes are asked for; 0 for none."""
        value = self.get_query_argument("top", None)
        if value is None:
            return 0
        if not (value.isascii() and value.isdigit() and int(value[:9]) > 0):
            raise _Refusal(HTTPStatus.BAD_REQUEST, "top must be how many classes to name, at least 1")
        if self._service.accelerator.model_config.segmentation:
            raise _Refusal(
                HTTPStatus.BAD_REQUEST, "top names labels of an image: this model has a mask for it"
            )
        return int(value[:9])

    def _form(self, kind: str) -> list[tuple[str, bytes]]:
        """The files of a form, with their names."""
        files: dict[str, list[HTTPFile]] = {}
        try:
            parse_body_arguments(_FORM + kind[len(_FORM) :], bytes(self._body), {}, files)
        except HTTPInputError as error:
            raise _Refusal(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {error}") from None
        pictures = [(each.filename, each.body) for several in files.values() for each in several]
        if not pictures:
            raise _Refusal(HTTPStatus.BAD_REQUEST, "the form has no file in it")
        return pictures

    async def _answers(self, pictures: list[tuple[str, bytes]], top: int) -> list[dict]:
        """An object for each picture; raises `Full`, `PictureError` and `DeviceError`."""
        with self._service.room(len(pictures)) as room:
            pixels = [await self._pixels(name, content) for name, content in pictures]
            results = await asyncio.gather(*(asyncio.wrap_future(room.ask(each)) for each in pixels))
        entries = [self._entry(result, top) for result in results]
        return [
            {"path": name} | entry if name else entry
            for (name, _), entry in zip(pictures, entries, strict=True)
        ]

    async def _pixels(self, name: str, content: bytes) -> np.ndarray:
        """The model's input, made of the content of a file."""
        loop, accelerator = asyncio.get_running_loop(), self._service.accelerator
        try:
            pixels, _ = await loop.run_in_executor(self._converters, accelerator.pixels, content)
        except PictureError as error:
            raise PictureError(f"{name}: {error}" if name else str(error)) from None
        return pixels

    def _entry(self, result: Result, top: int) -> dict:
        """The answer to one picture."""
        accelerator = self._service.accelerator
        config = accelerator.model_config
        entry = as_object(config, result, not config.segmentation)
        if accelerator.device.predicts and result.cycles:
            entry["cycles_predicted"] = True
        if top:
            shares = answer_shares(result, len(config.classes), config.logit_scale, top)
            entry["scores"] = {config.classes[i]: round(share, 6) for i, share in shares}
        return entry


class _Server(HTTPServer):
    """A server of so many connections."""

    def handle_stream(self, stream: IOStream, address: tuple) -> None:
        """Serve a connection, or close it."""
        if len(self._connections) < MOST_CONNECTIONS:
            super().handle_stream(stream, address)
            return
        line = f"HTTP/1.1 503 Service Unavailable\r\nRetry-After: {RETRY_SECONDS}\r\nContent-Length: 0\r\n"
        with suppress(OSError):
            stream.write(f"{line}Connection: close\r\n\r\n".encode("ascii"))
        stream.close()

    def sending(self) -> bool:
        """Whether a client has not yet taken all of its answer."""
        return any(each.stream.writing() for each in self._connections)


def server_of(service: Service, converters: ThreadPoolExecutor) -> _Server:
    """The server of a service; it listens nowhere yet.

    Arguments:
        converters: the threads that read pictures.
    """
    given = {"service": service, "converters": converters}
    table = [("/", _Page, given), ("/health", _Health, given), ("/classify", _Classify, given)]
    application = Application(
        table, default_handler_class=_Nothing, default_handler_args=given, log_function=lambda _: None
    )
    return _Server(
        application,
        max_body_size=MOST_DISCARDED,
        max_buffer_size=MOST_DISCARDED,
        body_timeout=BODY_SECONDS,
        idle_connection_timeout=IDLE_SECONDS,
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that waits for clients at ``host``; the port 0 takes one that is free.

    Raises `UsageError` where that cannot be.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        waiting = socket.create_server(address, family=family, backlog=MOST_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        # Python adds the address to the system's message, and numbers of its own for names that nobody knows.
        number = 0 if isinstance(error, socket.gaierror) else getattr(error, "errno", None)
        why = os.strerror(number) if number else getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"cannot listen on {host}:{port}: {why}: give another --http PORT or --host"
        ) from None
    waiting.setblocking(False)
    return waiting


async def serve(accelerator: Accelerator, waiting: socket.socket, ready: Notice, stop: asyncio.Event) -> None:
    """Answer requests until ``stop`` is set; then take no more, and answer those that are there.

    Arguments:
        accelerator: the device and model, used by nobody else.
        waiting: that of `listen`; it is closed at the end.
        ready: is told in one line where the server is.
        stop: the end.
    """
    with Service(accelerator) as service, _threads() as converters:
        server = server_of(service, converters)
        server.add_socket(waiting)
        address, port = waiting.getsockname()[:2]
        where = f"[{address}]" if ":" in address else address
        ready(f"{accelerator.model_config.name} on {accelerator.device.name}: http://{where}:{port}/")
        await stop.wait()
        server.stop()
        service.end()
        while service.health().waiting:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.02)  # the last answers begin to go out
        while server.sending():
            await asyncio.sleep(0.02)
        await server.close_all_connections()


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Threads that read pictures; after the block nobody waits for one."""
    converters = ThreadPoolExecutor(CONVERTERS, "pictures")
    try:
        yield converters
    finally:
        converters.shutdown(wait=False, cancel_futures=True)


async def _until_interrupted(accelerator: Accelerator, waiting: socket.socket, ready: Notice) -> None:
    """`serve` until Ctrl-C or SIGTERM. A second one does not wait for requests that are under way."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def interrupted() -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(each)
        stop.set()

    with suppress(NotImplementedError):  # Windows: Ctrl-C ends it at once there
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, interrupted)
    await serve(accelerator, waiting, ready, stop)


def run(device: str, model: str, config: str | None, host: str, port: int) -> None:
    """Serve an accelerator at ``host`` and ``port`` until an interrupt; the first three are `Accelerator`'s.

    Raises `UsageError` and `DeviceError` where it cannot begin.
    """

    def notice(line: str) -> None:
        print(printable(line), file=sys.stderr, flush=True)

    def ready(line: str) -> None:
        loopback = ip_address(waiting.getsockname()[0]).is_loopback
        others = "" if loopback else "; whoever reaches this address may use it"
        print(f"{line}{others}; Ctrl-C ends it", flush=True)

    # It listens before a board is loaded, which may take a while.
    with listen(host, port) as waiting, Accelerator(device, model, config, notice) as accelerator:
        asyncio.run(_until_interrupted(accelerator, waiting, ready))
