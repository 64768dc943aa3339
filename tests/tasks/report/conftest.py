"""Reports opened in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from report.pages import Opened
from tasks.report import write_report
from tasks.storage.store import Store

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]
        running = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    """Write the report of an output and open it, `at` a fragment; no word on the console and no request is let pass."""
    pages, faults = [], []

    def open_report(write: Callable[[Store], None], price: float | None = None, at: str = "", **view: Any) -> Any:
        store = Store(str(tmp_path / "out"))
        write(store)
        address = f"file://{write_report(store, price)}"
        page = browser.new_page(**view)
        page.set_default_timeout(20_000)
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: request.url == address or faults.append(f"request: {request.url}"))
        page.goto(address + at)
        page.locator("html[data-ready]").wait_for()
        pages.append(page)
        return page

    yield open_report
    for page in pages:
        assert page.evaluate("window.ran") is None
        page.close()
    assert faults == []
