"""A headless Chromium for the tests of pages; `NEEDS_BROWSER=1` makes its absence a failure."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REMEDY = "install chromium (Debian: apt-get install chromium) to run the tests of pages"


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable]:
    """Start browsers, each with a profile of its own."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("NEEDS_BROWSER"):
            pytest.fail(f"no browser here: {REMEDY}")
        pytest.skip(f"no browser here: {REMEDY}")
    with sync_playwright() as driver:
        yield lambda: driver.chromium.launch(executable_path=path)


@pytest.fixture(scope="module")
def chromium(launch: Callable) -> Iterator[Any]:
    """A browser."""
    browser = launch()
    yield browser
    browser.close()
