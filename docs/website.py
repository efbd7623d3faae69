"""`python docs/website.py`, which `make docs` runs: builds the pages as a site, build/site/index.html.

The pages are laid out as they lie in the checkout, so that their links stay as they are, with the files that
they link to. The reference has one page for each folder with modules, made from their docstrings, and imports
none. The page of `make report` is taken in where it has been made. A warning, such as a link that leads
nowhere, ends the build. Nothing is fetched, neither here nor when a page is opened.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import griffe
from mkdocs.commands.build import build as build_site
from mkdocs.config import load_config

from haarlequin.models.common.places import build_folder

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Path(__file__).with_name("mkdocs.yml")
PARTS = ("hw", "models", "sw", "sim")
"""The parts of the package, in the order in which a reader may open them."""

REPORT = """---
hide: [navigation, toc]
---
# Report

[The report on a page of its own](report/index.html)

<iframe class="report" src="report/index.html" title="Report"></iframe>
"""
NO_REPORT = """# Report

`make report` makes a page of trained models, with the sources of its figures. This site was built without it:
run `make report`, then `make docs` again.
"""


class Docstrings(griffe.Extension):
    """Reads docstrings as Google's, or NumPy's where a heading is underlined, and examples as code."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Is called with everything in the package."""
        if found := obj.docstring:
            if re.search("^-{3,}$", found.value, re.M):
                found.parser, found.parser_options = griffe.Parser.numpy, {"warn_missing_types": False}
            # The only name that griffe knows for the members of an object.
            found.value = re.sub(r"^Members(:?\n[- ])", r"Attributes\1", found.value, flags=re.M)
            found.value = re.sub(r"^>>> (?:.+\n?)+", r"```pycon\n\g<0>\n```\n", found.value, flags=re.M)

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Is called with the package itself."""
        self.on_object(obj=pkg)


def pages(root: Path) -> list[Path]:
    """The pages that people write, relative to the checkout."""
    found = [*root.glob("*.md"), *(root / "docs").glob("*.md")]
    return sorted(path.relative_to(root) for path in found)


def linked(root: Path, page: Path) -> Iterator[Path]:
    """The files of the checkout that a page links to or shows, other than pages."""
    text = (root / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s#]+)", text):
        target = (root / page.parent / link).resolve()
        if target.is_file() and target.is_relative_to(root) and target.suffix != ".md":
            yield target.relative_to(root)


def packages(root: Path) -> Iterator[tuple[str, list[str]]]:
    """By its name without ``haarlequin.``, each package with the names of its public modules."""
    for part in PARTS:
        for folder in sorted({path.parent for path in (root / part).rglob("*.py")}):
            names = sorted(path.stem for path in folder.glob("[!_]*.py"))
            if folder != root / "sw" / "haarlequin":
                yield ".".join(folder.relative_to(root).parts), names


def lay_out(root: Path, folder: Path, report: Path) -> list:
    """Fills ``folder`` with ``pages/`` and with ``package/``, from which the reference is read. Returns the
    reference's part of the navigation.
    """
    shutil.rmtree(folder, ignore_errors=True)
    package = folder / "package" / "haarlequin"
    package.mkdir(parents=True)
    # As `make types` does: the package has folders of other names.
    for target in (*(root / part for part in PARTS), *(root / "sw" / "haarlequin").iterdir()):
        (package / target.name).symlink_to(target)

    written = pages(root)
    for path in {*written, *(file for page in written for file in linked(root, page))}:
        (folder / "pages" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, folder / "pages" / path)
    if report.is_file():
        (folder / "pages" / "report").mkdir()
        shutil.copy(report, folder / "pages" / "report" / "index.html")
    text = REPORT if report.is_file() else NO_REPORT
    (folder / "pages" / "report.md").write_text(text, encoding="utf-8")
    return [{"Reference": reference(root, folder / "pages")}]


def reference(root: Path, folder: Path) -> list:
    """Writes the pages of the reference into ``folder``. Returns its navigation."""

    def page(name: str, title: str, modules: list[str]) -> str:
        path = folder / "reference" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join([f"# {title}", *(f"::: {each}" for each in modules)]), encoding="utf-8")
        return f"reference/{name}"

    parts: dict[str, list] = {part: [] for part in PARTS}
    for package, names in packages(root):
        part, _, inner = package.partition(".")
        full = f"haarlequin.{package}"
        path = page(f"{part}/{inner or 'index'}.md", package, [full, *(f"{full}.{name}" for name in names)])
        parts[part].append({inner: path} if inner else path)
    return [page("index.md", "Reference", ["haarlequin"]), *({part: found} for part, found in parts.items())]


def build(site: Path, root: Path = ROOT) -> None:
    """The site of the checkout ``root``, in the folder ``site``, which is emptied first.

    Raises `mkdocs.exceptions.Abort`, which ends a program with 1, after a warning.
    """
    folder = build_folder("docs").absolute()
    nav = lay_out(root, folder, build_folder("report", "index.html"))
    config = load_config(
        str(CONFIG), docs_dir=str(folder / "pages"), site_dir=str(site.absolute()), strict=True
    )
    config.nav += nav
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(folder / "package")]
    build_site(config)
    (site / "404.html").unlink()  # only a server shows it, and its links lead to the top of one


def main() -> None:
    """Builds the site and says where it is."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    site = build_folder("site")
    build(site)
    print(site / "index.html")


if __name__ == "__main__":
    main()
