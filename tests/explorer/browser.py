"""A headless Chromium without a network, and the explorer's pages in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ROOT = Path(__file__).parent.parent.parent


def chromium() -> str:
    """The browser's program. Skips the test, saying why, where it or playwright is missing."""
    pytest.importorskip(
        "playwright.sync_api",
        reason="the browser's driver is missing: python -m pip install '.[browser]'",
    )
    named = os.environ.get("GRAPHC_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(NAMES)}): apt-get install chromium")
    return found


@dataclass
class Opened:
    """A page in the browser, and what it did that it should not."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements of a selector, of lines that are not drawn yet too.

        Lines have `content-visibility: auto`: until a frame has drawn them their `innerText` is
        empty.
        """
        found: list[str] = self.page.locator(selector).all_text_contents()
        return found

    def count(self, selector: str) -> int:
        """How many elements a selector finds."""
        return int(self.page.locator(selector).count())


@contextmanager
def browser() -> Iterator[Any]:
    """The browser, with no network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


def opened(browser: Any, path: Path, *, scheme: str = "light") -> Opened:
    """A page from disk, ready; what it says on the console and asks for is kept."""
    size = {"width": 1680, "height": 1050}
    context = browser.new_context(viewport=size, offline=True, color_scheme=scheme)
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda message: found.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", lambda dialog: (found.said.append("a dialog"), dialog.dismiss()))
    page.on("request", lambda request: found.asked.append(request.url))
    page.goto(path.resolve().as_uri())
    page.wait_for_selector("html[data-ready=true]", state="attached")
    return found


def seconds(opened: Opened) -> float:
    """How long the page took from its beginning until it was ready."""
    return float(opened.page.evaluate("performance.getEntriesByName('ready')[0].startTime")) / 1e3


def written(folder: Path, place: str, *options: str) -> Path:
    """The page that `graphc explore` writes of FILE.py:NAME."""
    target = folder / "page.html"
    command = [sys.executable, "-m", "graphc.cli", "explore", place, "--html", str(target)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target
