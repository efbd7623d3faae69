"""One accelerator for many clients, without a network."""

import threading

import numpy as np
import pytest

from haarlequin.sw import service
from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.devices import DeviceError
from tests.sw.gate import SECONDS, Gate

pytestmark = pytest.mark.slow

ZEROS = np.zeros((8, 8, 1), np.uint8)


@pytest.fixture(scope="module")
def golden():
    with Accelerator("golden", "digits") as accelerator:
        yield accelerator


@pytest.fixture
def gate(monkeypatch):
    return Gate(monkeypatch)


def test_a_room_that_is_left_without_asking(golden):
    with service.Service(golden, 2) as served:
        with served.room(2), pytest.raises(service.Full), served.room(1):
            pytest.fail("there is no room")
        assert served.health().dropped == 2
        with served.room(1) as room:
            room.ask(np.zeros((8, 8, 1), np.uint8)).result(SECONDS)
        served.end()
        with pytest.raises(service.Full), served.room(1):
            pytest.fail("it is ending")


def test_answers_are_in_the_order_of_arrival(golden, gate, pictures, expected):
    with service.Service(golden) as served, served.room(6) as room:
        order = []
        futures = [room.ask(each) for each in pictures]
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: order.append(number))
        gate.open.set()
        assert [each.result(SECONDS).logits.tolist() for each in futures] == [
            logits for logits, *_ in expected
        ]
        assert order == list(range(6))


def test_the_end_answers_what_waits(golden, gate):
    served = service.Service(golden)
    with served.room(3) as room:
        futures = [room.ask(ZEROS) for _ in range(3)]
        gate.wait()
        closing = threading.Thread(target=served.close, daemon=True)
        closing.start()
        closing.join(0.1)
        assert closing.is_alive()
        gate.open.set()
        closing.join(SECONDS)
        assert not closing.is_alive(), "it hangs"
        assert {int(each.result(0).labels) for each in futures} == {int(futures[0].result(0).labels)}
    assert served.health().answered == 3


def test_a_cancelled_image_among_those_of_a_device_that_fails(golden, gate):
    """It is no trouble, and the thread goes on."""
    with service.Service(golden) as served:
        with served.room(3) as room:
            futures = [room.ask(ZEROS) for _ in range(3)]
            gate.wait()
            assert futures[1].cancel()
            gate.error = DeviceError("nothing came")
            gate.open.set()
            for each in (futures[0], futures[2]):
                with pytest.raises(DeviceError, match="nothing came"):
                    each.result(SECONDS)
        gate.error = None
        with served.room(1) as room:
            room.ask(ZEROS).result(SECONDS)
        health = served.health()
        assert (health.answered, health.failed, health.dropped, health.waiting) == (1, 2, 1, 0)
