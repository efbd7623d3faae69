"""Clients that go away, devices that fail, and the end of a server."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from haarlequin.sw.devices import DeviceError
from tests.sw.http_server.server import Server, closed, until

pytestmark = pytest.mark.slow


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
