"""`haarlequin serve --http`."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from haarlequin.models.common.errors import UsageError
from haarlequin.sim import serve as command
from haarlequin.sw import http_server
from haarlequin.sw.http_server import listen
from tests.said import said
from tests.sw.gate import SECONDS
from tests.sw.http_server.server import closed, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def child(*arguments, before=""):
    code = before + (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from haarlequin.__main__ import main; main(sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", *arguments],
        cwd=ROOT, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_does_not_wait(kind, seven):
    """For images of a device that takes long, and of others that wait."""
    slow = (
        "import time; from haarlequin.sw.devices.golden import GoldenDevice\n"
        "def run(device, images):\n"
        "    for image in images:\n"
        "        for _ in range(10_000): device._turn.check_open(); time.sleep(0.01)\n"
        "        yield None\n"
        "GoldenDevice._run = run\n"
    )
    process = child("--http", "0", "--device", "golden", before=slow)
    try:
        port = int(process.stdout.readline().split()[3].rstrip("/;").rpartition(":")[2])
        text = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(seven)}\r\n\r\n".encode() + seven
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                line = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=SECONDS))
                line.sendall(text)
            health = f"http://127.0.0.1:{port}/health"
            until(lambda: b'"waiting": 5' in urllib.request.urlopen(health, timeout=SECONDS).read())
            process.send_signal(signal.SIGINT)
            until(lambda: closed(port))
            assert process.poll() is None
            process.send_signal(kind)
            out, error = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.communicate()
    if kind == signal.SIGINT:
        assert (process.returncode, out, said(error)) == (130, "", "interrupted\n")
    else:
        assert (process.returncode, out, said(error)) == (-kind, "", "")


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
