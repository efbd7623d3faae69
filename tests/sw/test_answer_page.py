"""The page of answers: what it says, what it must not do, and how it looks in a browser."""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from haarlequin.sw import answer_page
from haarlequin.sw.answer_page import Answer, Page, card, fragment
from haarlequin.sw.mask_picture import colours, shares
from tests.browser import chromium, window

CLASSES = ("ant", "bee", "<cat>")
NOISE = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), np.uint8)
MASK = np.array([[0, 0, 2, 2]] * 2, np.uint8).repeat(4, 0).repeat(3, 1)
EMPTY = {"meta", "link", "img", "wbr"}
"""Elements without an end."""


class Tree(HTMLParser):
    """Reads HTML: its elements with their attributes, its text, and whether every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words, self._open = [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open += [] if tag in EMPTY else [tag]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def pictures(tree):
    """The pictures of a page, as arrays."""
    files = [each["src"].removeprefix("data:image/png;base64,") for each in tree.all("img")]
    return [np.array(Image.open(io.BytesIO(base64.b64decode(file, validate=True)))) for file in files]


def harmless(tree):
    """Whether nothing in it runs, and nothing leads out of it."""
    tags = {tag for tag, _ in tree.elements}
    attributes = [pair for _, each in tree.elements for pair in each.items()]
    return not (
        tags & {"script", "iframe", "object", "embed", "a", "base", "form"}
        or [name for name, _ in attributes if name.startswith("on")]
        or [value for name, value in attributes if name in ("src", "href") and not value.startswith("data:")]
    )


def page(*answers, problems=(), summary="2 images", unanswered=0, **more):
    made = Page("digits", "sim", CLASSES, **more)
    for answer in answers:
        made.add(answer)
    for problem in problems:
        made.refuse(problem)
    return made.text(summary, unanswered)


def test_an_image_with_its_bars():
    answer = Answer("a/b.png", [(1, 0.805), (0, 0.1)], NOISE[0], cycles=4918)
    tree = Tree(card(answer, CLASSES))
    assert tree.text == "a/b.pngbee80.5%ant10.0%4918 cycles"
    assert [each["style"] for each in tree.all("span") if "style" in each] == ["width:80.5%", "width:10.0%"]
    (image,) = tree.all("img")
    assert (image["width"], image["height"], image["alt"]) == ("96", "64", "a/b.png, as seen")
    assert np.array_equal(pictures(tree)[0], NOISE[0])
    assert card(answer, CLASSES, predicted=True).count("4918 cycles predicted") == 1
    assert "cycles" not in card(Answer("x", [(0, 1.0)], NOISE[0]), CLASSES)


def test_a_grey_image_and_none():
    grey = NOISE[0, ..., :1]
    (shown,) = pictures(Tree(card(Answer("x", [(0, 1.0)], grey), CLASSES)))
    assert np.array_equal(shown, grey[..., 0])
    assert pictures(Tree(card(Answer("x", [(0, 1.0)]), CLASSES))) == []


@pytest.mark.parametrize(
    ("target", "said"), [(None, ""), (1, "✓ right"), (0, "✗ wrong: it is ant"), (2, "✗ wrong: it is <cat>")]
)
def test_right_and_wrong(target, said):
    tree = Tree(card(Answer("x", [(1, 0.9), (0, 0.1)], target=target), CLASSES))
    assert tree.text == f"xbee90.0%ant10.0%{said}"


def test_a_difference_from_the_golden_model():
    tree = Tree(card(Answer("x", [(1, 1.0)], difference="class 3: expected 1, got 2 & more"), CLASSES))
    assert tree.text.endswith("differs from the golden model: class 3: expected 1, got 2 & more")


def test_a_mask_and_its_legend():
    answer = Answer("street", shares(MASK, 3), NOISE[0], MASK)
    tree = Tree(card(answer, CLASSES))
    palette = colours(3)
    seen, mask = pictures(tree)
    assert np.array_equal(seen, NOISE[0])
    assert np.array_equal(mask, palette[MASK])
    assert tree.text == "streetant50.0%<cat>50.0%"
    painted = [each["style"] for each in tree.all("span") if each.get("class") == "hq-swatch"]
    assert painted == [f"background:rgb({','.join(map(str, palette[i].tolist()))})" for i in (0, 2)]


def test_the_whole_page():
    answers = [Answer("one", [(0, 1.0)], NOISE[0]), Answer("two", [(1, 1.0)], NOISE[1])]
    tree = Tree(page(*answers, problems=["bad.png: no image", "gone"], summary="2 images, 50% right"))
    assert tree.text.startswith("digits on sim digits on sim 2 images, 50% right oneant")
    assert tree.text.endswith("Could not be used bad.png: no image gone")
    assert len(pictures(tree)) == 2
    assert harmless(tree)
    (policy,) = [each["content"] for each in tree.all("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'")
    assert Tree(page()).text == "digits on sim digits on sim 2 images"


EVIL = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "</style><b>&lt;",
    "\u202egnp.exe\x1b[31m\udcff",
)


@pytest.mark.parametrize("evil", EVIL, ids=range(5))
def test_names_from_outside_are_only_text(evil, tmp_path):
    """Of files, classes, models, devices and reasons."""
    answer = Answer(evil, [(0, 0.7), (1, 0.3)], NOISE[0], MASK, target=1, difference=evil)
    made = Page(evil, evil, (evil, f"{evil}2", "c"))
    made.add(answer)
    made.refuse(evil)
    made.write(tmp_path / "page.html", evil)  # as UTF-8, whatever the name
    content = (tmp_path / "page.html").read_text(encoding="utf-8")
    for tree in (Tree(content), Tree(fragment([answer], 1, (evil, f"{evil}2", "c")))):
        assert harmless(tree)
        assert not {"script", "b"} & {tag for tag, _ in tree.elements}
        assert len(tree.all("img")) == 2
        shown = " ".join(evil.encode("unicode_escape" if not evil.isascii() else "ascii").decode().split())
        assert tree.text.count(shown) >= 4
        assert "\x1b" not in tree.text
        assert "\u202e" not in tree.text


def test_the_page_of_a_harmful_writer_is_noticed():
    for bad in ("<script></script>", '<p onclick="x"></p>', '<img src="http://a.b/c.png">', "<a></a>"):
        assert not harmless(Tree(bad))


def test_more_images_than_a_page_shows(monkeypatch):
    monkeypatch.setattr(answer_page, "LIMIT", 3)
    answers = [Answer(f"image-{i}", [(0, 1.0)], NOISE[0]) for i in range(5)]
    tree = Tree(page(*answers[:3], problems=["p1", "p2", "p3"]))
    assert (len(pictures(tree)), "shown here" in tree.text, "more" in tree.text) == (3, False, False)
    tree = Tree(page(*answers, problems=["p1", "p2", "p3", "p4", "p5"]))
    assert "5 images were answered: the first 3 are shown here." in tree.text
    assert [f"image-{i}" in tree.text for i in range(5)] == [True] * 3 + [False] * 2
    assert tree.text.endswith("p1 p2 p3 … and 2 more.")


def test_the_limit_is_said_as_people_write_it():
    assert answer_page.LIMIT == 1000
    made = Page("digits", "sim", CLASSES)
    for i in range(1234):
        made.add(Answer(f"image-{i}", [(0, 1.0)]))
    tree = Tree(made.text(""))
    assert "1,234 images were answered: the first 1,000 are shown here." in tree.text
    assert len(tree.all("article")) == 1000


def test_a_run_that_ended_early():
    assert "The run ended early: 1 image had no answer by then." in Tree(page(unanswered=1)).text
    assert "ended early" not in page()


def test_a_fragment_for_a_notebook():
    answers = [Answer(f"image {i}", [(0, 1.0)], NOISE[0]) for i in range(30)]
    tree = Tree(fragment(iter(answers), 30, CLASSES))
    assert len(tree.all("article")) == answer_page.IN_A_NOTEBOOK == 24
    assert tree.text.endswith("… and 6 more.")
    assert harmless(tree)
    # A notebook has its own colours, and this must not change them.
    (style,) = re.findall(r"<style>(.*)</style>", fragment([], 0, CLASSES), re.S)
    assert all(rule.startswith(".hq") for rule in re.findall(r"^[^{}\n]+(?=\{)", style, re.M))
    assert "prefers-color-scheme" not in style
    assert Tree(fragment([], 0, CLASSES)).text == "no images"
    assert "more" not in Tree(fragment(answers[:1], 1, CLASSES)).text


def test_it_needs_no_more_than_numpy_and_pillow():
    """A person beside a board has no more; each of the others takes long to import, too."""
    code = """
import sys
import haarlequin.sw.answer_page
print({"matplotlib", "plotly", "jinja2", "IPython", "torch", "onnx", "amaranth"} & {*sys.modules})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "set()\n"


# In a browser


def long_page(masked):
    """Every kind of content, with names that do not break by themselves."""
    name = "photographs/" + "x" * 120 + "<&>.png"
    classes = ("w" * 80, "bee", "cat")
    made = Page("m" * 90, "serial:/dev/" + "y" * 90, classes, predicted=True)
    for i in range(6):
        mask = MASK if masked else None
        answer = Answer(
            name, [(0, 0.6), (1, 0.3), (2, 0.001)], NOISE[i % 2], mask, 52803, i % 3, name * (i == 1)
        )
        made.add(answer)
    wide = np.zeros((20, 700, 3), np.uint8)
    made.add(Answer("wide", [(0, 1.0)], wide, np.zeros((20, 700), np.uint8) if masked else None))
    made.refuse(name)
    return made.text("s" * 200, 3)


WIDER = """() => [...document.querySelectorAll('body *')].filter(each => {
    const box = each.getBoundingClientRect(), around = each.parentElement.getBoundingClientRect();
    return box.right > innerWidth + 0.5 || box.left < -0.5 || box.right > around.right + 0.5;
}).map(each => each.outerHTML.slice(0, 80))"""
"""The elements that reach out of the window or of what they lie in."""

OVERLAPPING = """() => {
    const boxes = [...document.querySelectorAll('article, header, body > h2, body > ul')]
        .map(each => each.getBoundingClientRect());
    return boxes.some((one, i) => boxes.slice(i + 1).some(two =>
        one.left < two.right - 0.5 && two.left < one.right - 0.5
        && one.top < two.bottom - 0.5 && two.top < one.bottom - 0.5));
}"""

CONTRAST = """() => {
    const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
    const light = colour => {
        const [r, g, b] = numbers(colour).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const back = light(getComputedStyle(document.body).backgroundColor);
    const words = [...document.querySelectorAll('h1, h2, li, p, .hq-right, .hq-wrong')];
    return Math.min(...words.map(each => {
        const front = light(getComputedStyle(each).color);
        return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    }));
}"""
"""The least contrast of any text with the page, as WCAG defines it."""


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def look(browser, tmp_path):
    """Open HTML in the browser; what a function of JavaScript says of it, and all that it asked for."""

    def look(content, width, scheme, *functions):
        path = tmp_path / "page.html"
        path.write_text(content, encoding="utf-8")
        context = window(browser, width, scheme)
        opened, events = context.new_page(), []
        opened.on("console", lambda message: events.append(f"console: {message.text}"))
        opened.on("pageerror", lambda error: events.append(f"error: {error}"))
        opened.on("request", lambda request: events.append(request.url))
        opened.goto(path.as_uri(), wait_until="load")
        found = [opened.evaluate(each) for each in functions]
        context.close()
        asked = [each for each in events if each != path.as_uri() and not each.startswith("data:")]
        return asked, *found

    return look


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("masked", [False, True], ids=["labels", "masks"])
def test_the_page_in_a_browser(look, width, scheme, masked):
    ratio = "document.documentElement.scrollWidth - innerWidth"
    background = "getComputedStyle(document.body).backgroundColor"
    loaded = "[...document.images].every(each => each.complete && each.naturalWidth > 0)"
    found = look(long_page(masked), width, scheme, ratio, WIDER, OVERLAPPING, CONTRAST, background, loaded)
    asked, beyond, wider, overlapping, contrast, colour, pictures_loaded = found
    assert asked == []
    assert (beyond, wider, overlapping) == (0, [], False)
    assert contrast > 4.5
    assert colour == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 22, 24)")
    assert pictures_loaded


@pytest.mark.slow
def test_a_page_that_misbehaves_is_noticed(look):
    """Each of these faults, in a page that is otherwise ours."""
    good = long_page(False)
    bad = good.replace("<main", "<script>console.log('x')</script><img src='http://127.0.0.1:9/x.png'><main")
    asked, *_ = look(bad, 390, "light")
    assert len(asked) >= 2  # the policy of the page refuses both, and the browser says so
    asked, *_ = look(re.sub(r"<meta http-equiv[^>]*>", "", bad), 390, "light")
    assert {"console: x", "http://127.0.0.1:9/x.png"} <= {*asked}
    _, wider = look(good.replace("overflow-wrap:anywhere", ""), 390, "light", WIDER)
    assert wider != []
    _, overlapping = look(good.replace("gap:.75rem}", "margin-bottom:-2rem}"), 390, "light", OVERLAPPING)
    assert overlapping
    _, contrast = look(good.replace("#1a7034", "#b0e0b8"), 390, "light", CONTRAST)
    assert contrast < 3


@pytest.mark.slow
def test_a_hostile_name_runs_nothing(look):
    made = page(*(Answer(evil, [(0, 1.0)], NOISE[0], difference=evil) for evil in EVIL), problems=EVIL)
    without_policy = re.sub(r"<meta http-equiv[^>]*>", "", made)
    assert look(without_policy, 1280, "light", "document.images.length") == ([], len(EVIL))
