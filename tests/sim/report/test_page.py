"""The page: texts are escaped, figures are whole, and in a browser it follows theme, pointer and width."""

import json
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from haarlequin.sim.report.page import page
from haarlequin.sim.report.panel import Panel, Section, figure, missing
from tests.browser import chromium, window

pytestmark = pytest.mark.slow

EVIL = "</script><script>document.title = 'taken'</script>"

BARS = figure(
    go.Bar(x=["a", "b"], y=[3, 5], hovertext=["three", "five"], hoverinfo="text", name=EVIL),
    xaxis={"title": {"text": "letter"}},
    yaxis={"title": {"text": "count"}},
)


def sections() -> list[Section]:
    """Two sections that have all kinds of panels."""
    table = [("check", "result"), ("all", EVIL)]
    return [
        Section(
            "first",
            "First",
            "One of them.",
            [
                Panel("bars", "Bars", "Five is most.", "make bars", [BARS, BARS], 260),
                missing("lost", "Lost", "Nothing here.", "make it"),
            ],
        ),
        Section("last", EVIL, "The other.", [Panel("rows", "Rows", EVIL, "make rows", table=table)]),
    ]


class Ids(HTMLParser):
    """The ids of a page, and the links to them."""

    def __init__(self):
        super().__init__()
        self.ids, self.links = [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []


def figures_of(text: str) -> dict:
    """The figures within a page, by their names."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


def test_figures_are_whole():
    found = figures_of(page("T", "L", {"n": "5"}, sections()))
    assert {*found} == {"first-bars-0", "first-bars-1"}
    assert found["first-bars-0"] == json.loads(BARS.to_json())


def test_every_link_has_its_place():
    parser = Ids()
    parser.feed(page("T", "L", {"n": "5"}, sections()))
    assert len(parser.ids) == len({*parser.ids})
    assert {link.removeprefix("#") for link in parser.links} == {"first", "last"} <= {*parser.ids}


def test_what_is_missing_says_what_makes_it():
    text = page("T", "L", {"n": "5"}, sections())
    assert '<p class="command">This makes it: <code>make it</code></p>' in text
    assert '<p class="command">From <code>make bars</code></p>' in text


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page(f"Page {EVIL}", EVIL, {EVIL: EVIL}, sections()), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


def opened(browser, address, width=1280, scheme="light"):
    """The page in a window of that width; fails on any message, and on any request but the page's own."""
    context = window(browser, width, scheme)
    tab = context.new_page()
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:")) else said.append(request.url),
    )
    tab.goto(address)
    tab.wait_for_selector("[data-drawn] .main-svg")
    return tab, said


@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_silent(browser, address, width, scheme):
    tab, said = opened(browser, address, width, scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("document.querySelectorAll('[data-drawn]').length") == 2
    assert tab.title() != "taken"
    assert said == []
    tab.context.close()


def ink(tab) -> str:
    """The colour of the first figure's first axis title."""
    return tab.evaluate("getComputedStyle(document.querySelector('.xtitle')).fill")


def test_figures_follow_the_scheme(browser, address):
    tab, said = opened(browser, address)
    light = ink(tab)
    assert tab.evaluate("getComputedStyle(document.body).color") == light
    tab.click("#scheme")
    tab.wait_for_function(f"getComputedStyle(document.querySelector('.xtitle')).fill !== '{light}'")
    assert tab.evaluate("getComputedStyle(document.body).color") == ink(tab)
    tab.click("#scheme")
    tab.wait_for_function(f"getComputedStyle(document.querySelector('.xtitle')).fill === '{light}'")
    tab.emulate_media(color_scheme="dark")  # the system's choice of the moment
    tab.wait_for_function(f"getComputedStyle(document.querySelector('.xtitle')).fill !== '{light}'")
    assert said == []
    tab.context.close()


def test_pointing_tells_more(browser, address):
    tab, said = opened(browser, address)
    box = tab.locator(".bars .point").nth(1).bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_selector(".hovertext")
    assert tab.locator(".hovertext").first.text_content() == "five"
    assert said == []
    tab.context.close()


def test_figures_follow_the_window(browser, address):
    tab, said = opened(browser, address, 1280)
    before = tab.locator(".main-svg").first.bounding_box()["width"]
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.wait_for_function(f"document.querySelector('.main-svg').getBoundingClientRect().width < {before}")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert said == []
    tab.context.close()
