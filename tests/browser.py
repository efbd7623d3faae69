"""A browser without a window, for tests that open a page as a person does."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Programs that are a Chromium."""

OPTIONS = [
    "--no-sandbox",  # the user of a container may be root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",  # a test sees what the page asks for, and nothing else is asked
    "--disable-component-update",
    "--disable-sync",
]

PATIENCE = 120_000.0
"""Milliseconds that a page may take to do something: other tests may have all cores."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A `Browser` of Playwright, closed after the block. Skips the test where there is no Chromium."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("there is no Chromium: on Debian, apt-get install chromium")
    from playwright.sync_api import sync_playwright  # it takes a while

    # Whatever profile it is given, it also writes into these folders, which are a person's own otherwise.
    names = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        variables = os.environ | dict.fromkeys(names, folder)
        browser = playwright.chromium.launch(executable_path=found, args=OPTIONS, env=variables)
        try:
            yield browser
        finally:
            browser.close()


def window(browser: Any, width: int, scheme: str = "light", height: int = 900) -> Any:
    """A Playwright `BrowserContext` of ``width`` × ``height`` pixels, in the system's ``scheme``."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    return context
