"""A limit for every test of a device."""

import signal

import pytest


@pytest.fixture(autouse=True)
def limit(request):
    """A test that goes on for ever fails after half a minute; a slow one may build or compile first."""

    def late(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(900 if request.node.get_closest_marker("slow") else 30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
