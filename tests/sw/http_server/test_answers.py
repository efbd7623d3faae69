"""An accelerator over HTTP: answers to pictures, health, and the page."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from haarlequin.sw import http_server
from haarlequin.sw.accelerator import Accelerator
from haarlequin.sw.devices import DeviceError
from haarlequin.sw.devices.golden import GoldenDevice
from tests.browser import chromium, window
from tests.sw.http_server.server import Server, form, png, until

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(
    "kind", ["Multipart/Form-Data; boundary=frontier", 'multipart/form-data; boundary="frontier"']
)
def test_other_writings_of_a_form(server, seven, kind):
    body, _ = form(a=seven)
    status, (answer,) = server.classify(body, headers={"Content-Type": kind})
    assert (status, answer["path"], answer["label"]) == (200, "a.png", "7")


def test_what_is_not_a_file_in_a_form(server, seven):
    """It is passed over."""
    body, headers = form(a=seven)
    field = b'--frontier\r\nContent-Disposition: form-data; name="button"\r\n\r\nSend\r\n'
    status, answers = server.classify(field + body, headers=headers)
    assert (status, [each["path"] for each in answers]) == (200, ["a.png"])


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


@pytest.mark.parametrize("tag", ["*", '"819bc26b7a6ea515035dc9fdb37f46db3b1329b0"'])
def test_nobody_has_an_answer_already(server, tag):
    """Tags of Tornado's would make a 304 of it, without a body."""
    status, headers, content = server.ask("/health", headers={"If-None-Match": tag})
    assert (status, headers["Etag"]) == (200, None)
    assert content


def test_the_page(server, seven):
    assert server.classify(seven)[0] == 200
    server.classify(b"no picture")
    status, headers, content = server.ask("/")
    page = content.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
    assert (headers["X-Content-Type-Options"], headers["Server"]) == ("nosniff", None)
    assert headers["Cache-Control"] == "no-store"
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
