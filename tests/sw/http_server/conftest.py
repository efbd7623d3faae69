"""A server of the golden device with digits, and a picture for it."""

import pytest

from haarlequin.sw.accelerator import Accelerator
from tests.sw.gate import Gate
from tests.sw.http_server.server import Server, png


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


@pytest.fixture(scope="module")
def seven(pictures):
    return png(pictures[0])
