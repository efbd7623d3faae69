"""Limits of an accelerator over HTTP: time, connections, and images that wait."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from haarlequin.sw import http_server, service
from tests.sw.gate import SECONDS
from tests.sw.http_server.server import Server, closed, everything, until

pytestmark = pytest.mark.slow


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


LARGE = 12_000_000


@pytest.fixture
def large(monkeypatch, seven):
    """A request whose answer is larger than what the operating system keeps for a client that is slow."""
    monkeypatch.setattr(http_server, "as_object", lambda *_: {"tokens": "7" * LARGE})
    return f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(seven)}\r\n\r\n".encode() + seven


def test_a_client_that_does_not_take_its_answer(golden, large, monkeypatch):
    """Its connection is closed, so that it does not keep it from others for ever."""
    monkeypatch.setattr(http_server, "TAKEN_SECONDS", 0.5)
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 1)
    with Server(golden) as server, server.connection(large) as line:
        assert line.recv(12) == b"HTTP/1.1 200"
        until(lambda: b"200" in refused(server)[:15])
        assert len(everything(line)) < LARGE


def test_the_end_waits_until_an_answer_is_taken(golden, large):
    with Server(golden) as server, server.connection(large) as line:
        assert line.recv(12) == b"HTTP/1.1 200"
        server.stop()
        until(lambda: closed(server.port))
        time.sleep(0.2)  # in which it could end
        assert everything(line).endswith(b"}\n")


def test_the_end_does_not_wait_for_ever(golden, large, monkeypatch):
    monkeypatch.setattr(http_server, "TAKEN_SECONDS", 0.5)
    with Server(golden) as server, server.connection(large) as line:
        assert line.recv(12) == b"HTTP/1.1 200"
        server.stop()
        server.join()


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
