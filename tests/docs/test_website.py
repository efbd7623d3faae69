"""The site that `make docs` builds: complete, without a warning or a dead link, and legible in a browser that
has no network.
"""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mkdocs.exceptions import Abort

import haarlequin
from docs import website
from tests.browser import chromium, window
from tests.docs.pages import PAGES, ROOT

pytestmark = pytest.mark.slow

REPORT = "<!doctype html><title>Report</title><p>Figures of all models</p>"


class Names(HTMLParser):
    """The ids of a page, where it leads, and what it loads by itself."""

    def __init__(self, page: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        leads = tag == "a" or given.get("rel") in ("next", "prev")
        (self.links if leads else self.loads).extend(given[key] for key in ("href", "src") if given.get(key))


def dead_links(site: Path) -> list[str]:
    """Every link and anchor within the site that leads nowhere, and whatever would be loaded from outside."""
    pages = {page: Names(page) for page in site.rglob("*.html")}
    dead = []
    for page, names in pages.items():
        for link in (*names.links, *names.loads):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https") and link in names.links:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = pages[target].ids if target in pages else ()
            if (
                parts.scheme
                or not target.is_file()
                or (parts.fragment and unquote(parts.fragment) not in anchors)
            ):
                dead.append(f"{page.relative_to(site)}: {link}")
    return dead


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site of this checkout, built by the command, with a page of `make report`."""
    build = tmp_path_factory.mktemp("build")
    (build / "report").mkdir()
    (build / "report" / "index.html").write_text(REPORT, encoding="utf-8")
    environment = os.environ | {"HAARLEQUIN_BUILD": str(build)}
    command = [sys.executable, "docs/website.py"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{build / 'site' / 'index.html'}\n"
    return build / "site"


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A checkout with all pages, and packages of a line or two."""
    monkeypatch.setenv("HAARLEQUIN_BUILD", str(tmp_path / "build"))
    root = tmp_path / "checkout"
    for page in website.pages(ROOT):
        for path in (page, *website.linked(ROOT, page)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, root / path)
    for part in ("hw", "models", "sim", "sw", "sw/haarlequin"):
        (root / part).mkdir(parents=True)
        (root / part / "__init__.py").write_text(f'"""The part {part}."""\n', encoding="utf-8")
    return root


def add(root: Path, page: str, text: str) -> None:
    """Appends a paragraph to a page, or a new page."""
    with (root / page).open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def test_every_page_is_in_the_site(site):
    for page in PAGES:
        name = "index.html" if page.name == "README.md" else page.relative_to(ROOT).with_suffix(".html")
        title = re.search(r"^# (.*)$", page.read_text(encoding="utf-8"), re.M)[1]
        assert f">{title}<" in (site / name).read_text(encoding="utf-8")


def test_no_link_of_the_site_is_dead_and_nothing_comes_from_outside(site):
    assert dead_links(site) == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(.?https?:|@import", style.read_text(encoding="utf-8"))


def test_a_dead_link_is_noticed(tmp_path):
    bad = ["no.html", "#nor-this", "other.html#nor-this", "https://example.org/x.js"]
    links = [*(f'<a href="{link}">' for link in (*bad[:3], "other.html#there", "https://example.org"))]
    links.append(f'<script src="{bad[3]}"></script>')
    (tmp_path / "page.html").write_text("\n".join(links), encoding="utf-8")
    (tmp_path / "other.html").write_text('<h1 id="there">', encoding="utf-8")
    assert dead_links(tmp_path) == [f"page.html: {link}" for link in bad]


def test_the_reference_has_every_public_module_and_name(site):
    ids = set().union(*(Names(page).ids for page in (site / "reference").rglob("*.html")))
    wanted = {f"haarlequin.{name}" for name in haarlequin.__all__ if name != "__version__"}
    for part in website.PARTS:
        for path in (ROOT / part).rglob("*.py"):
            name = ".".join(("haarlequin", *path.relative_to(ROOT).with_suffix("").parts))
            if "._" not in name.removesuffix(".__init__") and not name.startswith("haarlequin.sw.haarlequin"):
                wanted.add(name.removesuffix(".__init__"))
    assert len(wanted) > 200
    assert wanted - ids == set()


def test_docstrings_of_both_forms_are_taken_apart(site):
    pages = {
        name: (site / "reference" / name).read_text(encoding="utf-8")
        for name in ("index.html", "hw/link.html")
    }
    for text in pages.values():
        assert "Parameters:" in text
        assert "Attributes:" in text
        assert "Members" not in text
    assert "&gt;&gt;&gt; </span>" in pages["index.html"]


def test_a_new_module_appears_by_itself_and_is_not_imported(checkout):
    add(checkout, "hw/novel.py", '"""Something new."""\n\nraise SystemExit("imported")')
    (checkout / "hw" / "deep").mkdir()
    add(checkout, "hw/deep/__init__.py", '"""A new folder."""')
    site = website.build_folder("site")
    website.build(site, checkout)
    assert "haarlequin.hw.novel" in Names(site / "reference" / "hw" / "index.html").ids
    assert "haarlequin.hw.deep" in Names(site / "reference" / "hw" / "deep.html").ids
    assert dead_links(site) == []


def test_files_that_a_page_links_to_come_along(checkout):
    add(checkout, "docs/figures.md", "[the part](../hw/__init__.py)")
    site = website.build_folder("site")
    website.build(site, checkout)
    assert (site / "hw" / "__init__.py").read_bytes() == (checkout / "hw" / "__init__.py").read_bytes()
    assert not (site / "sw").exists()


@pytest.mark.parametrize(
    ("page", "text", "warning"),
    [
        ("docs/figures.md", "[nowhere](no.md)", "contains a link 'no.md', but the target"),
        (
            "README.md",
            "[nowhere](docs/boards.md#no-such-heading)",
            "does not contain an anchor '#no-such-heading'",
        ),
        ("docs/new.md", "# New", 'not included in the "nav" configuration'),
        (
            "hw/novel.py",
            'def f(x):\n    """Does.\n\n    Arguments:\n        y: no.\n    """',
            "'y' does not appear",
        ),
    ],
)
def test_a_warning_ends_the_build(checkout, page, text, warning, caplog):
    add(checkout, page, text)
    with pytest.raises(Abort, match="Aborted with 1 warnings in strict mode"):
        website.build(website.build_folder("site"), checkout)
    assert warning in caplog.text


def test_the_page_of_a_report(site):
    assert (site / "report" / "index.html").read_text(encoding="utf-8") == REPORT
    assert "report/index.html" in Names(site / "report.html").loads


def test_without_a_report_its_page_says_how_to_make_one(checkout):
    site = website.build_folder("site")
    website.build(site, checkout)
    assert "<code>make report</code>" in (site / "report.html").read_text(encoding="utf-8")
    assert not (site / "report").exists()


# In a browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser, site):
    """Opens a page of the site from its file. Fails in the end if the browser had anything to complain of."""
    complaints, contexts = [], []

    def request(made):
        if not made.url.startswith((site.as_uri(), "data:")):
            complaints.append(made.url)

    def page(name, width=1280, scheme="light"):
        context = window(browser, width, scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", request)
        tab.on("requestfailed", lambda failed: complaints.append(failed.url))
        tab.goto((site / name).as_uri())
        return tab

    yield page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1600])
@pytest.mark.parametrize("name", ["index.html", "docs/figures.html", "reference/index.html"])
def test_a_page_fits_the_window_in_the_system_s_colours(opened, name, width, scheme):
    page = opened(name, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
    )
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0


def test_the_report_is_seen_within_the_site(opened):
    frame = opened("report.html").frame_locator("iframe.report")
    assert frame.locator("p").inner_text() == "Figures of all models"


def test_the_search_works_without_a_server(opened):
    page = opened("docs/figures.html")
    page.get_by_role("textbox", name="Search").fill("IRPReLU")
    found = page.locator(".md-search-result__item").first
    assert "irprelu" in found.inner_text().lower()
